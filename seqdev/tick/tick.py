"""The tick: every due contact gets its message, or a reason to wait."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from uuid import UUID

from seqdev import gates, replies
from seqdev.errors import AllRefused, Cancelled, Refused, SeqdevError
from seqdev.journal.runs import Run
from seqdev.output.columns import Seconds
from seqdev.output.words import counted
from seqdev.postgres.engine import Database
from seqdev.postgres.queries import Query
from seqdev.postgres.transaction import Transaction
from seqdev.tick import blocked, failed_sends, replied
from seqdev.tick.backlog import Backlog
from seqdev.tick.decisions import Decision, decide
from seqdev.tick.held import Closed
from seqdev.tick.work import Limits, Work

NOTE_REASONS: Query[None] = Query("tick/note_reasons.sql", type(None))

_NOTED = {"bad_phone", "step_missing", "no_content", "no_lead"}
"""Reasons to wait that somebody has to put right: they are written on the contacts' rows."""


@dataclass(frozen=True)
class Summary:
    """What a run of the tick did, or would do: all of it on a screen, most of it for programs."""

    run_id: UUID | None
    """The run in the journal; null in a dry run."""
    policy: str
    """The device policy that was used; users may have another by a rule of their own."""
    dry_run: bool
    """Whether nothing was written."""
    due: int | None
    """Contacts due when the run began: those queued, already queued, quarantined and waiting. None where the
    run ended early, or the server cancelled the count of who waits."""
    queued: int
    """Messages queued; in a dry run: that would be."""
    moved: int
    """Of those queued: on another device than the preferred one."""
    already_queued: int
    """Contacts whose message existed, and whose row is now completed."""
    waiting: Mapping[str, int] | None
    """Contacts that wait, by reason. None where the run ended early, or the server cancelled the count."""
    quarantined: int
    """Contacts that the database refuses, and that are no longer due."""
    ended: int | None
    """Contacts whose sequence is over; None in a dry run, which looks at devices, not at people."""
    chained: int | None
    """Of those: contacts whose lead got the trigger of another sequence."""
    failed_reflected: int | None
    """Failed sends that now show on the rows of their contacts."""
    replied: int | None
    """Rows of people who have replied, which are stopped; None where no sequence stops on a reply."""
    duration: Seconds
    """Seconds that the run took."""


@dataclass
class Report:
    """A run's summary, and what it could not do: why the database refused what, as counts; and in words."""

    summary: Summary
    quarantined: Mapping[str, int]
    left: Mapping[str, int]
    """Contacts refused, but active still: they could not be quarantined either."""
    holders: Iterable[str]
    """Who holds what contacts wait for."""
    failed_left: Mapping[str, int]
    """Failed sends that could not be shown."""
    troubles: list[str]
    error: SeqdevError | None
    """What ended the run early."""

    @property
    def clean(self) -> bool:
        """Whether nothing was refused and nothing left out."""
        return not (self.quarantined or self.left or self.failed_left or self.troubles or self.error)


@dataclass
class _Shown:
    """Failed sends shown on the rows of their steps, and why the database refused the others."""

    rows: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Planned:
    """What a tick would do: the summary, the decisions by device, and what it could not do, in words."""

    summary: Summary
    decisions: list[Decision]
    trouble: str | None


def plan(database: Database) -> Planned:
    """What a tick would do now, read-only."""
    started = time.monotonic()
    looked = database.retry(replied.look, read_only=True)
    closed = Closed(unread=looked.unread)
    decisions = database.retry(lambda tx: decide(tx, tx.settings, closed=closed), read_only=True)
    waiting = Counter[str]()
    for decision in decisions:
        waiting[decision.decision] += decision.contacts
    queued = waiting.pop("queue", 0)
    summary = Summary(
        run_id=None,
        policy=database.settings.policy.value,
        dry_run=True,
        due=queued + waiting.total(),
        queued=queued,
        moved=sum(decision.moved for decision in decisions),
        already_queued=0,
        waiting=dict(waiting),
        quarantined=0,
        ended=None,
        chained=None,
        failed_reflected=None,
        replied=looked.stopped,
        duration=round(time.monotonic() - started, 3),
    )
    return Planned(summary, decisions, _unread(looked))


def _unread(looked: replied.Replied) -> str | None:
    """Why people wait whose replies nobody can read, in words."""
    if not looked.trouble:
        return None
    return f"contacts wait as replies_unread: {looked.trouble.message}; {looked.trouble.hint}"


def to_be_stopped(database: Database) -> int:
    """Rows of blocked phones that a tick would stop first."""
    return database.retry(lambda tx: blocked.count(tx, tx.settings), read_only=True)


def tick(run: Run, limits: Limits, progress: Callable[[int], None] = lambda _: None) -> Report:
    """Process what is due until nothing is left, the limits are reached, or ``run`` is ended.

    ``progress`` is told the number of contacts claimed so far after each batch. What the database refuses or
    cancels does not end the run, unless there is too much of it: the report says so.
    """
    one = _Tick(run, limits, progress)
    with run.work():
        one.process()
    report = one.report()
    run.counts = _counts(report.summary)
    return report


class _Tick:
    """One run of the tick, in the order in which it happens."""

    def __init__(self, run: Run, limits: Limits, progress: Callable[[int], None]) -> None:
        self._started = time.monotonic()
        self._run = run
        self._database = run.database
        self._limits = limits
        self._work = Work(run.database.settings, run.id, run.began)
        deadline = self._started + limits.budget.total_seconds()
        self._backlog = Backlog(run.database, self._work, limits, deadline, progress)
        self._shown = _Shown()
        self._replied = replied.Replied()
        self._waiting: Counter[str] | None = None
        self._error: SeqdevError | None = None

    def process(self) -> None:
        """All that a tick writes, one after the other."""
        self._show_failed_sends()
        self._stop_people()
        try:
            self._backlog.claim()
        except (Cancelled, AllRefused) as error:
            self._error = error
        self._waiting = self._count_waiting()
        if self._waiting and _NOTED & self._waiting.keys():
            self._note_reasons()

    def report(self) -> Report:
        """What the run did, also where it was ended."""
        totals, backoff, waiting = self._backlog.totals, self._backlog.backoff, self._waiting
        quarantined = backoff.quarantined.total()
        summary = Summary(
            run_id=self._run.id,
            policy=self._database.settings.policy.value,
            dry_run=False,
            due=None if waiting is None else totals.claimed + quarantined + waiting.total(),
            queued=totals.queued,
            moved=totals.moved,
            already_queued=totals.claimed - totals.queued,
            waiting=None if waiting is None else dict(waiting),
            quarantined=quarantined,
            ended=totals.ended,
            chained=totals.chained,
            failed_reflected=self._shown.rows,
            replied=self._replied.stopped,
            duration=round(time.monotonic() - self._started, 3),
        )
        return Report(
            summary=summary,
            quarantined=backoff.quarantined,
            left=backoff.left,
            holders=sorted(self._backlog.passed.holders),
            failed_left=self._shown.refused,
            troubles=totals.troubles,
            error=self._error,
        )

    def _show_failed_sends(self) -> None:
        try:
            self._shown = _Shown(*failed_sends.reflect(self._database, self._limits.batch_size))
            failed_sends.reflect_sent(self._database, self._limits.batch_size)
        except (Cancelled, Refused) as error:
            self._trouble(f"failed sends were not shown on their rows: {error.message}")

    def _stop_people(self) -> None:
        """Nothing is sent to a blocked phone, also where the host has made a row for it. Raises Cancelled.

        Nor to who has replied, where the sequence stops on that.
        """

        def work(transaction: Transaction) -> tuple[Counter[str], replies.StopsOnReply | None]:
            transaction.constraints_immediate()
            refused = blocked.stop(transaction, self._work)
            return refused, replies.stops(transaction)

        refused, stops = self._database.retry(work)
        for reason, number in refused.items():
            self._trouble(f"{counted(number, 'row')} of blocked phones could not be stopped: {reason}")
        if stops:
            self._stop_replied(stops)

    def _stop_replied(self, stops: replies.StopsOnReply) -> None:
        """Who has written back leaves the sequences that stop on a reply.

        Raises Cancelled rather than send to somebody who has replied. Where nobody can read who has, the
        people of these sequences wait.
        """

        def work(transaction: Transaction) -> replied.Replied:
            transaction.constraints_immediate()
            return replied.stop(transaction, stops, self._work.run)

        try:
            self._replied = found = self._database.retry(work)
        except Cancelled as error:
            raise Cancelled(
                f"nothing was sent: who has replied cannot be found: {error.message}",
                "run the command again; an index on the time of what people write makes it quick",
            ) from error
        if trouble := _unread(found):
            self._trouble(trouble)
            self._work = replace(self._work, unread=found.unread)
            self._backlog.leave_out(self._work)
        for reason, number in found.refused.items():
            self._trouble(
                f"{counted(number, 'row')} of people who have replied could not be stopped: {reason}"
            )

    def _count_waiting(self) -> Counter[str] | None:
        """Who still waits, by reason; None: nobody knows."""
        work, passed = self._work, self._backlog.passed
        waiting = Counter[str]()
        try:
            decisions = self._database.retry(
                lambda tx: decide(tx, tx.settings, work.due_by, Closed(passed.parents, work.unread)),
                read_only=True,
            )
        except Cancelled as error:
            # All that was to be queued is queued: the run does not fail because its account is missing.
            self._trouble(f"who still waits was not counted: {error.message}; see seqdev tick --dry-run")
            return None
        for decision in decisions:
            # What could go but did not: out of time or messages, or another tick holds its device.
            waits = "locked_by_other" if decision.device_id in passed.devices else "next_tick"
            waiting[waits if decision.decision == "queue" else decision.decision] += decision.contacts
        for reason, number in (
            ("refused_by_database", self._backlog.backoff.left.total()),
            ("locked_by_other", len(passed.contacts)),
        ):
            number = min(number, waiting["next_tick"])
            waiting[reason] += number
            waiting["next_tick"] -= number
        return +waiting

    def _note_reasons(self) -> None:
        """Write on the rows of those who wait what somebody has to put right."""

        def note(transaction: Transaction) -> int:
            steps = gates.steps(transaction, transaction.settings)
            with transaction.savepoint(passes_by=True):
                return transaction.execute(
                    NOTE_REASONS,
                    now=transaction.now,
                    most=self._limits.batch_size,
                    without_lead=transaction.settings.without_lead,
                    **gates.handed_to(NOTE_REASONS, steps),
                )

        try:
            while self._database.retry(note) == self._limits.batch_size:
                pass
        except (Cancelled, Refused) as error:
            self._trouble(f"why contacts wait was not written to last_error: {error.message}")

    def _trouble(self, words: str) -> None:
        self._backlog.totals.troubles.append(words)


def _counts(summary: Summary) -> dict[str, object]:
    return {
        "policy": summary.policy,
        "due": summary.due,
        "queued": summary.queued,
        "moved": summary.moved,
        "waiting": None if summary.waiting is None else dict(summary.waiting),
        "quarantined": summary.quarantined,
        "ended": summary.ended,
        "chained": summary.chained,
        "failed_reflected": summary.failed_reflected,
        "replied": summary.replied,
    }
