"""What is to come, made to happen: hour after hour a tick, a broadcast worker that sends at once, and time moved on."""

from collections import Counter
from datetime import timedelta
from uuid import UUID

from tests.world import hours
from tests.world.command import Cli
from tests.world.host import Host

Days = Counter[tuple[UUID, int]]
"""Messages by device and day."""

_DUE = (
    "select exists (select 1 from sequence_contacts where status = 'active'"
    " and next_trigger_time <= now() at time zone 'UTC')"
)
_MOVE = (
    "update sequence_contacts set next_trigger_time = next_trigger_time - %(by)s, completed_at = completed_at - %(by)s,"
    " processing_started_at = processing_started_at - %(by)s",
    "update broadcast_messages set scheduled_at = scheduled_at - %(by)s, sent_at = sent_at - %(by)s,"
    " created_at = created_at - %(by)s",
    "update user_devices set last_seen = last_seen - %(by)s",
    "update seqdev.run set started_at = started_at - %(by)s",
    "update seqdev.change set changed_at = changed_at - %(by)s",
    "update seqdev.rule set value = regexp_replace(value, '^until [^:]+:..:..Z', to_char("
    "substring(value from '^until (.*Z)')::timestamptz at time zone 'UTC' - %(by)s, '\"until \"YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'))"
    " where name = 'paused' and value ~ '^until '",
)


def live(host: Host, seqdev: Cli, days: int, every: timedelta = timedelta(hours=1)) -> Days:
    """The messages that ticks queue on each device, day by day, while ``days`` pass."""
    made: Days = Counter()
    before = _messages(host)
    ticks = timedelta(days=1) // every
    for number in range(days * ticks):
        if host.value(_DUE):
            ran = seqdev("tick", "--jobs", "1")
            assert ran.code == 0, ran.err
        now = _messages(host)
        made.update({(device, number // ticks + 1): n for device, n in (now - before).items()})
        before = now
        send(host)
        pass_time(host, every)
    return +made


def send(host: Host) -> None:
    """The worker: all that its time has come for, on devices that are online."""
    host.rows(
        "update broadcast_messages as m set status = 'sent', sent_at = now() at time zone 'UTC' from user_devices as d"
        " where d.id = m.device_id and d.status = 'online' and m.status in ('pending', 'queued')"
        " and (m.scheduled_at is null or m.scheduled_at <= now() at time zone 'UTC')"
    )


def pass_time(host: Host, by: timedelta) -> None:
    """Time moves on, by moving all that happened into the past."""
    for statement in _MOVE:
        host.rows(statement, {"by": by})
    for row in host.rows("select id, value from seqdev.rule where name = 'window' and value <> ''"):
        host.rows("update seqdev.rule set value = %s where id = %s", hours.earlier(row.value, by), row.id)


def _messages(host: Host) -> Counter[UUID]:
    found = host.rows("select device_id, count(*) as messages from broadcast_messages group by device_id")
    return Counter({row.device_id: row.messages for row in found})
