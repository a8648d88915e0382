"""The tick: every due contact gets its message, or a reason to wait."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from seqdev.errors import AllRefused, Cancelled, Refused, SeqdevError
from seqdev.journal.runs import Run
from seqdev.postgres.engine import Database
from seqdev.postgres.queries import Query
from seqdev.settings import Policy
from seqdev.tick import failed_sends
from seqdev.tick.backlog import Limits, Total, claim_all
from seqdev.tick.backoff import Pace
from seqdev.tick.forecast import Decision, decide

SET_ASIDE: Query[None] = Query("tick/note_reasons.sql", type(None))

_SET_ASIDE_REASONS = {"bad_phone", "step_missing", "no_content"}


@dataclass(frozen=True)
class Summary:
    """What a run did. ``due`` is ``queued``, ``already_queued``, ``set_aside`` and all that wait, by reason.

    ``due`` and ``waiting`` are None where the run was ended, or the server cancelled the count of who waits.
    """

    run_id: UUID | None
    policy: str
    dry_run: bool
    due: int | None
    queued: int
    moved: int
    """Of those queued: on another device than the preferred one."""
    already_queued: int
    waiting: Mapping[str, int] | None
    set_aside: int
    """Contacts that the database refuses, and that are no longer due."""
    ended: int | None
    """Contacts whose sequence is over; None in a dry run, which looks at devices, not at people."""
    chained: int | None
    failed_reflected: int | None
    duration: float
    """Seconds."""


@dataclass
class Report:
    """A run's summary, and what it could not do: why the database refused what, as counts; and in words."""

    summary: Summary
    set_aside: Mapping[str, int]
    left: Mapping[str, int]
    """Contacts refused, but active still: they could not be set aside either."""
    failed_left: Mapping[str, int]
    """Failed sends that could not be shown."""
    troubles: list[str]
    error: SeqdevError | None
    """What ended the run early."""

    @property
    def clean(self) -> bool:
        """Whether nothing was refused and nothing left out."""
        return not (self.set_aside or self.left or self.failed_left or self.troubles or self.error)


@dataclass
class _Progress(Total):
    failed_reflected: int = 0
    failed_left: Mapping[str, int] = field(default_factory=dict)
    error: SeqdevError | None = None


def plan(database: Database, policy: Policy) -> tuple[Summary, list[Decision]]:
    """What a tick would do now, read-only: the summary, and the decisions by device."""
    started = time.monotonic()
    decisions = database.retry(lambda tx: decide(tx, database.settings, policy), read_only=True)
    waiting = Counter[str]()
    for decision in decisions:
        waiting[decision.decision] += decision.contacts
    queued = waiting.pop("queue", 0)
    summary = Summary(
        run_id=None,
        policy=policy.value,
        dry_run=True,
        due=queued + waiting.total(),
        queued=queued,
        moved=sum(decision.moved for decision in decisions),
        already_queued=0,
        waiting=dict(waiting),
        set_aside=0,
        ended=None,
        chained=None,
        failed_reflected=None,
        duration=round(time.monotonic() - started, 3),
    )
    return summary, decisions


def tick(
    run: Run, policy: Policy, limits: Limits, progress: Callable[[int], None] = lambda _: None
) -> Report:
    """Process what is due until nothing is left, the limits are reached, or ``run`` is ended.

    ``progress`` is told the number of contacts claimed so far after each batch. What the database refuses or
    cancels does not end the run, unless there is too much of it: the report says so.
    """
    started = time.monotonic()
    total = _Progress()
    pace = Pace(limits.batch_size)
    waiting: Counter[str] | None = None
    with run.work():
        waiting = _process(run, policy, limits, started, total, pace, progress)
    summary = Summary(
        run_id=run.id,
        policy=policy.value,
        dry_run=False,
        due=None if waiting is None else total.claimed + pace.set_aside.total() + waiting.total(),
        queued=total.queued,
        moved=total.moved,
        already_queued=total.claimed - total.queued,
        waiting=None if waiting is None else dict(waiting),
        set_aside=pace.set_aside.total(),
        ended=total.ended,
        chained=total.chained,
        failed_reflected=total.failed_reflected,
        duration=round(time.monotonic() - started, 3),
    )
    run.counts = _counts(summary)
    return Report(summary, pace.set_aside, pace.left, total.failed_left, total.troubles, total.error)


def _process(
    run: Run,
    policy: Policy,
    limits: Limits,
    started: float,
    total: _Progress,
    pace: Pace,
    progress: Callable[[int], None],
) -> Counter[str] | None:
    """All that a tick writes, counted in ``total``; who is due still, by reason, if that could be counted."""
    database = run.database
    deadline = started + limits.budget.total_seconds()
    # Only what is due by now: steps that this run makes due wait for the next one, so that every run
    # comes to its end, and nobody gets two messages from it.
    due_by = run.began
    try:
        total.failed_reflected, total.failed_left = failed_sends.reflect(database, limits.batch_size)
    except Cancelled as error:
        total.troubles.append(f"failed sends were not shown on their rows: {error.message}")
    try:
        claim_all(database, policy, limits, run.id, due_by, deadline, total, pace, progress)
        if pace.singles:
            raise pace.too_slow()
    except (Cancelled, AllRefused) as error:
        total.error = error
    return _waiting(database, policy, limits, due_by, total, pace)


def _waiting(
    database: Database, policy: Policy, limits: Limits, due_by: datetime, total: _Progress, pace: Pace
) -> Counter[str] | None:
    """Who still waits, by reason, and with what is wrong written on their rows; None: nobody knows."""
    settings = database.settings
    waiting = Counter[str]()
    try:
        decisions = database.retry(lambda tx: decide(tx, settings, policy, due_by), read_only=True)
    except Cancelled as error:
        # All that was to be queued is queued by now: the run is no failure because its account is missing.
        total.troubles.append(f"who still waits was not counted: {error.message}; see seqdev tick --dry-run")
        return None
    for decision in decisions:
        # What could go but did not: out of time or messages, or another tick holds its device.
        waiting["next_tick" if decision.decision == "queue" else decision.decision] += decision.contacts
    if left := min(pace.left.total(), waiting["next_tick"]):
        waiting["refused_by_database"] = left
        waiting["next_tick"] -= left
    if _SET_ASIDE_REASONS & waiting.keys():
        try:
            while (
                database.retry(
                    lambda tx: tx.execute(
                        SET_ASIDE, now=tx.now, active=settings.active_statuses, most=limits.batch_size
                    )
                )
                == limits.batch_size
            ):
                pass
        except (Cancelled, Refused) as error:
            total.troubles.append(f"why contacts wait was not written to last_error: {error.message}")
    return +waiting


def _counts(summary: Summary) -> dict[str, object]:
    return {
        "policy": summary.policy,
        "due": summary.due,
        "queued": summary.queued,
        "moved": summary.moved,
        "waiting": None if summary.waiting is None else dict(summary.waiting),
        "set_aside": summary.set_aside,
        "ended": summary.ended,
        "chained": summary.chained,
        "failed_reflected": summary.failed_reflected,
    }
