"""Workers: further connections of a run that has a backlog, each claiming as another tick would."""

import random
import threading
import time
from queue import Empty, SimpleQueue

from seqdev import signals
from seqdev.errors import Held, Interrupted, SeqdevError
from seqdev.postgres.engine import Database
from seqdev.tick.batch import claim_batch
from seqdev.tick.pace import Pace
from seqdev.tick.work import Aside, Batch, Size, Totals, Work

_FRUITLESS = 5
"""Batches in a row without a device to lock after which a worker ends: others hold what there is."""


class Worker(threading.Thread):
    """Claims batches through a connection of its own, until there are none for it.

    What is refused, cancelled, paused, interrupted or lost undoes its batch and ends it without a word: the
    run itself meets the same, and has rules for it. When the process ends so does the worker, wherever it is,
    as a killed tick does.
    """

    def __init__(self, database: Database, work: Work, largest: int, deadline: float, pace: Pace) -> None:
        super().__init__(daemon=True)
        self._database = database.another()
        self._work = work
        self._largest = largest
        self._deadline = deadline
        self._pace = pace
        self._stopping = threading.Event()
        self._batches: SimpleQueue[Batch] = SimpleQueue()
        self.in_batch = False
        """Whether it is in a batch, which is worth waiting for. What comes before it may take any time."""
        self.error: Exception | None = None
        """What nobody expected to happen to it."""

    def report(self, totals: Totals) -> None:
        """Add to ``totals`` what it has committed since the last report."""
        while True:
            try:
                totals.add(self._batches.get_nowait())
            except Empty:
                return

    def stop(self) -> None:
        """Let it begin no more batches."""
        self._stopping.set()

    def wait(self, until: float) -> None:
        """Wait for its current batch to end, though not longer than ``until``."""
        if self.in_batch:
            self.join(max(0.0, until - time.monotonic()))

    def run(self) -> None:
        """What the thread does."""
        signals.only_elsewhere()
        try:
            self._claim()
        except (SeqdevError, Interrupted):
            pass
        except Exception as error:
            self.error = error
        finally:
            self.in_batch = False

    def _claim(self) -> None:
        aside = Aside()
        fruitless = 0
        while fruitless < _FRUITLESS:
            try:
                with self._database.transaction() as transaction:
                    # In this order: who stops it sees either that it is in a batch, or that it begins none.
                    self.in_batch = True
                    if self._stopping.is_set() or time.monotonic() >= self._deadline:
                        return
                    size = Size(min(self._largest, self._pace.contacts), self._largest)
                    batch = claim_batch(transaction, self._work, size, aside, search=None)
            except Held:
                batch = None
            if batch and not batch.waiting:
                return
            if batch and batch.devices:
                self._batches.put(batch)
                self._pace.add(batch)
                aside = Aside(aside.devices | batch.exhausted, floor=batch.floor)
                fruitless = 0
            else:
                fruitless += 1
            self.in_batch = False
            if fruitless:
                self._stopping.wait(pause())


def pause() -> float:
    """Seconds between two looks at devices that others hold."""
    return random.uniform(0.05, 0.15)
