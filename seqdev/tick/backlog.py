"""Batch after batch: a run's own, and while it has a backlog those of its helpers."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from queue import Empty, SimpleQueue
from uuid import UUID

from seqdev import signals
from seqdev.errors import Cancelled, Interrupted, Refused, SeqdevError
from seqdev.postgres.engine import Database
from seqdev.settings import Policy
from seqdev.tick.backoff import Pace
from seqdev.tick.claim import Batch, batch

BACKLOG = 2_000
"""Contacts in a batch from which on helpers are worth their connections."""

PATIENCE = timedelta(seconds=3)
"""How long a tick waits for devices that others hold. A killed tick's locks are gone much sooner."""

_FRUITLESS = 5
"""Batches without a device to lock after which a helper ends: others hold what there is."""

_RETURN = 30.0
"""Seconds that helpers have for their last batches, at least: the run has until its deadline for them."""


@dataclass(frozen=True)
class Limits:
    """What one run may take: contacts a transaction, messages in all (None: no limit), time, connections."""

    batch_size: int = 10_000
    max_messages: int | None = None
    budget: timedelta = timedelta(seconds=50)
    jobs: int = 2


@dataclass
class Total:
    """What all batches have done, and what there is to be said about them."""

    claimed: int = 0
    moved: int = 0
    queued: int = 0
    ended: int = 0
    chained: int = 0
    troubles: list[str] = field(default_factory=list)

    def add(self, did: Batch) -> None:
        """A batch is committed."""
        self.claimed += did.claimed
        self.moved += did.moved
        self.queued += did.queued
        self.ended += did.ended
        self.chained += did.chained


class Helper(threading.Thread):
    """Does batches through a connection of its own, as another tick would, until there are none for it.

    In fair weather only: what is refused, cancelled, paused, interrupted or lost undoes its batch and ends
    it without a word. The run meets the same, and has rules for it. When the process ends so does the helper,
    wherever it is, as a killed tick does.
    """

    def __init__(self, database: Database, claim: Callable[..., Batch], most: int, deadline: float) -> None:
        super().__init__(daemon=True)
        self._database = database.another()
        self._claim = partial(claim, most=most, devices_most=most, enough=_leave, held=set())
        self._deadline = deadline
        self._ending = threading.Event()
        self._batches: SimpleQueue[Batch] = SimpleQueue()
        self.claiming = False
        """Whether it is in a batch, which is to be waited for. What comes before it may take any time."""
        self.error: Exception | None = None
        """What nobody expected to happen to it."""

    def tell(self, total: Total) -> None:
        """Add to ``total`` what it has committed since it was asked last."""
        while True:
            try:
                total.add(self._batches.get_nowait())
            except Empty:
                return

    def let_end(self) -> None:
        """It is to begin no more batches."""
        self._ending.set()

    def wait(self, until: float) -> None:
        """Wait for its current batch to end, though not longer than ``until``."""
        if self.claiming:
            self.join(max(0.0, until - time.monotonic()))

    def run(self) -> None:
        """What the thread does."""
        signals.only_elsewhere()
        try:
            self._work()
        except (SeqdevError, Interrupted):
            pass
        except Exception as error:
            self.error = error
        finally:
            self.claiming = False
            self._database.close()

    def _work(self) -> None:
        done: frozenset[UUID] = frozenset()
        fruitless = 0
        while fruitless < _FRUITLESS:
            with self._database.transaction() as transaction:
                # In this order: who lets it end sees either that it is in a batch, or that it begins none.
                self.claiming = True
                if self._ending.is_set() or time.monotonic() >= self._deadline:
                    return
                did = self._claim(transaction, done=done)
            if not did.waiting:
                return
            if did.devices:
                self._batches.put(did)
                done |= did.exhausted
                fruitless = 0
            else:
                fruitless += 1
            self.claiming = False
            if fruitless:
                self._ending.wait(_apart())


def _leave(*_: object) -> bool:
    raise Refused("what the database refuses is for the run to find")


def _apart() -> float:
    """Seconds between two looks at devices that others hold."""
    return random.uniform(0.05, 0.15)


def claim_all(
    database: Database,
    policy: Policy,
    limits: Limits,
    run: UUID,
    due_by: datetime,
    deadline: float,
    total: Total,
    pace: Pace,
    progress: Callable[[int], None],
) -> None:
    """Claim what was due by ``due_by``, until nothing is left or the limits are reached.

    ``total`` counts it, and ``progress`` is told after each batch how many contacts were claimed so far.
    Raises Cancelled and AllRefused when ``pace`` does.
    """
    claim = partial(batch, settings=database.settings, policy=policy, run=run, due_by=due_by)
    helpers: list[Helper] = []

    def took(did: Batch, most: int) -> None:
        total.add(did)
        pace.add(did)
        # Helpers do not know of max_messages.
        if not helpers and did.others and did.claimed >= BACKLOG and limits.max_messages is None:
            helpers.extend(_started(limits.jobs - 1, database, claim, most, deadline))
        helped()

    def helped() -> bool:
        # Asked before they tell: what they have done by now counts.
        at_work = any(helper.is_alive() for helper in helpers)
        for helper in helpers:
            helper.tell(total)
        progress(total.claimed)
        return at_work

    try:
        _claim_all(database, claim, limits.max_messages, deadline, total, pace, took, helped)
    finally:
        until = max(deadline, time.monotonic() + _RETURN)
        for helper in helpers:
            helper.let_end()
        try:
            for helper in helpers:
                if not signals.time_is_up():
                    helper.wait(until)
        finally:
            helped()
            if any(helper.claiming for helper in helpers):
                total.troubles.append("a helper has not come to its end: what it still queues is not counted")
    for helper in helpers:
        if helper.error:
            raise helper.error


def _started(
    number: int, database: Database, claim: Callable[..., Batch], most: int, deadline: float
) -> Iterator[Helper]:
    """So many helpers at work, or as many as there can be."""
    try:
        for _ in range(number):
            helper = Helper(database, claim, most, deadline)
            helper.start()
            yield helper
    except (SeqdevError, RuntimeError):
        # No password for it, or no more threads: the run can do without.
        return


def _claim_all(
    database: Database,
    claim: Callable[..., Batch],
    max_messages: int | None,
    deadline: float,
    total: Total,
    pace: Pace,
    took: Callable[[Batch, int], None],
    helped: Callable[[], bool],
) -> None:
    """The run's own batches; ``took`` is told each of them, and how many contacts it might have had.

    While helpers are at work, which is what ``helped`` says, it does not lose patience.
    """
    done: frozenset[UUID] = frozenset()
    patience_ends: float | None = None
    cancelled: Cancelled | None = None
    while time.monotonic() < deadline:
        most = pace.size
        if max_messages is not None:
            most = min(most, max_messages - total.claimed)
        if most <= 0:
            return
        held: set[UUID] = set()
        work = partial(
            claim, done=done, most=most, devices_most=pace.size, enough=pace.enough(deadline), held=held
        )
        try:
            did = database.retry(work, patience=timedelta(seconds=max(1.0, deadline - time.monotonic())))
        except Cancelled as error:
            cancelled = error
            done |= pace.cancelled(most, frozenset(held))
            continue
        if not did.waiting:
            return
        if not did.devices:
            # All that is left is held by others, who may finish it, or be killed at it.
            now = time.monotonic()
            if helped():
                patience_ends = None
            else:
                patience_ends = patience_ends or now + PATIENCE.total_seconds()
                if now > patience_ends:
                    return
            time.sleep(_apart())
            continue
        patience_ends = None
        cancelled = None
        done |= did.exhausted
        took(did, most)
        if (did.set_aside or did.left) and pace.full():
            total.troubles.append(
                f"stopped: the database has refused {pace.refused} contacts, and taken {total.claimed}"
            )
            return
    if cancelled and not total.claimed:
        raise cancelled
