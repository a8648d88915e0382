"""The backlog of a run: batch after batch, and more connections while it is large."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from uuid import UUID

from seqdev import signals
from seqdev.errors import Cancelled, SeqdevError
from seqdev.output.words import counted
from seqdev.postgres.engine import Database
from seqdev.tick.backoff import Backoff, Search
from seqdev.tick.batch import claim_batch
from seqdev.tick.pace import Pace
from seqdev.tick.work import Aside, Batch, Limits, Passed, Size, Totals, Work
from seqdev.tick.worker import Worker, pause

BACKLOG = 2_000
"""Contacts that a run has taken before workers are worth their connections."""

PATIENCE = timedelta(seconds=3)
"""How long a run waits for devices that others hold. A killed tick's locks are gone much sooner."""

_FRUITLESS = 3
"""Batches that run out of time and claim nobody, because others hold too much, before a run stops."""

_BARREN = 10
"""Batches in a row that claim nobody and find more people held, before their devices are left."""

_LAST_BATCH = 30.0
"""Seconds that workers have for their last batches, at least: the run has until its deadline for them."""


class Backlog:
    """All that was due when the run began, claimed until nothing is left or the limits are reached."""

    def __init__(
        self, database: Database, work: Work, limits: Limits, deadline: float, progress: Callable[[int], None]
    ) -> None:
        self.totals = Totals()
        self.backoff = Backoff(limits.batch_size)
        self._pace = Pace(database.distributed)
        self._database = database
        self._work = work
        self._limits = limits
        self._deadline = deadline
        self._progress = progress
        self._workers: list[Worker] = []
        self._aside = Aside()
        self._too_slow: frozenset[UUID] = frozenset()
        """Devices with a contact that the server cancels."""
        self._patient_until: float | None = None
        """While nothing can be locked: when to stop trying."""
        self._pause = 0.1
        self._held_until: float | None = None
        """Where nothing is left but what other sessions hold: when to stop trying."""

    @property
    def passed(self) -> Passed:
        """What was left because other sessions hold it."""
        return self._aside.passed

    def leave_out(self, work: Work) -> None:
        """From now on ``work`` is to be done: the same, but for people who have to wait."""
        self._work = work

    def claim(self) -> None:
        """Claim it. Raises Cancelled and AllRefused where batches of any size come to nothing."""
        try:
            self._claim_by_policy()
            if self.backoff.singles:
                raise self.backoff.too_slow()
        finally:
            self._dismiss_workers()
        for worker in self._workers:
            if worker.error:
                raise worker.error

    def _claim_by_policy(self) -> None:
        """One policy after the other, where users have different ones: a batch has one."""
        policies = self._work.settings.policies_in_use
        for policy in policies if len(policies) > 1 else (None,):
            self._work = replace(self._work, group=policy)
            self._held_until = self._patient_until = None
            before = self._aside
            self._aside = Aside(before.devices)
            goes_on = self._claim_batches()
            # What was met for the others is still held.
            self._leave(before.devices, before.passed)
            if not goes_on:
                return

    def _claim_batches(self) -> bool:
        """All that can be claimed; whether there may be more for the users of another policy."""
        cancelled: Cancelled | None = None
        fruitless = barren = 0
        while time.monotonic() < self._deadline and (size := self._size()).contacts > 0:
            try:
                batch = self._claim_batch(size)
            except Cancelled as error:
                cancelled = error
                self._give_way(error, size)
                continue
            if not batch.waiting:
                if self._comes_back():
                    continue
                return True
            if not batch.devices:
                if self._is_patient():
                    time.sleep(pause())
                    continue
                return True
            cancelled = None
            self._add(batch, size)
            fruitless = fruitless + 1 if batch.passed and not (batch.complete or batch.claimed) else 0
            if fruitless == _FRUITLESS:
                self.totals.troubles.append("stopped: other sessions hold what too many contacts need")
                return False
            barren = barren + 1 if batch.passed.contacts and not batch.claimed else 0
            if barren >= _BARREN:
                self._leave(batch.devices, Passed())
            if (batch.quarantined or batch.left) and self.backoff.is_full():
                self.totals.troubles.append(
                    f"stopped: the database has refused {counted(self.backoff.refused, 'contact')}, "
                    f"and taken {self.totals.claimed}"
                )
                return False
            if self._wants_workers(batch):
                self._start_workers()
        if cancelled and not self.totals.claimed:
            raise cancelled
        return False

    def _size(self) -> Size:
        contacts = min(self.backoff.size, self._pace.contacts)
        if self._limits.max_messages is not None:
            contacts = min(contacts, self._limits.max_messages - self.totals.claimed)
        return Size(contacts, self.backoff.size)

    def _claim_batch(self, size: Size) -> Batch:
        search = Search(self.backoff, self._deadline)
        return self._database.retry(
            partial(claim_batch, work=self._work, size=size, aside=self._aside, search=search),
            patience=timedelta(seconds=max(1.0, self._deadline - time.monotonic())),
        )

    def _give_way(self, error: Cancelled, size: Size) -> None:
        """After a cancelled batch: take less; leave the devices of a single contact that is too slow."""
        self.backoff.cancelled(size.contacts, error)
        if size.contacts == 1:
            if not error.devices or self.backoff.is_hopeless:
                raise self.backoff.too_slow()
            self._too_slow |= error.devices
            self._leave(error.devices, Passed())

    def _leave(self, devices: frozenset[UUID], passed: Passed) -> None:
        aside = self._aside
        self._aside = replace(aside, devices=aside.devices | devices, passed=aside.passed | passed)

    def _comes_back(self) -> bool:
        """Whether to try again what other sessions hold: as long as the settings say to wait for a lock."""
        if not self.passed:
            return False
        now = time.monotonic()
        wait = self._work.settings.lock_timeout.total_seconds()
        # Zero stands for no limit.
        self._held_until = self._held_until or (min(now + wait, self._deadline) if wait else self._deadline)
        if now + self._pause > self._held_until:
            return False
        signals.sleep(self._pause)
        self._pause *= 2
        self._aside = Aside(self._too_slow)
        return True

    def _is_patient(self) -> bool:
        """Whether to try again what others hold, who may finish it, or be killed at it."""
        now = time.monotonic()
        if any(worker.is_alive() for worker in self._workers):
            self._patient_until = None
            return True
        self._patient_until = self._patient_until or now + PATIENCE.total_seconds()
        return now <= self._patient_until

    def _add(self, batch: Batch, size: Size) -> None:
        self._patient_until = None
        self._leave(batch.exhausted, batch.passed)
        self._aside = replace(self._aside, floor=batch.floor)
        self.totals.add(batch)
        self._pace.add(batch)
        self.backoff.succeeded(batch, size.contacts)
        self._report()

    def _report(self) -> None:
        for worker in self._workers:
            worker.report(self.totals)
        self._progress(self.totals.claimed)

    def _wants_workers(self, batch: Batch) -> bool:
        # Workers do not know of max_messages.
        return (
            not self._workers
            and batch.others
            and self.totals.claimed >= BACKLOG
            and self._limits.max_messages is None
        )

    def _start_workers(self) -> None:
        """As many as the limits allow, or as there can be."""
        try:
            for _ in range(self._limits.jobs - 1):
                worker = Worker(self._database, self._work, self.backoff.size, self._deadline, self._pace)
                worker.start()
                self._workers.append(worker)
        except (SeqdevError, RuntimeError):
            # No password for it, or no more threads: the run can do without.
            return

    def _dismiss_workers(self) -> None:
        until = max(self._deadline, time.monotonic() + _LAST_BATCH)
        for worker in self._workers:
            worker.stop()
        try:
            for worker in self._workers:
                if not signals.time_is_up():
                    worker.wait(until)
        finally:
            self._report()
            if any(worker.in_batch for worker in self._workers):
                self.totals.troubles.append(
                    "another connection has not finished its batch: what it still queues is not counted"
                )
