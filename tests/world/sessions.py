"""Seqdev's sessions as the server sees them."""

from tests.world import citus
from tests.world.host import Host

TICKING = (
    "select count(*) from pg_stat_activity"
    f" where datname = current_database() and application_name ~ '^(seqdev tick{'|citus_internal' * bool(citus.URL)})'"
)
"""Of Citus also those in which a node works for them."""


def waiting_for_a_lock(host: Host) -> int:
    """Tick sessions that somebody else's row lock has stopped."""
    return int(host.value(TICKING + " and wait_event_type = 'Lock'"))


def stopped(host: Host) -> int:
    """Tick sessions that an obstacle has stopped."""
    return int(host.value(TICKING + " and wait_event = 'PgSleep'"))


def at_work(host: Host) -> int:
    """Seqdev's sessions that are doing something."""
    found = host.value(
        "select count(*) from pg_stat_activity"
        " where datname = current_database() and application_name ~ '^seqdev' and state <> 'idle'"
    )
    return int(found)
