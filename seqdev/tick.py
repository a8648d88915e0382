"""The tick: every due contact gets its message, or a reason to wait."""

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from uuid import UUID

from seqdev import runs
from seqdev.config import Settings
from seqdev.db import Database, Transaction
from seqdev.sql import Query

DEVICES_A_BATCH = 100
"""Devices locked by one transaction. A server's lock table holds 6,400 entries by default."""

PATIENCE = timedelta(seconds=3)
"""How long a tick waits for devices that others hold. A killed tick's locks are gone much sooner."""


class Policy(StrEnum):
    """What becomes of a contact whose preferred device is not available."""

    QUEUE = "queue"
    STRICT = "strict"


@dataclass(frozen=True)
class LockedDevice:
    """A row of ``tick/lock_devices.sql``."""

    device_id: UUID | None
    waiting: int
    locked_at: datetime


@dataclass(frozen=True)
class Claim:
    """A row of ``tick/claim.sql``: what was claimed for one device."""

    device_id: UUID
    claimed: int
    queued: int
    ended: int
    chained: int


@dataclass(frozen=True)
class Decision:
    """A row of ``tick/plan.sql``: due contacts of one device, and what becomes of them."""

    device_id: UUID | None
    device_name: str | None
    decision: str
    contacts: int


LOCK_DEVICES = Query("tick/lock_devices.sql", LockedDevice)
CLAIM = Query("tick/claim.sql", Claim)
PLAN = Query("tick/plan.sql", Decision)
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
    """What a run did. ``due`` is ``queued`` plus ``already_queued`` plus all that wait, by reason."""

    run_id: UUID | None
    policy: str
    dry_run: bool
    due: int
    queued: int
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
    queued: int = 0
    ended: int = 0
    chained: int = 0
    failed_reflected: int = 0


def plan(database: Database, policy: Policy) -> tuple[Summary, list[Decision]]:
    """What a tick would do now, read-only: the summary, and the decisions by device."""
    started = time.monotonic()
    decisions = database.retry(lambda tx: _decide(tx, database.settings, policy), read_only=True)
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
        already_queued=0,
        waiting=dict(waiting),
        ended=None,
        chained=None,
        failed_reflected=None,
        duration=round(time.monotonic() - started, 3),
    )
    return summary, decisions


def tick(
    database: Database, policy: Policy, limits: Limits, progress: Callable[[int], None] = lambda _: None
) -> Summary:
    """Process what is due until nothing is left, or the limits are reached.

    ``progress`` is told the number of contacts claimed so far after each batch.
    """
    started = time.monotonic()
    deadline = started + limits.budget.total_seconds()
    settings = database.settings
    # Only what is due by now: steps that this run makes due wait for the next one, so that every run
    # comes to its end, and nobody gets two messages from it.
    run, due_by = runs.start(database, "tick")
    total = _Progress()
    while reflected := database.retry(
        lambda tx: tx.execute(
            REFLECT_FAILED, now=tx.now, within=settings.failed_within, most=limits.batch_size
        )
    ):
        total.failed_reflected += reflected
        if reflected < limits.batch_size:
            break
    _claim_all(database, policy, limits, due_by, deadline, total, progress)
    decisions = database.retry(lambda tx: _decide(tx, settings, policy, due_by), read_only=True)
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
    summary = Summary(
        run_id=run,
        policy=policy.value,
        dry_run=False,
        due=total.claimed + waiting.total(),
        queued=total.queued,
        already_queued=total.claimed - total.queued,
        waiting=dict(waiting),
        ended=total.ended,
        chained=total.chained,
        failed_reflected=total.failed_reflected,
        duration=round(time.monotonic() - started, 3),
    )
    runs.finish(database, run, _counts(summary))
    return summary


def _claim_all(
    database: Database,
    policy: Policy,
    limits: Limits,
    due_by: datetime,
    deadline: float,
    total: _Progress,
    progress: Callable[[int], None],
) -> None:
    done: set[UUID] = set()
    patience_ends: float | None = None
    while time.monotonic() < deadline:
        most = limits.batch_size
        if limits.max_messages is not None:
            most = min(most, limits.max_messages - total.claimed)
        if most <= 0:
            return
        waiting, claims = database.retry(
            partial(
                _batch,
                settings=database.settings,
                policy=policy,
                due_by=due_by,
                done=frozenset(done),
                most=most,
            ),
            patience=timedelta(seconds=max(1.0, deadline - time.monotonic())),
        )
        if not waiting:
            return
        claimed = sum(claim.claimed for claim in claims)
        if not claims:
            # All that is left is held by others, who may finish it, or be killed at it.
            now = time.monotonic()
            patience_ends = patience_ends or now + PATIENCE.total_seconds()
            if now > patience_ends:
                return
            time.sleep(random.uniform(0.05, 0.15))
            continue
        patience_ends = None
        take = _take(most, len(claims))
        if claimed < most:
            done |= {claim.device_id for claim in claims if claim.claimed < take}
        total.claimed += claimed
        total.queued += sum(claim.queued for claim in claims)
        total.ended += sum(claim.ended for claim in claims)
        total.chained += sum(claim.chained for claim in claims)
        progress(total.claimed)


def _batch(
    transaction: Transaction,
    settings: Settings,
    policy: Policy,
    due_by: datetime,
    done: frozenset[UUID],
    most: int,
) -> tuple[int, list[Claim]]:
    """One transaction's work: the number of devices that had something due, and what was claimed."""
    locked = transaction.rows(
        LOCK_DEVICES,
        due_by=due_by,
        policy=policy.value,
        active=settings.active_statuses,
        online=settings.online_statuses,
        claimed=settings.claim_timeout,
        done=done,
        most=DEVICES_A_BATCH,
    )
    devices = [row.device_id for row in locked if row.device_id]
    if not devices:
        return locked[0].waiting, []
    claims = transaction.rows(
        CLAIM,
        # Later than anything the holder before has written, or its messages would not count as in flight.
        now=max(row.locked_at for row in locked),
        due_by=due_by,
        policy=policy.value,
        devices=devices,
        take=_take(most, len(devices)),
        most=most,
        active=settings.active_statuses,
        claimed=settings.claim_timeout,
        **_capacity(settings),
    )
    return locked[0].waiting, claims


def _take(most: int, devices: int) -> int:
    """The share of one device in a batch of ``most`` contacts."""
    return -(-most // devices)


def _decide(
    transaction: Transaction, settings: Settings, policy: Policy, due_by: datetime | None = None
) -> list[Decision]:
    return transaction.rows(
        PLAN,
        now=transaction.now,
        due_by=due_by or transaction.now,
        policy=policy.value,
        active=settings.active_statuses,
        online=settings.online_statuses,
        claimed=settings.claim_timeout,
        **_capacity(settings),
    )


def _capacity(settings: Settings) -> dict[str, object]:
    return {
        "max_in_flight": settings.max_in_flight,
        "max_per_hour": settings.max_per_hour,
        "max_per_day": settings.max_per_day,
    }


def _counts(summary: Summary) -> dict[str, object]:
    return {
        "policy": summary.policy,
        "due": summary.due,
        "queued": summary.queued,
        "waiting": dict(summary.waiting),
        "ended": summary.ended,
        "chained": summary.chained,
        "failed_reflected": summary.failed_reflected,
    }
