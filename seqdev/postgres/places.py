"""Where contacts without a step stand: how many there are, whom the upgrade can place, and placing them."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from seqdev.postgres.engine import Database
from seqdev.postgres.findings import Finding
from seqdev.postgres.queries import Query
from seqdev.postgres.transaction import Transaction

BATCH = 10_000
"""Contacts a transaction."""

_UNSURE = {
    "disagree": ("has", "have", "values that name different steps: --place-by says which of them is right"),
    "no_step": ("names", "name", "no step of the sequence: left as is"),
    "several_steps": ("names", "name", "more than one step: left as is"),
    "step_taken": ("names", "name", "a step of which the person has another row: left as is"),
}
"""Why a person should look at a contact, as the plan says it of one and of several."""


class By(StrEnum):
    """What decides where a contact stands, where the values of its row disagree."""

    TRIGGER = "trigger"
    DAY = "day"
    STEP = "step"


@dataclass(frozen=True)
class Place:
    """A row of ``postgres/places.sql``: a contact without a step, and the one that it would get."""

    phone: str | None
    sequence: str | None
    sequence_id: UUID | None
    status: str | None
    by_trigger: int | None
    by_day: int | None
    by_step: int | None
    step: int | None
    step_id: UUID | None
    why: str
    contact_id: UUID
    total: int
    found: dict[str, Any]


PLACES = Query("postgres/places.sql", Place)
FILL: Query[None] = Query("postgres/fill_steps.sql", type(None))


def look(tx: Transaction, by: By | None, done: Sequence[str]) -> Finding:
    """What there is to say of the contacts without a step, and what the upgrade does about them.

    Rows with a status of ``done`` are done.
    """
    found = _count(tx, by, done)
    unsure = {why: words for why, words in _UNSURE.items() if found.get(why)}
    placed = found.get("placed", 0)
    said = [
        f"{found[why]:,} {one if found[why] == 1 else many} {what}"
        for why, (one, many, what) in unsure.items()
    ]
    if placed:
        get = "gets" if placed == 1 else "get"
        said.insert(0, f"{placed:,} {get} the step that trigger, day and step number name")
    if unsure:
        said.append("who they are: seqdev db places")
    return Finding(
        "sequence_contacts: the step of each",
        "advised" if said else "ok",
        "; ".join(["without one a contact waits for ever", *said]),
        "fill sequence_stepid: sql/postgres/fill_steps.sql" if placed else None,
        "repeat" if placed else None,
    )


def undecided(database: Database) -> int:
    """How many contacts cannot be placed before somebody says what comes first."""
    found = database.retry(lambda tx: _count(tx, None, tx.settings.done_statuses), read_only=True)
    return int(found.get("disagree", 0))


def _count(tx: Transaction, by: By | None, done: Sequence[str]) -> dict[str, Any]:
    rows = tx.rows(PLACES, place_by=by or "", done=[*done], why=[], limit=1)
    return rows[0].found if rows else {}


def listed(database: Database, by: By | None, limit: int | None) -> list[Place]:
    """The contacts that a person should look at, at most ``limit`` of them."""
    return database.retry(
        lambda tx: tx.rows(
            PLACES, place_by=by or "", done=tx.settings.done_statuses, why=[*_UNSURE], limit=limit
        ),
        read_only=True,
    )


def fill(database: Database, by: By | None) -> None:
    """Give every contact its step that can be placed, a batch a transaction."""
    after: UUID | None = UUID(int=0)

    def work(tx: Transaction) -> UUID | None:
        done = tx.settings.done_statuses
        rows = tx.rows(PLACES, place_by=by or "", done=done, why=[], after=after, batch=BATCH, limit=None)
        placed = [row for row in rows if row.step_id]
        if placed:
            contacts, steps = [row.contact_id for row in placed], [row.step_id for row in placed]
            tx.execute(FILL, contacts=contacts, steps=steps)
        return rows[-1].contact_id if rows else None

    while after:
        after = database.retry(work)
