"""Repairs: what each would change, the runs that did, and the way back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from seqdev import gates, parameters
from seqdev.moments import EVER, Window
from seqdev.phone import national
from seqdev.postgres.engine import Database
from seqdev.postgres.queries import Query
from seqdev.postgres.transaction import Transaction
from seqdev.repair.plan import Header, LeftAlone, Plan, PlanRow
from seqdev.settings import Settings


@dataclass(frozen=True)
class InQueue:
    """The row of ``repair/queue.sql``: messages that wait in the queue of a device."""

    pending: int
    begun: int
    is_online: bool


class Cause(StrEnum):
    """Why a message came from another device than the one assigned, as ``audit/mismatches.sql`` says."""

    OTHER_USERS_DEVICE = "other_users_device"
    ASSIGNMENT_MISSING = "assignment_missing"
    ASSIGNED_SINCE = "assigned_since"
    DEVICE_DELETED = "device_deleted"
    OTHER_USERS_ASSIGNMENT = "other_users_assignment"
    USED_DEVICE_DELETED = "used_device_deleted"
    LEAD_REOWNED = "lead_reowned"
    FALLBACK_USED = "fallback_used"
    FOREIGN_WRITER = "foreign_writer"
    REPAIRED = "repaired"
    """Not a cause: a repair has dealt with it."""


RECOMMENDED = (Cause.FALLBACK_USED, Cause.LEAD_REOWNED, Cause.OTHER_USERS_ASSIGNMENT)
"""The causes for which the audit recommends ``repair assigned``."""

NOTHING = LeftAlone({})

ASSIGNED = Query("repair/assigned.sql", PlanRow)
MISSING = Query("repair/missing.sql", PlanRow)
DEVICE = Query("repair/device.sql", PlanRow)
HOME = Query("repair/home.sql", PlanRow)
QUEUE = Query("repair/queue.sql", InQueue)
STUCK = Query("repair/stuck.sql", PlanRow)
QUARANTINED = Query("repair/quarantined.sql", PlanRow)
STRANDED = Query("repair/stranded.sql", PlanRow)
STEP_GONE = Query("repair/step_gone.sql", PlanRow)
NO_LEAD = Query("repair/no_lead.sql", PlanRow)
DELAY_CHANGED = Query("repair/delay_changed.sql", PlanRow)
WRITTEN_BY_OTHER = Query("repair/written_by_other.sql", PlanRow)
ASSIGN = Query("repair/assign.sql", PlanRow)
MERGE = Query("repair/merge.sql", PlanRow)
FAILED = Query("repair/failed.sql", PlanRow)
QUEUED = Query("repair/queued.sql", PlanRow)
UNPAUSE = Query("repair/unpause.sql", PlanRow)
UNDO = Query("repair/undo.sql", PlanRow)


@dataclass(frozen=True)
class Job:
    """A statement that plans, what it is given, the name of its run, what it does not change.

    ``facts`` go into its counts. ``whole``: of a person all rows change, or none.
    """

    command: str
    query: Query[PlanRow]
    given: Mapping[str, Any]
    window: Window = EVER
    """When what it is about has happened."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    left_alone: LeftAlone = NOTHING
    whole: bool = False
    settles: bool = False
    """Whether it is planned again until nothing is left to change, since ticks go on meanwhile."""
    nobody: str = ""
    """What to say where the plan is empty because what was asked for by name is not there."""

    def header(self, settings: Settings) -> Header:
        """What a file of this plan says it is."""
        given = {
            name: value if isinstance(value, bool | int) or value is None else _text(value)
            for name, value in (*self.given.items(), *self.window.typed.items())
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


@dataclass(frozen=True)
class Mismatches:
    """Which mismatches a repair is about: by time and cause; with ``history`` past rows, not to come."""

    window: Window
    history: bool
    causes: tuple[Cause, ...]


def assigned(scope: Scope, which: Mismatches, found: Mapping[str, int]) -> Job:
    """People get the device that last wrote to them. ``found``: what the audit finds there, by cause."""
    command = "repair assigned --history" if which.history else "repair assigned"
    others = {cause: number for cause, number in found.items() if cause not in which.causes}
    return Job(
        command,
        ASSIGNED,
        {"history": which.history, "causes": which.causes, **scope.given},
        window=which.window,
        left_alone=LeftAlone(others, "what to do about each: seqdev audit mismatches"),
    )


def missing(scope: Scope) -> Job:
    """Rows without a device get the lead's."""
    return Job("repair missing", MISSING, scope.given)


@dataclass(frozen=True)
class Removal:
    """Whose people leave a device: ``to`` another, None: to the same user's others. At most ``most`` of them.

    ``queue``: with the messages that are pending in its queue.
    """

    old: UUID
    to: UUID | None
    user: UUID | None
    most: int | None
    queue: bool

    @property
    def given(self) -> dict[str, object]:
        """As parameters of a statement."""
        return {"old": self.old, "to": self.to, "user": self.user, "most": self.most, "queue": self.queue}


def device(tx: Transaction, settings: Settings, removal: Removal, until_back: bool) -> Job:
    """The people of a lost device go to others; for a time, if they are to come back."""
    waits = tx.one(QUEUE, device=removal.old, user=removal.user, **gates.needed_by(QUEUE, tx, settings))
    stays = {"begun": waits.begun}
    to_do = "of a message that its sender has begun only the sender knows whether it was sent"
    if not removal.queue or waits.is_online:
        stays = {"pending": waits.pending, **stays}
    if waits.pending and not removal.queue:
        to_do = "to move the messages that are pending in its queue too: --queue"
        if waits.is_online:
            to_do = "its sender goes on with its queue while it is online"
    return Job(
        "repair device --until-back" if until_back else "repair device",
        DEVICE,
        removal.given,
        facts={"until_back": until_back},
        left_alone=LeftAlone({what: number for what, number in stays.items() if number}, to_do),
    )


def home(user: UUID | None, device: UUID | None) -> Job:
    """People who left a device for a time return to it."""
    return Job("repair home", HOME, {"user": user, "device": device})


def stuck(scope: Scope) -> Job:
    """Claims that are too old are released."""
    return Job("repair stuck", STUCK, scope.given)


def stranded(scope: Scope) -> Job:
    """Rows whose turn has come, and that nobody has activated, become active."""
    return Job("repair stranded", STRANDED, scope.given)


def step_gone(scope: Scope, ends: bool) -> Job:
    """People whose step was deleted go on with the one in its place or after it; or they end."""
    return Job("repair step-gone", STEP_GONE, {"ends": ends, **scope.given})


@dataclass(frozen=True)
class Renumbered:
    """People without a lead: by the phones they have, all writings of one; where to; or that they end."""

    phones: tuple[str, ...] = ()
    to: tuple[str, ...] = ()
    ends: bool = False


def no_lead(scope: Scope, who: Renumbered) -> Job:
    """People without a lead go on with the phone that their lead has now; or they end."""
    return Job(
        "repair no-lead",
        NO_LEAD,
        {"phones": who.phones, "to": who.to, "ends": who.ends, **scope.given},
        nobody="nobody without a lead has the phone given with --phone" if who.phones else "",
    )


def delay_changed(scope: Scope) -> Job:
    """Who waits for a step whose delay was changed is due by the delay as it is now."""
    return Job("repair delay-changed", DELAY_CHANGED, scope.given)


def written_by_other(scope: Scope, window: Window) -> Job:
    """Rows whose message another processor has written get no second one."""
    return Job("repair written-by-other", WRITTEN_BY_OTHER, scope.given, window=window)


class FailedFor(StrEnum):
    """Why a message was not sent, as ``gates/causes.sql`` tells it, where a later try may succeed."""

    DEVICE_OFFLINE = "device_offline"
    DEVICE_LOGGED_OUT = "device_logged_out"
    EXPIRED = "expired"
    MEDIA = "media"
    RESTRICTED = "restricted"
    NO_ANSWER = "no_answer"
    NO_REASON = "no_reason"
    OTHER = "other"


@dataclass(frozen=True)
class Again:
    """How messages that failed are queued again: on which device (None: their own), how many, over how long.

    ``attempts``: how often each, at most.
    """

    to: UUID | None
    most: int | None
    spread: timedelta
    attempts: int

    @property
    def given(self) -> dict[str, object]:
        """As parameters of a statement."""
        return {"to": self.to, "most": self.most, "spread": self.spread, "attempts": self.attempts}


def failed(scope: Scope, window: Window, causes: tuple[FailedFor, ...], again: Again) -> Job:
    """Messages that were not sent are queued again: of these ``causes``; without, what surely was not."""
    given = {"only": causes, **scope.given, **again.given}
    return Job("repair failed", FAILED, given, window=window)


def queued(scope: Scope, older_than: timedelta, to: UUID | None, most: int | None) -> Job:
    """Messages that wait in the queue are taken back; with ``to``, moved to that device."""
    command = "repair queued" if to else "repair queued --cancel"
    return Job(command, QUEUED, {"older_than": older_than, "to": to, "most": most, **scope.given})


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


def merge(user: UUID | None) -> Job:
    """Of the leads of one person one survives, and the others are set aside."""
    return Job("leads merge", MERGE, {"user": user}, whole=True)


def unpause(scope: str, identity: UUID, spread: timedelta) -> Job:
    """A sequence, device or user goes on; who is due there is laid out over ``spread``, if that is any."""
    return Job("resume", UNPAUSE, {"scope": scope, "scope_id": identity, "spread": spread})


def undo(run: UUID) -> Job:
    """What ``run`` has changed is brought back. Statements know an undo by this very name."""
    return Job(f"repair undo {run}", UNDO, {"run": run}, facts={"undoes": str(run)})


def make_plan(database: Database, job: Job, plan: Plan) -> None:
    """Fill ``plan`` with what ``job`` would do now. Read-only."""
    plan.left_alone = job.left_alone

    def work(tx: Transaction) -> None:
        settings = tx.settings
        known = {
            "now": tx.now,
            "waiting": settings.waiting_statuses,
            "done": settings.done_statuses,
            "failed": settings.failed_statuses,
            "stopped": settings.stopped_statuses,
            **national(settings.region),
            **parameters.window(settings, tx.now),
        }
        declared = job.query.statement.parameters
        known = {name: one for name, one in known.items() if name in declared}
        if "since" in declared:
            known |= job.window.given(tx.now, declared["since"].default)
        plan.fill(tx.stream(job.query, **job.given, **known, **gates.needed_by(job.query, tx, settings)))

    database.retry(work, read_only=True)


def _text(value: object) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)
