"""The tick: every due contact gets its message, or a reason to wait."""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from seqdev.claims import Decision, Policy, batch, decide
from seqdev.db import Database, Transaction
from seqdev.runs import Run
from seqdev.sql import Query

PATIENCE = timedelta(seconds=3)
"""How long a tick waits for devices that others hold. A killed tick's locks are gone much sooner."""


REFLECT_FAILED: Query[None] = Query("tick/reflect_failed.sql", type(None))
SET_ASIDE: Query[None] = Query("tick/set_aside.sql", type(None))

_SET_ASIDE_REASONS = {"bad_phone", "step_missing", "no_content"}


@dataclass(frozen=True)
class Limits:
    """What one run may take: contacts a transaction, messages in all (None: no limit), time."""

    batch_size: int = 10_000
    max_messages: int | None = None
    budget: timedelta = timedelta(seconds=50)


@dataclass(frozen=True)
class Summary:
    """What a run did. ``due`` is ``queued`` plus ``already_queued`` plus all that wait, by reason.

    None, and nothing waits: it was ended before it could tell.
    """

    run_id: UUID | None
    policy: str
    dry_run: bool
    due: int | None
    queued: int
    moved: int
    """Of those queued: on another device than the preferred one."""
    already_queued: int
    waiting: Mapping[str, int]
    ended: int | None
    """Contacts whose sequence is over; None in a dry run, which looks at devices, not at people."""
    chained: int | None
    failed_reflected: int | None
    duration: float
    """Seconds."""


@dataclass
class _Progress:
    claimed: int = 0
    moved: int = 0
    queued: int = 0
    ended: int = 0
    chained: int = 0
    failed_reflected: int = 0


@dataclass(frozen=True)
class Comparison:
    """What one policy would do with one preferred or sending device's contacts."""

    policy: str
    device_id: UUID | None
    device_name: str | None
    queued: int
    moved: int
    waiting: Mapping[str, int]


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
        ended=None,
        chained=None,
        failed_reflected=None,
        duration=round(time.monotonic() - started, 3),
    )
    return summary, decisions


def compare(database: Database) -> list[Comparison]:
    """What each policy would do now, by device, read-only and over the same instant."""

    def work(transaction: Transaction) -> list[Comparison]:
        return [
            row
            for policy in Policy
            for row in _compared(policy, decide(transaction, database.settings, policy))
        ]

    return database.retry(work, read_only=True)


def _compared(policy: Policy, decisions: Iterable[Decision]) -> Iterator[Comparison]:
    by_device: dict[UUID | None, list[Decision]] = {}
    for decision in decisions:
        by_device.setdefault(decision.device_id, []).append(decision)
    for device, made in sorted(
        by_device.items(), key=lambda item: (item[1][0].device_name or "", str(item[0]))
    ):
        yield Comparison(
            policy.value,
            device,
            made[0].device_name,
            sum(decision.contacts for decision in made if decision.decision == "queue"),
            sum(decision.moved for decision in made),
            {decision.decision: decision.contacts for decision in made if decision.decision != "queue"},
        )


def tick(
    run: Run, policy: Policy, limits: Limits, progress: Callable[[int], None] = lambda _: None
) -> Summary:
    """Process what is due until nothing is left, the limits are reached, or ``run`` is ended.

    ``progress`` is told the number of contacts claimed so far after each batch.
    """
    started = time.monotonic()
    total = _Progress()
    waiting: Counter[str] | None = None
    with run.work():
        waiting = _process(run, policy, limits, started, total, progress)
    summary = Summary(
        run_id=run.id,
        policy=policy.value,
        dry_run=False,
        due=None if waiting is None else total.claimed + waiting.total(),
        queued=total.queued,
        moved=total.moved,
        already_queued=total.claimed - total.queued,
        waiting=dict(waiting or {}),
        ended=total.ended,
        chained=total.chained,
        failed_reflected=total.failed_reflected,
        duration=round(time.monotonic() - started, 3),
    )
    run.counts = _counts(summary)
    return summary


def _process(
    run: Run,
    policy: Policy,
    limits: Limits,
    started: float,
    total: _Progress,
    progress: Callable[[int], None],
) -> Counter[str]:
    """All that a tick writes, counted in ``total``; who is due still, by reason."""
    database = run.database
    deadline = started + limits.budget.total_seconds()
    settings = database.settings
    # Only what is due by now: steps that this run makes due wait for the next one, so that every run
    # comes to its end, and nobody gets two messages from it.
    due_by = run.began
    while reflected := database.retry(
        lambda tx: tx.execute(
            REFLECT_FAILED, now=tx.now, within=settings.failed_within, most=limits.batch_size
        )
    ):
        total.failed_reflected += reflected
        if reflected < limits.batch_size:
            break
    _claim_all(database, policy, limits, run.id, due_by, deadline, total, progress)
    decisions = database.retry(lambda tx: decide(tx, settings, policy, due_by), read_only=True)
    waiting = Counter[str]()
    for decision in decisions:
        # What could go but did not: out of time or messages, or another tick holds its device.
        waiting["next_tick" if decision.decision == "queue" else decision.decision] += decision.contacts
    if _SET_ASIDE_REASONS & waiting.keys():
        while (
            database.retry(
                lambda tx: tx.execute(
                    SET_ASIDE, now=tx.now, active=settings.active_statuses, most=limits.batch_size
                )
            )
            == limits.batch_size
        ):
            pass
    return waiting


def _claim_all(
    database: Database,
    policy: Policy,
    limits: Limits,
    run: UUID,
    due_by: datetime,
    deadline: float,
    total: _Progress,
    progress: Callable[[int], None],
) -> None:
    done: frozenset[UUID] = frozenset()
    patience_ends: float | None = None
    while time.monotonic() < deadline:
        most = limits.batch_size
        if limits.max_messages is not None:
            most = min(most, limits.max_messages - total.claimed)
        if most <= 0:
            return
        work = partial(
            batch,
            settings=database.settings,
            policy=policy,
            run=run,
            due_by=due_by,
            done=done,
            most=most,
        )
        did = database.retry(work, patience=timedelta(seconds=max(1.0, deadline - time.monotonic())))
        if not did.waiting:
            return
        if not did.devices:
            # All that is left is held by others, who may finish it, or be killed at it.
            now = time.monotonic()
            patience_ends = patience_ends or now + PATIENCE.total_seconds()
            if now > patience_ends:
                return
            time.sleep(random.uniform(0.05, 0.15))
            continue
        patience_ends = None
        done |= did.exhausted
        total.claimed += did.claimed
        total.moved += did.moved
        total.queued += did.queued
        total.ended += did.ended
        total.chained += did.chained
        progress(total.claimed)


def _counts(summary: Summary) -> dict[str, object]:
    return {
        "policy": summary.policy,
        "due": summary.due,
        "queued": summary.queued,
        "moved": summary.moved,
        "waiting": dict(summary.waiting),
        "ended": summary.ended,
        "chained": summary.chained,
        "failed_reflected": summary.failed_reflected,
    }
