"""What is said on a standby: how far it is behind, and what that means for a plan."""

from datetime import timedelta

from seqdev.output.words import duration
from seqdev.postgres.replica import Replica

OF_A_PLAN = (
    "a plan made on a standby may be out of date: carry it out at the primary; from a file, it changes "
    "nothing there if a single row has changed since (exit code 14)"
)


def state(replica: Replica) -> str:
    """What it is, and how far it is behind."""
    known = (
        "nothing was replayed since it started"
        if replica.last is None
        else f"the last change that it knows is {duration(replica.last)} old"
    )
    if replica.paused:
        return f"a standby, its replay paused: {known}"
    if replica.behind:
        if replica.last is None:
            return f"a standby, behind its primary: {known}"
        by = "less than 1 s" if replica.last < timedelta(seconds=1) else duration(replica.last)
        return f"a standby, {by} behind its primary"
    if not replica.connected:
        return f"a standby, to which its primary streams nothing now: {known}"
    return "a standby, not behind its primary"
