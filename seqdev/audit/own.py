"""An operator's own audit: a file with the header of those below ``sql/``, run read-only.

A transaction that is read-only keeps tables from being written, and nothing else. So it is run as the audit
role where there is one, and may call no function that is volatile.
"""

import keyword
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, make_dataclass
from decimal import Decimal
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqdev.errors import PermissionRefused, SeqdevError, UnfitSchema, UsageError
from seqdev.files import opened
from seqdev.output.render import note
from seqdev.output.text import Phone
from seqdev.postgres.engine import Database
from seqdev.postgres.queries import Query, Statement, StatementError, parse
from seqdev.postgres.transaction import Transaction

if TYPE_CHECKING:
    import psycopg

_NAME = "audit run"
"""What the server's log shows in place of a path: a comment, which must not hold just any character."""


_NAME_PART = r'(?:"(?:[^"]|"")*"|[^\W\d][\w$]*)'
_TOKEN = re.compile(
    rf"""
      --[^\n]* | /\*.*?\*/ | [eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$
    | (?P<name>{_NAME_PART}(?:\s*\.\s*{_NAME_PART})*)(?P<called>(?:\s|--[^\n]*\n|/\*.*?\*/)*\()?
    """,
    re.VERBOSE | re.DOTALL,
)
"""What may hold a name that is none, and names, and whether a bracket follows them."""


@dataclass(frozen=True)
class Acting:
    """The row of ``audit/own_role.sql``."""

    role: str


@dataclass(frozen=True)
class Volatile:
    """A row of ``audit/own_volatile.sql``."""

    name: str


OWN_ROLE = Query("audit/own_role.sql", Acting)
OWN_VOLATILE = Query("audit/own_volatile.sql", Volatile)


@dataclass(frozen=True)
class OwnQuery(Query[Any]):
    """A query whose statement comes from outside ``sql/``, and whose columns are known once it has run."""

    own: Statement

    def make(self, *columns: str) -> Callable[..., Any]:
        """What makes a row: the file says what its columns are called."""
        return _row(columns)

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
    query = OwnQuery(_NAME, object, statement)
    with database.transaction(read_only=True) as transaction:
        transaction.take_any_value()
        role = next((acting.role for acting in transaction.rows(OWN_ROLE)), None)
        _refuse_volatile(transaction, file, statement)
        try:
            rows = transaction.stream(query, **given)
            kept = list(islice(rows, limit))
            total = len(kept) + sum(1 for _ in rows)
        except (psycopg.Error, UnfitSchema) as error:
            # What Citus does not run is told as its own; here it is the operator's text.
            refused = error if isinstance(error, psycopg.Error) else error.__cause__
            if isinstance(refused, psycopg.Error):
                raise _refusal(file, statement, refused, role) or error from error
            raise
    return Found(_typed(kept) if kept else make_dataclass("Row", []), kept, total)


def _typed(rows: Sequence[Any]) -> type[Any]:
    """The class of ``rows``, once it is known of what their columns are: numbers stand to the right."""
    row = type(rows[0])
    kinds = {}
    for one in fields(row):
        values = [value for value in (getattr(each, one.name) for each in rows) if value is not None]
        numbers = values and all(type(value) in (int, float, Decimal) for value in values)
        kinds[one.name] = float if numbers and one.type is Any else one.type
    return make_dataclass("Row", kinds.items())


def _refuse_volatile(transaction: Transaction, file: Path, statement: Statement) -> None:
    called = set(_called(statement.text))
    given = {"schemas": [schema for schema, _ in called], "names": [name for _, name in called]}
    if found := transaction.rows(OWN_VOLATILE, **given):
        raise UsageError(
            f"{file} may do more than read: {', '.join(one.name for one in found)} is volatile",
            "audit run is read-only: call only functions that are STABLE or IMMUTABLE, such as now()",
        )


def _called(text: str) -> Iterator[tuple[str, str]]:
    """What may be a function in an SQL text: its schema (empty: none is named) and its name."""
    for match in _TOKEN.finditer(text):
        if match["called"]:
            *above, name = (
                part[1:-1].replace('""', '"') if part.startswith('"') else part.lower()
                for part in re.findall(_NAME_PART, match["name"])
            )
            yield above[-1] if above else "", name


def _load(file: Path) -> Statement:
    try:
        with opened(file, note) as source:
            return parse(TextIOWrapper(source, "utf-8-sig").read(), _NAME)
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not UTF-8 text") from error
    except StatementError as error:
        why = error.message.removeprefix(f"sql/{_NAME}: ")
        raise UsageError(
            f"{file}: {why}", "write it like the files of seqdev, such as sql/audit/*.sql"
        ) from error


def _refusal(
    file: Path, statement: Statement, error: "psycopg.Error", role: str | None
) -> SeqdevError | None:
    """What the server has against the operator's text; None where the text is not to blame."""
    state = error.sqlstate or ""
    if state == "25006" or error.diag.source_function == "transformDeclareCursorStmt":
        return UsageError(f"{file} writes", "audit run is read-only: one SELECT a file")
    if state == "42501" and role:
        return PermissionRefused(
            f"{file}: the role {role} may not read what it asks for",
            f"grant it select, or first: seqdev db grants audit --to {role}",
        )
    # XX000: what Citus has no other word for.
    if state == "42501" or state[:2] not in ("0A", "22", "42", "XX"):
        return None
    # Class 22 complains of values, and repeats them: they may be phones.
    why = type(error).__name__ if state.startswith("22") else error.diag.message_primary
    position = int(error.diag.statement_position or 0)
    lines = statement.text[:position].splitlines()
    place = f", in: {statement.text.splitlines()[len(lines) - 1].strip()}" if lines else ""
    return UsageError(f"{file}: the server refuses it: {why}{place}", "correct it, and try it in psql -f")


def _row(columns: Iterable[str]) -> type[Any]:
    """A dataclass with these columns; ``--mask`` hides those that are called phone."""
    kinds: dict[str, Any] = {}
    for column in columns:
        name = re.sub(r"\W", "_", column) or "column"
        while keyword.iskeyword(name) or name[0].isdecimal() or name in kinds:
            name = f"column_{len(kinds) + 1}_{name}"
        kinds[name] = Phone if "phone" in name.lower() else Any
    return make_dataclass("Row", kinds.items())
