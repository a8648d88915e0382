"""Taking old runs out of the journal: which, and a batch of them at a time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from seqdev.journal.runs import Run
from seqdev.postgres.engine import Database
from seqdev.postgres.queries import Query
from seqdev.postgres.transaction import Transaction


@dataclass(frozen=True)
class Prunable:
    """The row of ``journal/prunable.sql``: a part of the journal, and what of it nobody needs."""

    run_ids: list[UUID]
    changes: int
    young: int
    standing: int
    oldest: datetime | None
    looked_until: datetime | None
    looked_run: UUID | None


@dataclass(frozen=True)
class Gone:
    """The row of ``journal/prune.sql``."""

    runs: int
    changes: int


_Part = tuple[Prunable, Gone, datetime]
_Work = Callable[[Transaction], _Part]

PRUNABLE = Query("journal/prunable.sql", Prunable)
PRUNE = Query("journal/prune.sql", Gone)


@dataclass(frozen=True)
class Old:
    """What of the journal is old: began longer ago than ``keep``; ``in_effect``: whatever it did."""

    keep: timedelta
    in_effect: bool


@dataclass(frozen=True)
class Pruned:
    """What is taken out of the journal, or would be, and what is as old and stays."""

    began_before: datetime
    """Only runs that began before are looked at."""
    runs: int = 0
    """Runs that go."""
    changes: int = 0
    """Changes that go with them."""
    oldest: datetime | None = None
    """When the first of them began."""
    kept_for_young_undo: int = 0
    """Runs that are kept since they were undone, or that was undone, in the time that is kept."""
    kept_in_effect: int = 0
    """Runs that are kept since what they did is still in effect."""


def plan(database: Database, old: Old) -> Pruned:
    """What ``prune`` would take out; reads only."""
    *_, found = _walk(lambda work: database.retry(work, read_only=True), old, take=False)
    return found


def prune(run: Run, old: Old) -> Iterator[Pruned]:
    """Take out what is ``old``, a batch in each transaction; yields what is gone so far."""
    return _walk(run.database.retry, old, take=True)


def _walk(retry: Callable[[_Work], _Part], old: Old, *, take: bool) -> Iterator[Pruned]:
    """From the first run to the last that is old, part by part; ``take``: out of the journal."""
    after: dict[str, object] = {}

    def look(tx: Transaction) -> _Part:
        part = tx.one(
            PRUNABLE,
            now=tx.now,
            keep=old.keep,
            in_effect=old.in_effect,
            done=tx.settings.done_statuses,
            **after,
        )
        gone = Gone(len(part.run_ids), part.changes)
        if take and part.run_ids:
            gone = tx.one(PRUNE, runs=part.run_ids)
        return part, gone, tx.now - old.keep

    part, gone, before = retry(look)
    found = Pruned(before)
    while part.looked_until is not None:
        found = Pruned(
            # What is old goes on a little while we look; the first part has said until when.
            before,
            found.runs + gone.runs,
            found.changes + gone.changes,
            found.oldest or part.oldest,
            found.kept_for_young_undo + part.young,
            found.kept_in_effect + part.standing,
        )
        yield found
        after = {"after": part.looked_until, "after_run": part.looked_run}
        part, gone, _ = retry(look)
    yield found
