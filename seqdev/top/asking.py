"""What the live screen asks of the database: from one thread, and so by one connection."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from seqdev.errors import SeqdevError
from seqdev.output.words import Clock
from seqdev.postgres.engine import Database

T = TypeVar("T")


@dataclass(frozen=True)
class Watched:
    """What is shown, and how: ``every`` so often, only what is of ``user``, phones hidden if ``masked``."""

    every: timedelta
    user: str | None
    masked: bool
    clock: Clock


class Asking:
    """The database of a live screen, and what is ``watched`` there."""

    def __init__(self, database: Database, watched: Watched) -> None:
        self.watched = watched
        self._database = database
        self._thread = ThreadPoolExecutor(max_workers=1)

    async def ask(self, question: Callable[[Database], T]) -> T:
        """The database's answer to ``question``, after those that were asked before."""
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, lambda: question(self._database)
        )

    async def tell(self, question: Callable[[Database], T]) -> T | str:
        """As ``ask``; what kept the answer away, as words."""
        try:
            return await self.ask(question)
        except SeqdevError as error:
            return error.message

    def end(self) -> None:
        """Ask nothing more."""
        self._thread.shutdown(cancel_futures=True)
