"""A run of the tick as metrics."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from seqdev.metrics.text import Metric, by, gauge
from seqdev.tick.tick import Summary

_COUNTS = {
    "due": "Contacts due when the run began",
    "queued": "Messages that it queued",
    "moved": "Of these: on another device than the preferred one",
    "already_queued": "Contacts whose message was there already",
    "quarantined": "Contacts that the database refuses, and that are no longer due",
    "ended": "Contacts whose sequence is over",
    "chained": "Of these: contacts whose lead enters another sequence",
    "failed_reflected": "Failed sends that now show on the rows of their contacts",
    "replied": "Rows of people who have replied, which it stopped",
}
"""Fields of the summary, and what they count."""
_MESSAGES = ("queued", "moved", "failed_reflected")


def measured(summary: Summary | None, began: datetime, lasted: timedelta, exit_code: int) -> Iterable[Metric]:
    """The metrics of a run that has ended; without ``summary`` it did not get as far as its account.

    ``began``: by this host's clock.
    """
    yield gauge("tick_started_timestamp_seconds", "When the run began", began, "seconds")
    yield gauge("tick_duration_seconds", "How long it took", lasted, "seconds")
    yield gauge("tick_exit_code", "How it ended: 0 is well", exit_code)
    if summary is None:
        return
    for name, meaning in _COUNTS.items():
        unit = "messages" if name in _MESSAGES else "contacts"
        yield gauge(f"tick_{name}_{unit}", meaning, getattr(summary, name), unit)
    if summary.waiting is not None:
        yield by("tick_waiting_contacts", "Contacts that wait after it, by reason", "reason", summary.waiting)
