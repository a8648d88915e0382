"""A history that is told while it happens: time moves on, and the journal with all that has happened."""

from datetime import timedelta

from tests.world import future, hours
from tests.world.host import Host

_MOVE = (
    "update seqdev.run set finished_at = finished_at - %(by)s",
    # What the journal keeps of instants.
    "update seqdev.change set"
    " old_value = to_char(old_value::timestamp - %(by)s, 'YYYY-MM-DD\"T\"HH24:MI:SS.US'),"
    " new_value = to_char(new_value::timestamp - %(by)s, 'YYYY-MM-DD\"T\"HH24:MI:SS.US')"
    " where table_name = 'sequence_contacts' and column_name in ('next_trigger_time', 'completed_at', 'processing_started_at')",
    "update seqdev.change set old_value = (old_value::timestamptz - %(by)s)::text, new_value = (new_value::timestamptz - %(by)s)::text"
    " where table_name = 'blocked' and column_name = 'since'",
    "update seqdev.pause set paused_at = paused_at - %(by)s, resumed_at = resumed_at - %(by)s",
    "update seqdev.blocked set since = since - %(by)s",
)


def pass_time(host: Host, by: timedelta) -> None:
    """Time moves on for everything, all of the journal included."""
    future.pass_time(host, by)
    for statement in _MOVE:
        host.rows(statement, {"by": by})
    for row in host.rows(
        "select ch.id, ch.old_value, ch.new_value from seqdev.change as ch join seqdev.rule as r on r.id = ch.row_id"
        " where r.name = 'window'"
    ):
        values = [value and hours.earlier(value, by) for value in (row.old_value, row.new_value)]
        host.rows("update seqdev.change set old_value = %s, new_value = %s where id = %s", *values, row.id)
