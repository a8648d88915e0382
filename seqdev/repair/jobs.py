"""Repairs: what each would change, the runs that did, and the way back."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from seqdev import gates
from seqdev.output.text import Phone
from seqdev.postgres.engine import Database
from seqdev.postgres.queries import Query
from seqdev.postgres.transaction import Transaction
from seqdev.repair.plan import Header, Plan, PlanRow
from seqdev.settings import Settings, window


@dataclass(frozen=True)
class ChangingRun:
    """A row of ``repair/runs.sql``: a run that has changed rows."""

    run_id: UUID
    command: str
    started: datetime
    finished: bool
    changes: int
    undone: int
    state: str
    total: int


@dataclass(frozen=True)
class Change:
    """A row of ``repair/show.sql``: a value that a run has changed."""

    table_name: str
    row_id: UUID
    phone: Phone | None
    sequence: str | None
    column_name: str
    old_value: str | None
    old_device: str | None
    new_value: str | None
    new_device: str | None
    changed_at: datetime
    total: int


ASSIGNED = Query("repair/assigned.sql", PlanRow)
MISSING = Query("repair/missing.sql", PlanRow)
DEVICE = Query("repair/device.sql", PlanRow)
HOME = Query("repair/home.sql", PlanRow)
STUCK = Query("repair/stuck.sql", PlanRow)
QUARANTINED = Query("repair/quarantined.sql", PlanRow)
ASSIGN = Query("repair/assign.sql", PlanRow)
UNDO = Query("repair/undo.sql", PlanRow)
RUNS = Query("repair/runs.sql", ChangingRun)
SHOW = Query("repair/show.sql", Change)


@dataclass(frozen=True)
class Job:
    """A statement that plans, what it is given, and the name of its run. ``facts`` go into its counts."""

    command: str
    query: Query[PlanRow]
    given: Mapping[str, Any]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def header(self, settings: Settings) -> Header:
        """What a file of this plan says it is."""
        given = {
            name: value if isinstance(value, bool | int) or value is None else _text(value)
            for name, value in self.given.items()
        }
        return Header(self.command, given, settings.schema)


@dataclass(frozen=True)
class Scope:
    """Whom a repair is about; None: everybody."""

    user: UUID | None = None
    sequence: UUID | None = None
    device: UUID | None = None

    @property
    def given(self) -> dict[str, UUID | None]:
        """As parameters of a statement."""
        return {"user": self.user, "sequence": self.sequence, "device": self.device}


def assigned(scope: Scope, since: timedelta, history: bool) -> Job:
    """People get the device that last wrote to them; with ``history`` their past rows instead."""
    command = "repair assigned --history" if history else "repair assigned"
    return Job(command, ASSIGNED, {"since": since, "history": history, **scope.given})


def missing(scope: Scope) -> Job:
    """Rows without a device get the lead's."""
    return Job("repair missing", MISSING, scope.given)


def device(old: UUID, to: UUID | None, most: int | None, until_back: bool) -> Job:
    """The people of ``old`` go to ``to``; None: to the same user's others. At most ``most`` of them."""
    return Job(
        "repair device --until-back" if until_back else "repair device",
        DEVICE,
        {"old": old, "to": to, "most": most},
        facts={"until_back": until_back},
    )


def home(user: UUID | None, device: UUID | None) -> Job:
    """People who left a device for a time return to it."""
    return Job("repair home", HOME, {"user": user, "device": device})


def stuck(scope: Scope) -> Job:
    """Claims that are too old are released."""
    return Job("repair stuck", STUCK, scope.given)


def quarantined(scope: Scope) -> Job:
    """What ticks have quarantined becomes active again."""
    return Job("repair quarantined", QUARANTINED, scope.given)


def assign(distribute: bool, rebalance: bool, user: UUID | None) -> Job:
    """Leads without a device are spread evenly; with ``rebalance`` the fewest others move to even it out."""
    options = "".join(
        f" --{name}" for name, given in (("distribute", distribute), ("rebalance", rebalance)) if given
    )
    return Job(
        f"leads assign{options}", ASSIGN, {"distribute": distribute, "rebalance": rebalance, "user": user}
    )


def undo(run: UUID) -> Job:
    """What ``run`` has changed is brought back. Statements know an undo by this very name."""
    return Job(f"repair undo {run}", UNDO, {"run": run}, facts={"undoes": str(run)})


def make_plan(database: Database, job: Job, plan: Plan) -> None:
    """Fill ``plan`` with what ``job`` would do now. Read-only."""

    def work(tx: Transaction) -> None:
        settings = database.settings
        instants = {"now": tx.now, **window(settings, tx.now)}
        known = {name: at for name, at in instants.items() if name in job.query.statement.parameters}
        plan.fill(tx.stream(job.query, **job.given, **known, **gates.needed_by(job.query, tx, settings)))

    database.retry(work, read_only=True)


def list_runs(database: Database, most: int | None) -> list[ChangingRun]:
    """Runs that have changed rows, newest first."""
    return database.retry(lambda tx: tx.rows(RUNS, most=most), read_only=True)


def changes(tx: Transaction, run: UUID, most: int | None) -> Iterator[Change]:
    """What ``run`` has changed, the first of it, or with None all."""
    return tx.stream(SHOW, run=run, most=most)


def _text(value: object) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)
