"""People whom ticks have moved by reassign go back to their own device, by the rule return_home."""

from dataclasses import dataclass

from seqdev import gates
from seqdev.journal.runs import Run
from seqdev.postgres.engine import Database
from seqdev.postgres.queries import Query
from seqdev.postgres.transaction import Transaction
from seqdev.repair.jobs import HOME
from seqdev.repair.plan import PlanRow


@dataclass(frozen=True)
class Returned:
    """The row of ``repair/return.sql``."""

    returned: int


RETURN = Query("repair/return.sql", Returned)


def come_back(database: Database) -> int:
    """How many rows would go back now, read-only."""
    return (
        database.retry(lambda tx: len(_planned(tx)), read_only=True)
        if database.settings.rules_on("return_home")
        else 0
    )


def bring_back(run: Run) -> int:
    """Assign those people to their own device again, journaled by ``run``: the number of rows."""

    def work(tx: Transaction) -> int:
        rows = _planned(tx)
        return tx.one(
            RETURN,
            run=run.id,
            now=tx.now,
            rows=[row.row_id for row in rows],
            **{"from": [row.from_device for row in rows], "to": [row.to_device for row in rows]},
            waiting=tx.settings.waiting_statuses,
        ).returned

    number = 0
    with run.work():
        number = run.database.retry(work)
    run.counts = {"changed": number, "why": "the rule return_home"}
    return number


def _planned(tx: Transaction) -> list[PlanRow]:
    planned = tx.rows(
        HOME,
        now=tx.now,
        by_tick=True,
        waiting=tx.settings.waiting_statuses,
        **gates.needed_by(HOME, tx, tx.settings),
    )
    # Their device may be full: that is none of its being there.
    return [row for row in planned if row.refused in (None, "device_full")]
