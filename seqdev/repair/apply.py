"""The one way in which repairs change rows: compared with the plan, changed, journaled, by one statement."""

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from typing import TypeVar
from uuid import UUID

from seqdev.errors import Refused, StalePlan
from seqdev.journal.runs import Run
from seqdev.output.tables import LISTED
from seqdev.output.words import are, counted
from seqdev.postgres.engine import Database
from seqdev.postgres.queries import Query
from seqdev.postgres.transaction import Transaction
from seqdev.repair.plan import Plan, PlanRow

Done = TypeVar("Done")

MANY = 100
"""Rows that the database refuses, at which a repair ends: it is not about single people then."""


@dataclass(frozen=True)
class Applied:
    """The row of ``repair/apply.sql``."""

    changed: int
    kept: list[UUID]


@dataclass(frozen=True)
class Journaled:
    """A row of ``repair/journaled.sql``."""

    row_id: UUID


APPLY = Query("repair/apply.sql", Applied)
JOURNALED = Query("repair/journaled.sql", Journaled)


@dataclass
class Outcome:
    """What a run did. ``kept``: rows that were no longer what the plan says; ``listed``: some of them.

    ``overtaken``: rows that others had changed since the plan, and what came of them was dealt with as well.
    """

    run: UUID | None = None
    changed: int = 0
    kept: int = 0
    overtaken: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    """Rows that the database refuses to change, by its reason."""
    listed: list[PlanRow] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(frozen=True)
class Manner:
    """How a plan is carried out: rows of about ``chunk`` in one statement.

    Each statement is a transaction of its own, so that the tick never waits long; rows that have changed
    since the plan are kept. ``strict``: all of it is one transaction, for all of it or nothing: one row that
    has changed, and StalePlan is raised. ``whole``: of a person all rows are changed, or none.
    """

    chunk: int
    strict: bool
    whole: bool = False


def apply(
    run: Run,
    plan: Plan,
    manner: Manner,
    facts: Mapping[str, object],
    progress: Callable[[int], None] = lambda _: None,
) -> Outcome:
    """Carry out ``plan`` as ``run``. ``facts`` go into its counts.

    Locks are taken in the tick's order: contacts before leads, and messages last.
    """
    outcome = Outcome(run.id)
    started = time.monotonic()
    with run.work():
        if manner.strict:
            whole = partial(_whole, run=run.id, plan=plan, chunk=manner.chunk, progress=progress)
            outcome.changed = _seeing_what_is_gone(run.database, whole)
        else:
            for rows in plan.chunks(manner.chunk):
                _carry_out(run, rows, manner, outcome)
                progress(outcome.changed + outcome.kept + outcome.refusals.total())
    run.counts = _counts(plan, outcome, facts)
    outcome.seconds = round(time.monotonic() - started, 3)
    return outcome


def _carry_out(run: Run, rows: list[PlanRow], manner: Manner, outcome: Outcome) -> None:
    """Change ``rows``. What the database refuses is halved, until the rows of one person stand alone.

    Raises Refused where that happens to too many.
    """
    try:
        kept = _seeing_what_is_gone(run.database, partial(_chunk, run=run.id, rows=rows, whole=manner.whole))
    except Refused as error:
        people = [list(group) for _, group in groupby(rows, key=lambda row: row.person)]
        if len(people) > 1:
            for half in (people[: len(people) // 2], people[len(people) // 2 :]):
                _carry_out(run, [row for person in half for row in person], manner, outcome)
            return
        if outcome.refusals.total() >= MANY:
            raise
        outcome.refusals[error.reason] += _changes(rows)
        kept = [replace(row, refused="refused_by_database") for row in rows]
    else:
        outcome.kept += _changes(kept)
    outcome.changed += _changes(rows) - _changes(kept)
    outcome.listed += [row for row in kept if row.becomes][: LISTED - len(outcome.listed)]


def _seeing_what_is_gone(database: Database, work: Callable[[Transaction], Done]) -> Done:
    """What ``work`` returns. A device that is deleted in the middle of it is seen to be gone another time."""
    try:
        return database.retry(work)
    except Refused:
        return database.retry(work)


def _whole(tx: Transaction, run: UUID, plan: Plan, chunk: int, progress: Callable[[int], None]) -> int:
    """The whole plan in one transaction: the number of rows changed, which is all. Raises StalePlan."""
    first = next(plan.chunks(1))
    if tx.rows(JOURNALED, run=run, rows=[row.row_id for row in first]):
        # The answer to the commit was lost, the commit was not.
        return plan.changes
    changed = 0
    # Table by table through the plan: every contact is locked before the first lead.
    for table in ("blocked", "sequence_contacts", "leads", "broadcast_messages", "rule"):
        for people in plan.chunks(chunk):
            rows = [row for row in people if row.table_name == table]
            if not rows:
                continue
            kept = _chunk(tx, run, rows)
            if kept:
                seen = changed + len(rows)
                raise StalePlan(
                    f"the plan no longer fits: {len(kept)} of the first {counted(seen, 'row')} "
                    f"{are(len(kept), 'have')} changed since; "
                    "nothing was changed",
                    "make the plan anew",
                )
            changed += _changes(rows)
            progress(changed)
    return changed


def _chunk(tx: Transaction, run: UUID, rows: list[PlanRow], whole: bool = False) -> list[PlanRow]:
    """Change and journal ``rows``; those that were kept."""
    wanted = [
        {
            "table_name": row.table_name,
            "row_id": row.row_id,
            "together": row.person if whole else row.row_id,
            "expected": row.expected,
            "becomes": row.becomes,
        }
        for row in rows
    ]
    done = tx.one(APPLY, run=run, now=tx.now, rows=json.dumps(wanted, default=str))
    if not done.kept:
        return []
    kept = set(done.kept)
    # What has another id since is found by that one.
    now = {UUID(row.becomes["id"]): row.row_id for row in rows if "id" in row.becomes}
    found = tx.rows(JOURNALED, run=run, rows=[*done.kept, *now])
    journaled = {now.get(row.row_id, row.row_id) for row in found}
    # The answer to the commit was lost, the commit was not: what is in the journal is not kept.
    before = {row.person for row in rows if whole and row.row_id in journaled}
    return [
        row for row in rows if row.row_id in kept and row.row_id not in journaled and row.person not in before
    ]


def _changes(rows: list[PlanRow]) -> int:
    """How many of ``rows`` are to change: others are only looked at."""
    return sum(bool(row.becomes) for row in rows)


def _counts(plan: Plan, outcome: Outcome, facts: Mapping[str, object]) -> dict[str, object]:
    return {
        "planned": plan.changes,
        "people": plan.people,
        "changed": outcome.changed,
        "kept": outcome.kept,
        "refused": plan.refused.total() + outcome.refusals.total(),
        **facts,
    }
