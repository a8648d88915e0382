"""What the journal tells of an instant of the past: how far back, who had paused what, the ticks around."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any
from uuid import UUID

from seqdev.errors import UsageError
from seqdev.moments import Moment
from seqdev.output.columns import Prose
from seqdev.postgres.queries import Query
from seqdev.postgres.transaction import Transaction


@dataclass(frozen=True)
class Pruned:
    """The row of ``journal/pruned.sql``."""

    before: datetime | None


@dataclass(frozen=True)
class PastRule:
    """A row of ``journal/then_rules.sql``: a rule, and what it was."""

    name: str
    scope: str
    scope_id: UUID | None
    scope_name: str | None
    value: str | None
    is_known: bool
    is_on: bool | None
    value_now: str | None
    changed_at: datetime | None


@dataclass(frozen=True)
class PastTick:
    """A row of ``journal/then_ticks.sql``: the last tick before, or the first after."""

    tick: str
    run_id: UUID
    started: datetime
    ended: datetime | None
    host: str | None
    exit_code: int | None
    reason: str | None
    queued: int | None
    waiting: dict[str, Any] | None


@dataclass(frozen=True)
class PastPause:
    """The row of ``journal/then_paused.sql``: whether all was paused, and when the journal begins."""

    begins: datetime | None
    paused_at: datetime | None
    resumed_at: datetime | None
    paused_by: str | None
    why: str | None


PRUNED = Query("journal/pruned.sql", Pruned)
PAST_RULES = Query("journal/then_rules.sql", PastRule)
PAST_TICKS = Query("journal/then_ticks.sql", PastTick)
PAST_PAUSE = Query("journal/then_paused.sql", PastPause)


@dataclass(frozen=True)
class Unknown:
    """Something that nothing tells of then."""

    what: Prose
    """What cannot be known."""
    why: Prose
    """Why, and where it may be found out."""


BY_HAND = Unknown(
    "what the host or a person has changed or deleted by hand since",
    "only what seqdev changes is in its journal",
)


def instant(tx: Transaction, at: Moment, zone: tzinfo | None) -> datetime:
    """The instant of ``at``. Raises UsageError where it is still to come, or the journal of it was pruned."""
    found = at.gone_by(tx.now, zone)
    pruned = tx.one(PRUNED)
    if pruned.before and found < pruned.before:
        raise UsageError(
            f"how it stood at {at} is not known: the journal was pruned of what began before "
            f"{pruned.before.astimezone(zone):%Y-%m-%d %H:%M}",
            "give a later instant",
        )
    return found


def before(pause: PastPause, at: datetime) -> Iterator[Unknown]:
    """That the journal does not reach back to ``at``, where it does not."""
    if pause.begins is None or at < pause.begins:
        yield Unknown(
            "what seqdev did", "its journal begins later" if pause.begins else "its journal is empty"
        )


def paused(tx: Transaction, at: datetime) -> dict[str, list[UUID]]:
    """Which sequences, users and devices a rule had ``paused`` then, and of which it is ``unsure``."""
    rules = [one for one in tx.rows(PAST_RULES, at=at) if one.name == "paused" and one.scope_id]
    return {
        "paused": [one.scope_id for one in rules if one.scope_id and one.is_on],
        "unsure": [one.scope_id for one in rules if one.scope_id and one.is_on is None],
    }
