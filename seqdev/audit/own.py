"""An operator's own audit: a file with the header of those below ``sql/``, run read-only."""

import keyword
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, make_dataclass
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from seqdev.errors import UsageError
from seqdev.output.text import Phone
from seqdev.postgres.engine import Database
from seqdev.postgres.queries import Query, Statement, StatementError, parse

if TYPE_CHECKING:
    import psycopg

_NAME = "audit run"
"""What the server's log shows in place of a path: a comment, which must not hold just any character."""


@dataclass(frozen=True)
class OwnQuery(Query[SimpleNamespace]):
    """A query whose statement comes from outside ``sql/``, and whose columns are known once it has run."""

    own: Statement

    def make(self, *columns: str) -> Callable[..., SimpleNamespace]:
        """What makes a row: the file says what its columns are called."""
        return lambda *values: SimpleNamespace(**dict(zip(columns, values, strict=True)))

    @property
    def statement(self) -> Statement:
        """The operator's statement."""
        return self.own


@dataclass(frozen=True)
class Found:
    """The rows listed, the dataclass made for them, and the number of rows in all."""

    row: type[Any]
    rows: list[Any]
    total: int


def run(database: Database, file: Path, given: Mapping[str, str], limit: int | None) -> Found:
    """The rows of the statement in ``file``, with the parameters ``given``; at most ``limit`` of them kept.

    Raises UsageError for a file that cannot be read, breaks the rules of the header, or is refused by the
    server.
    """
    import psycopg

    statement = _load(file)
    unknown = given.keys() - statement.parameters.keys()
    if unknown:
        known = ", ".join(statement.parameters) or "none"
        raise UsageError(f"{file} has no parameter {', '.join(sorted(unknown))}", f"it declares: {known}")
    query = OwnQuery(_NAME, SimpleNamespace, statement)
    with database.transaction(read_only=True) as transaction:
        try:
            rows = transaction.stream(query, **given)
            kept = list(islice(rows, limit))
            total = len(kept) + sum(1 for _ in rows)
        except psycopg.Error as error:
            raise _refusal(file, statement, error) or error from error
    row = _row(vars(kept[0])) if kept else make_dataclass("Row", [])
    return Found(row, [row(*vars(one).values()) for one in kept], total)


def _load(file: Path) -> Statement:
    try:
        return parse(file.read_text(encoding="utf-8-sig"), _NAME)
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not UTF-8 text") from error
    except StatementError as error:
        why = error.message.removeprefix(f"sql/{_NAME}: ")
        raise UsageError(
            f"{file}: {why}", "write it like the files of seqdev, such as sql/audit/*.sql"
        ) from error


def _refusal(file: Path, statement: Statement, error: "psycopg.Error") -> UsageError | None:
    """What the server has against the operator's text; None where the text is not to blame."""
    state = error.sqlstate or ""
    if state == "25006" or state == "0A000":
        return UsageError(f"{file} writes", "audit run is read-only: one SELECT a file")
    if state == "42501" or state[:2] not in ("42", "22"):
        return None
    # Class 22 complains of values, and repeats them: they may be phones.
    why = error.diag.message_primary if state.startswith("42") else type(error).__name__
    position = int(error.diag.statement_position or 0)
    lines = statement.text[:position].splitlines()
    place = f", in: {statement.text.splitlines()[len(lines) - 1].strip()}" if lines else ""
    return UsageError(f"{file}: the server refuses it: {why}{place}", "correct it, and try it in psql -f")


def _row(columns: Iterable[str]) -> type[Any]:
    """A dataclass with these columns; ``--mask`` hides those that are called phone."""
    kinds: dict[str, Any] = {}
    for column in columns:
        name = re.sub(r"\W", "_", column) or "column"
        if keyword.iskeyword(name) or name[0].isdecimal() or name in kinds:
            name = f"column_{len(kinds) + 1}_{name}"
        kinds[name] = Phone if "phone" in name.lower() else Any
    return make_dataclass("Row", kinds.items())
