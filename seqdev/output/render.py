"""Rows to stdout in every format: one writer a format, for every command.

Strings from the database are neutralised here and nowhere else. Rich is used on a terminal only:
piped output is plain, untruncated and free of escape codes.
"""

import csv
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, is_dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from math import isfinite
from typing import Any, TextIO, get_type_hints
from uuid import UUID

from seqdev.errors import OutputError, ReaderGoneError
from seqdev.output.text import Phone, escape_json, is_unicode, mask, spreadsheet_cell, visible

_DIGITS = 300
"""Digits of the largest numbers that JSON shows as numbers."""


class Format(StrEnum):
    """Output formats of every command that prints rows."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    TSV = "tsv"
    MARKDOWN = "markdown"


@dataclass(frozen=True)
class Table:
    """Rows of one dataclass under a name. ``single``: exactly one row, an object in JSON."""

    name: str
    row: type[Any]
    rows: Iterable[Any]
    single: bool = False


@dataclass(frozen=True)
class Writer:
    """Writes tables in ``format`` to ``out`` (default stdout); ``masked`` hides phones."""

    format: Format
    masked: bool = False
    out: TextIO | None = None

    def write(self, *tables: Table) -> None:
        """Write ``tables``. JSON makes one document of them: the rows, or an object by table name.

        The formats that hold one kind of row a file (jsonl, csv, tsv) take the first table; the others
        are announced on stderr. Raises OutputError, or ReaderGoneError when the pipe was closed.
        """
        try:
            self._write(tables, self.out or sys.stdout)
        except BrokenPipeError as error:
            raise ReaderGoneError from error
        except OSError as error:
            raise OutputError(
                f"stdout cannot be written: {error.strerror}",
                "the work itself is done; only its report is lost",
            ) from error

    def _write(self, tables: tuple[Table, ...], out: TextIO) -> None:
        if self.format is Format.JSON:
            self._json(tables, out)
        elif self.format in (Format.TABLE, Format.MARKDOWN):
            for table in tables:
                self._pretty(table, len(tables) > 1, out)
        else:
            self._lines(tables[0], out)
            for table in tables[1:]:
                if any(True for _ in table.rows):
                    note(f"{table.name} are not part of {self.format.value}: use --format json or table")
        out.flush()

    def _json(self, tables: tuple[Table, ...], out: TextIO) -> None:
        def encode(table: Table) -> None:
            rows = (self._plain(table, row) for row in table.rows)
            if table.single:
                out.write(_encode(next(rows), out))
                return
            out.write("[")
            for number, row in enumerate(rows):
                out.write((",\n " if number else "\n ") + _encode(row, out))
            out.write("\n]" if table.rows else "]")

        if len(tables) == 1:
            encode(tables[0])
        else:
            for number, table in enumerate(tables):
                out.write(("{" if number == 0 else ",\n") + _encode(table.name, out) + ": ")
                encode(table)
            out.write("}")
        out.write("\n")

    def _lines(self, table: Table, out: TextIO) -> None:
        if self.format is Format.JSONL:
            for row in table.rows:
                out.write(_encode(self._plain(table, row), out) + "\n")
            return
        if self.format is Format.CSV:
            writer = csv.writer(out, lineterminator="\n")
        else:
            writer = csv.writer(out, lineterminator="\n", delimiter="\t")
        writer.writerow([field.name for field in fields(table.row)])
        for row in table.rows:
            plain = self._plain(table, row)
            writer.writerow(
                spreadsheet_cell(_cell(c)) if isinstance(c, str | list | tuple | dict) else _cell(c)
                for c in plain.values()
            )

    def _pretty(self, table: Table, titled: bool, out: TextIO) -> None:
        rows = [[_cell(value) for value in self._plain(table, row).values()] for row in table.rows]
        names = [field.name.replace("_", " ") for field in fields(table.row)]
        if not rows:
            return
        if table.single:
            rows = [[name, value] for name, value in zip(names, rows[0], strict=True)]
            names = []
        right = _numeric_columns(table)
        if self.format is Format.TABLE and out.isatty():
            ids = set() if table.single else _columns_of(table, UUID)
            title = table.name if titled else ""
            _rich(_Grid(title, names, rows, set() if table.single else right, ids), out)
            return
        from tabulate import tabulate

        if self.format is Format.MARKDOWN:
            # Tabulate escapes neither pipes nor newlines; newlines are gone by now.
            rows = [[cell.replace("\\", "\\\\").replace("|", "\\|") for cell in row] for row in rows]
            names = names or ["field", "value"]
        if titled:
            out.write(f"\n{table.name}\n\n" if self.format is Format.TABLE else f"\n**{table.name}**\n\n")
        align = ["left" if table.single or i not in right else "right" for i in range(len(names or [0, 0]))]
        style = "pipe" if self.format is Format.MARKDOWN else "plain" if table.single else "simple"
        out.write(tabulate(rows, names, tablefmt=style, disable_numparse=True, colalign=align))
        out.write("\n")

    def _plain(self, table: Table, row: object) -> dict[str, Any]:
        phones = _phone_columns(table.row) if self.masked else set()
        return {
            field.name: mask(value) if field.name in phones and isinstance(value, str) else value
            for field in fields(table.row)
            for value in (getattr(row, field.name),)
        }


def note(text: str) -> None:
    """A line of narration on stderr."""
    print(f"seqdev: {visible(text)}", file=sys.stderr, flush=True)


def _encode(value: object, out: TextIO) -> str:
    # What ``out`` cannot write, JSON has escapes for.
    ascii_only = not is_unicode(out)
    try:
        text = json.dumps(value, default=_scalar, ensure_ascii=ascii_only, allow_nan=False)
    except ValueError:
        # What is no number to JSON is text, as PostgreSQL has it: NaN, Infinity.
        plain = json.loads(json.dumps(value, default=_scalar), parse_constant=str)
        text = json.dumps(plain, ensure_ascii=ascii_only)
    return escape_json(text)


def _scalar(value: object) -> object:
    """A value JSON does not know: instants ISO 8601, durations in seconds, ids as text."""
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return _number(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, UUID):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"no JSON for {type(value).__name__}")


def _number(value: Decimal) -> object:
    """A number where JSON's readers would get this very number, else text."""
    if value.is_finite() and value.adjusted() < _DIGITS:
        whole = value == value.to_integral_value()
        number: int | float = int(value) if whole else float(value)
        if Decimal(repr(number)) == value:
            return number
    return str(value)


def _cell(value: object) -> str:
    """A value as one line of harmless text for a table or a CSV cell."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and not isfinite(value):
        return json.dumps(value)
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    if isinstance(value, timedelta):
        return f"{value.total_seconds():.1f}s"
    if isinstance(value, list | tuple):
        return ", ".join(map(_cell, value))
    if isinstance(value, dict):
        return visible(", ".join(f"{name} {number}" for name, number in value.items()))
    return visible(str(value))


def _phone_columns(row: type[Any]) -> set[str]:
    return {name for name, kind in get_type_hints(row).items() if kind == Phone or kind == Phone | None}


def _numeric_columns(table: Table) -> set[int]:
    hints = get_type_hints(table.row)
    return {i for i, field in enumerate(fields(table.row)) if hints[field.name] in (int, float, int | None)}


def _columns_of(table: Table, kind: type[Any]) -> set[int]:
    hints = get_type_hints(table.row)
    return {i for i, field in enumerate(fields(table.row)) if hints[field.name] in (kind, kind | None)}


def _short_ids(rows: list[list[str]], ids: set[int]) -> list[list[str]]:
    """``rows`` with the ids cut to what tells them apart, eight characters at least: commands take that."""
    whole = {row[i] for row in rows for i in ids}
    length = next(n for n in range(8, 37) if len({text[:n] for text in whole}) == len(whole))
    return [[cell[:length] if i in ids else cell for i, cell in enumerate(row)] for row in rows]


@dataclass(frozen=True)
class _Grid:
    """A table as text: its title and column names, which may be missing, and cells by row.

    ``right``: the columns that are aligned to the right; ``ids``: those that may be cut short.
    """

    title: str
    names: list[str]
    rows: list[list[str]]
    right: set[int]
    ids: set[int]


def _rich(grid: _Grid, out: TextIO) -> None:
    from rich import box
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    console = Console(file=out, highlight=False)
    names, rows, right = grid.names, grid.rows, grid.right
    widths = [max(map(cell_len, column)) for column in zip(names or ["", ""], *rows, strict=True)]
    if sum(widths) + 3 * len(widths) + 1 > console.width:
        rows = _short_ids(rows, grid.ids)
    table = RichTable(
        title=grid.title or None, title_justify="left", box=box.SIMPLE_HEAD, show_header=bool(names)
    )
    for number, name in enumerate(names or ["", ""]):
        table.add_column(
            Text(name),
            justify="right" if number in right else "left",
            overflow="fold",
            # A short word is never broken for want of room: other columns give way.
            no_wrap=number in right or all(len(row[number]) <= 20 and " " not in row[number] for row in rows),
        )
    for row in rows:
        # Text, not str: rich would swallow what looks like its own markup.
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)
