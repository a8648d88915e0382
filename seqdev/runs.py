"""The journal of runs: who did what, when, and whether it came to its end."""

import json
from collections.abc import Mapping
from datetime import datetime
from uuid import UUID, uuid4

from seqdev import __version__
from seqdev.db import Database, Transaction
from seqdev.sql import Query

START: Query[None] = Query("runs/start.sql", type(None))
FINISH: Query[None] = Query("runs/finish.sql", type(None))


def start(database: Database, command: str) -> tuple[UUID, datetime]:
    """Enter a run of ``command``: its id, and the instant it began. A run without an end was cut off."""
    run = uuid4()

    def work(transaction: Transaction) -> datetime:
        transaction.execute(START, id=run, command=command, version=__version__, now=transaction.now)
        return transaction.now

    return run, database.retry(work)


def finish(database: Database, run: UUID, counts: Mapping[str, object]) -> None:
    """Enter the end of ``run`` and its ``counts``, an object of numbers."""
    database.retry(lambda tx: tx.execute(FINISH, id=run, counts=json.dumps(counts), now=tx.now))
