"""How the service does now, as metrics: by the statements of the audits, the journal and the tick."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from seqdev import __version__, gates
from seqdev.audit import audit
from seqdev.audit.audit import Criteria
from seqdev.audit.rows import FAILED, HEALTH, MISMATCHES
from seqdev.journal import runs
from seqdev.metrics.text import Metric, by, gauge
from seqdev.moments import Moment, Window
from seqdev.postgres.engine import Database
from seqdev.postgres.queries import Query
from seqdev.postgres.transaction import Transaction
from seqdev.tick.decisions import decide

PATIENCE = timedelta(seconds=10)
"""How long one statement of a scrape may run."""
_ID = re.compile(r" [0-9a-f-]{36}$")
"""What makes each undo a command of its own."""
_HOUR = Window(since=Moment("1h", age=timedelta(hours=1)))


@dataclass(frozen=True)
class Room:
    """A row of ``metrics/devices.sql``."""

    device: str
    device_id: UUID
    availability: str
    room: int


DEVICES = Query("metrics/devices.sql", Room)


def measure(database: Database, *, by_device: bool) -> list[Metric]:
    """The metrics, all of one instant; the room of devices in all, or ``by_device``. Read-only.

    Raises Cancelled where a statement takes longer than a scrape may.
    """
    return database.retry(
        lambda tx: list(_measured(tx, by_device)), read_only=True, statement_timeout=PATIENCE
    )


def _measured(tx: Transaction, by_device: bool) -> Iterable[Metric]:
    criteria = Criteria(_HOUR)
    (health,), failures = audit.rows(tx, criteria, HEALTH, FAILED)
    yield Metric("build", "Always 1: the version is its label", [({"version": __version__}, 1)])
    yield gauge("measured_timestamp_seconds", "When this was measured", tx.now, "seconds")
    yield gauge("backlog_contacts", "Contacts due now, but those on pause", health.backlog, "contacts")
    yield gauge("paused_contacts", "Contacts due now that are on pause", health.on_pause, "contacts")
    yield gauge(
        "oldest_due_timestamp_seconds",
        "Since when the first of the backlog is due",
        health.oldest_due,
        "seconds",
    )
    yield gauge(
        "last_tick_timestamp_seconds",
        "End of the last tick that came to a good end",
        health.last_tick,
        "seconds",
    )
    yield gauge("paused", "Whether all commands that write are paused", int(health.paused_at is not None))
    waiting = Counter[str]()
    for one in decide(tx, tx.settings):
        waiting["next_tick" if one.decision == "queue" else one.decision] += one.contacts
    yield by("waiting_contacts", "Contacts due now, by why they wait", "reason", waiting)
    found = audit.counted(tx, MISMATCHES, criteria)
    yield by("mismatch_messages", "Mismatches of the last hour, by cause", "cause", found)
    causes = Counter[str]()
    for row in failures:
        causes[row.finding] += row.messages
    yield by("failed_messages", "Messages of the last hour that failed, by cause", "cause", causes)
    yield from _devices(tx, by_device)
    ended = Counter((_ID.sub("", one.command), one.state) for one in runs.begun(tx, _HOUR))
    values = [({"command": one[0], "state": one[1]}, number) for one, number in sorted(ended.items())]
    yield Metric("runs", "Runs begun in the last hour, by how they ended", values)


def _devices(tx: Transaction, by_device: bool) -> Iterable[Metric]:
    rows = tx.rows(DEVICES, **gates.needed_by(DEVICES, tx, tx.settings))
    states = Counter(dict.fromkeys(("available", "away", "gone"), 0))
    states.update(one.availability for one in rows)
    yield by("devices", "Devices, by availability", "availability", states)
    name, meaning = "device_room_messages", "Messages that may be queued now under the limits"
    if by_device:
        values = [({"device": one.device, "device_id": str(one.device_id)}, one.room) for one in rows]
        yield Metric(name, f"{meaning}, by device", values, "messages")
    else:
        yield gauge(name, f"{meaning}, on all devices", sum(one.room for one in rows), "messages")
