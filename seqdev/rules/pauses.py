"""Pauses of a part: who is due of a sequence, device or user waits until it is resumed, or its end comes.

A pause is a rule, ``paused``, which the gates read: ``until resumed: WHY``, or ``until INSTANT: WHY`` in
UTC.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from seqdev import gates
from seqdev.errors import UsageError
from seqdev.output.words import Clock
from seqdev.postgres.queries import Query
from seqdev.postgres.transaction import Transaction
from seqdev.rules.rules import Change, Target
from seqdev.settings import PAUSED

_RESUMED = "resumed"


@dataclass(frozen=True)
class PausedPart:
    """A row of ``rules/pauses.sql``."""

    scope: str
    scope_id: UUID
    scope_name: str | None
    ends: str | None
    is_over: bool
    why: str
    value: str
    since: datetime | None
    paused_by: str | None

    @property
    def part(self) -> str:
        """What is paused, in words."""
        return named(self.scope, self.scope_id, self.scope_name)

    def told(self, clock: Clock) -> str:
        """What is paused, until when, since when, by whom, and why, as people read it."""
        end = f"until {self.ends}" if self.ends else "until resumed"
        since = f", since {clock.with_age(self.since)}" if self.since else ""
        who = f" by {self.paused_by}" if self.paused_by else ""
        return f"{self.part} paused {end}{since}{who}: {self.why}"


@dataclass(frozen=True)
class Until:
    """The row of ``rules/until.sql``."""

    ends: str
    shown: str
    zone: str
    ahead: bool


@dataclass(frozen=True)
class HeldBack:
    """The row of ``rules/held_back.sql``."""

    due: int
    in_hour: int
    in_day: int
    longer: int
    oldest: datetime | None
    pending: int


PAUSES = Query("rules/pauses.sql", PausedPart)
UNTIL = Query("rules/until.sql", Until)
HELD_BACK = Query("rules/held_back.sql", HeldBack)


def named(scope: str, identity: UUID | None, name: str | None) -> str:
    """A part by its name, and by as much of its id as commands take."""
    return f"{scope} {name} [{str(identity)[:8]}]" if name else f"{scope} {str(identity)[:8]}"


def listed(tx: Transaction) -> Sequence[PausedPart]:
    """Every part that is paused, also where the end of that has come."""
    return tx.rows(PAUSES, now=tx.now)


def of(tx: Transaction, whose: Target) -> PausedPart | None:
    """The pause of a part; None: there is none."""
    return next((one for one in listed(tx) if (one.scope, one.scope_id) == (whose.scope, whose.id)), None)


def until(tx: Transaction, text: str) -> Until:
    """The instant that was typed, in the zone of the database. Raises UsageError for none, or one gone by."""
    try:
        typed = datetime.fromisoformat(text.strip())
    except ValueError:
        raise UsageError(
            f"--until {text!r} is no instant", "write it as '2026-12-01 08:00', or with its offset from UTC"
        ) from None
    found = tx.one(UNTIL, now=tx.now, until=typed.isoformat(sep=" ", timespec="seconds"))
    if not found.ahead:
        raise UsageError(
            f"--until {text!r} is past: it was read as {found.shown} in {found.zone}, the database's zone",
            "give an instant that lies ahead, or none: until somebody resumes it",
        )
    return found


def planned(tx: Transaction, whose: Target, ends: Until | None, why: str) -> tuple[Change, PausedPart | None]:
    """What pausing a part changes, and its pause so far: one that holds as long stays, with its reason."""
    before = of(tx, whose)
    value = f"until {ends.ends if ends else _RESUMED}: {why}"
    if before and not before.is_over and before.ends == (ends.ends if ends else None):
        value = before.value
    old = before.value if before else None
    return Change(PAUSED, whose.scope, whose.name, whose.id, old, value), before


def held_back(tx: Transaction, whose: Target) -> HeldBack:
    """Who of a part is due now, by age, and what waits in the queue."""
    return tx.one(
        HELD_BACK,
        now=tx.now,
        scope=whose.scope,
        scope_id=whose.id,
        **gates.handed_to(HELD_BACK, gates.steps(tx, tx.settings)),
    )
