"""Settings and rules as parameters of statements."""

import re
from datetime import UTC, datetime

from seqdev.phone import national
from seqdev.settings import Settings, text_of


def window(settings: Settings, due_by: datetime) -> dict[str, object]:
    """What makes a contact due, as parameters.

    Between which instants it must be due, after which another's claim is respected, whether it needs a lead,
    and what makes its phone a national one.

    A contact that was due before ``oldest`` is too late; with ``max_lateness`` zero nobody is.
    """
    # In UTC: Python subtracts from what the wall clock shows, which jumps where summer time begins or ends.
    due_by = due_by.astimezone(UTC)
    return {
        "due_by": due_by,
        "oldest": due_by - settings.max_lateness if settings.max_lateness else "-infinity",
        "stale": due_by - settings.claim_timeout,
        "without_lead": settings.without_lead,
        **national(settings.region),
    }


def capacity(settings: Settings) -> dict[str, object]:
    """What limits a device, as parameters."""
    return {
        "max_in_flight": settings.max_in_flight,
        "max_per_hour": settings.max_per_hour,
        "max_per_day": settings.max_per_day,
        "return_home": settings.return_home,
        "grace": settings.grace,
        "restricted": restricted(settings),
    }


RAMPS = ("warm_up", "new_chats_per_day", "grace")
"""The rules of sql/gates/ramps.sql."""


def ramps(settings: Settings) -> dict[str, object]:
    """Those for all, as parameters."""
    return {
        "max_per_day": settings.max_per_day,
        "warm_up": text_of("warm_up", settings),
        "new_chats": text_of("new_chats_per_day", settings),
        "grace": settings.grace,
    }


def restricted(settings: Settings) -> str:
    """The errors of a device that may open no new chats, as a regular expression of the server's."""

    def pattern(words: str) -> str:
        if words.isdecimal():
            return f"(^|[^0-9]){words}([^0-9]|$)"
        # Between two words may be any sign, or none.
        return ".?".join(re.sub(r"([^\w])", r"\\\1", word) for word in words.split())

    return "|".join(map(pattern, settings.restricted_errors))
