"""The instants of a tick are so much earlier by the clock that runs on, also where summer time begins or ends."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from seqdev.parameters import window
from seqdev.settings import Settings


@pytest.mark.parametrize(
    "due_by",
    [datetime(2026, 3, 29, 1, 2, tzinfo=UTC), datetime(2026, 10, 25, 1, 2, tzinfo=UTC)],
    ids=["summer time began two minutes ago", "summer time ended two minutes ago"],
)
def test_a_change_of_the_clocks_moves_no_instant(due_by: datetime) -> None:
    settings = Settings(claim_timeout=timedelta(minutes=5), max_lateness=timedelta(hours=2))
    instants = window(settings, due_by.astimezone(ZoneInfo("Europe/Berlin")))
    assert instants == {
        "due_by": due_by,
        "stale": due_by - timedelta(minutes=5),
        "oldest": due_by - timedelta(hours=2),
        "without_lead": False,
        "national": "(?!)",
        "country": "",
    }
