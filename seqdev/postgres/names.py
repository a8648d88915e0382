"""Names of the database to choose from while a command line is typed: quickly, or not at all.

A process of its own asks the database. It can be killed when time is up, whatever it waits for; and it
imports the driver while the command line is still being understood.
"""

import json
import os
import select
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from time import monotonic
from typing import Any

from seqdev.postgres.queries import Query

_LIMIT = "200ms"
"""What a statement may take, and wait for a lock."""
_PART = 65_536


@dataclass(frozen=True)
class Name:
    """A row of the files in ``postgres/names``: what can be typed, and what it means."""

    value: str
    meaning: str


QUERIES = (
    Query("postgres/names/devices.sql", Name),
    Query("postgres/names/sequences.sql", Name),
    Query("postgres/names/users.sql", Name),
    Query("postgres/names/runs.sql", Name),
)


@dataclass(frozen=True)
class Question:
    """Names of one ``kind``: devices, sequences, users, runs. ``given``: the parameters of its statement."""

    kind: str
    given: Mapping[str, str]
    database_url: str
    schema: str


class Asking:
    """The process that asks. It begins with this object, and ends with ``names`` or ``end``."""

    def __init__(self) -> None:
        asked, self._ask = os.pipe()
        self._answer, answered = os.pipe()
        self._child = os.fork()
        if self._child:
            os.close(asked)
            os.close(answered)
            return
        try:
            os.close(self._ask)
            for stream in (sys.stdin, sys.stdout, sys.stderr):
                os.dup2(os.open(os.devnull, os.O_RDWR), stream.fileno())
            with suppress(Exception):
                _serve(asked, answered)
        finally:
            os._exit(0)

    def names(self, question: Question, patience: float) -> list[Name]:
        """The answer; none after ``patience`` seconds, or where anything else keeps it from being known."""
        os.write(self._ask, json.dumps(asdict(question)).encode())
        os.close(self._ask)
        answer = self._read(monotonic() + patience)
        self.end()
        try:
            return [Name(*row) for row in json.loads(answer)]
        except ValueError:
            return []

    def end(self) -> None:
        """End the process, whatever it is at."""
        with suppress(ProcessLookupError):
            os.kill(self._child, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(self._child, 0)

    def _read(self, deadline: float) -> bytes:
        """What the process answers; nothing where that does not end before the deadline."""
        parts: list[bytes] = []
        while select.select([self._answer], [], [], max(0.0, deadline - monotonic()))[0]:
            part = os.read(self._answer, _PART)
            if not part:
                return b"".join(parts)
            parts.append(part)
        return b""


@cache
def asking() -> Asking:
    """The process that asks, begun by whoever wants it first."""
    return Asking()


def _serve(asked: int, answered: int) -> None:
    """Wait for the question, and answer it."""
    # All that an answer takes, before there is a question: the command line is still being understood.
    import psycopg  # noqa: F401

    from seqdev.postgres import conninfo, embedded, lookup, schema, zone  # noqa: F401

    with os.fdopen(asked) as questions, os.fdopen(answered, "w") as answer:
        json.dump(_ask(Question(**json.load(questions))), answer)


def _ask(question: Question) -> list[tuple[str, str]]:
    """The rows, through the driver alone: SQLAlchemy takes longer to import than anybody waits for a word."""
    import psycopg

    from seqdev.postgres import conninfo, embedded, lookup, zone
    from seqdev.postgres.engine import BEGIN
    from seqdev.postgres.schema import OWNERS

    # Nobody has asked for a server to be started.
    if not (conninfo.is_named(question.database_url) or embedded.answers()):
        return []
    (query,) = (one for one in QUERIES if one.path == f"postgres/names/{question.kind}.sql")
    target = conninfo.find(question.database_url, lambda _: None)
    limits = dict.fromkeys(("lock_timeout", "statement_timeout", "idle_timeout"), _LIMIT)
    begin = {"schema": question.schema, "timezone": zone.DEFAULT, **limits}
    with psycopg.connect(target, prepare_threshold=None, application_name="seqdev completion") as connection:
        connection.read_only = True
        connection.execute(BEGIN.statement.text.encode(), BEGIN.statement.bind(begin))
        # A view in there would run its code with the reader's rights.
        owners = OWNERS.statement
        if connection.execute(owners.text.encode(), owners.bind({"schema": question.schema})).fetchall():
            return []

        def rows(one: Query[Any], given: Mapping[str, object]) -> list[Any]:
            return connection.execute(one.statement.text.encode(), one.statement.bind(given)).fetchall()

        given: dict[str, object] = dict(question.given)
        user = question.given.get("user")
        if user or question.kind == "users":
            ((statement, _),) = rows(lookup.USER_NAMES, {})
            known = connection.execute(statement.encode()).fetchall() if statement else []
            users = lookup.named([lookup.UserName(*one) for one in known])
            if question.kind == "users":
                given |= users
            else:
                found = rows(lookup.Kind.USER.value, {"text": user, "beginning": True, **users})
                given["user"] = str(found[0][0]) if len(found) == 1 else user
        return rows(query, given)
