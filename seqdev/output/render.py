"""Rows to stdout in every format: one writer a format, for every command.

Strings from the database are neutralised here and nowhere else. Rich is used on a terminal only:
piped output is plain, untruncated and free of escape codes.
"""

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from math import isfinite
from textwrap import fill
from typing import Any, TextIO
from uuid import UUID

from seqdev.errors import OutputError, ReaderGoneError
from seqdev.output.columns import columns, forms, phone_columns, titles
from seqdev.output.screen import Said, Screen, width_of
from seqdev.output.text import escape_json, is_unicode, mask, spreadsheet_cell, visible
from seqdev.output.tones import coloured
from seqdev.output.typed import held, let_go
from seqdev.output.words import Clock

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

    @property
    def title(self) -> str:
        """The name as people read it."""
        return self.name.replace("_", " ")


@dataclass(frozen=True)
class Writer:
    """Writes tables in ``format`` to ``out`` (default stdout); ``masked`` hides phones.

    ``clock`` says in which zone people see instants, and what is now. ``pages``: what is longer than the
    terminal goes through the person's pager.
    """

    format: Format
    masked: bool = False
    out: TextIO | None = None
    clock: Clock = field(default_factory=Clock)
    pages: bool = False

    def write(self, *parts: "Table | Said") -> None:
        """Write ``parts``. JSON makes one document of the tables: the rows, or an object by table name.

        What is said between tables is for people: the formats for programs leave it out. Those that hold one
        kind of row a file (jsonl, csv, tsv) take the first table; the others are announced on stderr.
        Raises OutputError, or ReaderGoneError when the pipe was closed.
        """
        try:
            out = self.out or sys.stdout
            with _place(out) if self.pages else nullcontext(out) as place:
                lost = self._write(parts, place)
            out.flush()
        except BrokenPipeError as error:
            raise ReaderGoneError from error
        except OSError as error:
            raise OutputError(
                f"stdout cannot be written: {error.strerror}",
                "the work itself is done; only its report is lost",
            ) from error
        if lost:
            note(f"{lost}: widen the terminal, or --format json")

    def _write(self, parts: "Sequence[Table | Said]", out: TextIO) -> str:
        """Write ``parts``; what there was no room for, in words."""
        tables = tuple(part for part in parts if isinstance(part, Table))
        if self.format in (Format.TABLE, Format.MARKDOWN):
            return self._for_people(parts, len(tables) > 1, out)
        if self.format is Format.JSON:
            self._json(tables, out)
        else:
            self._lines(tables[0], out)
            for table in tables[1:]:
                if any(True for _ in table.rows):
                    note(f"{table.name} are not part of {self.format.value}: use --format json or table")
        return ""

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
        writer.writerow([one.name for one in fields(table.row)])
        for row in table.rows:
            plain = self._plain(table, row)
            writer.writerow(
                spreadsheet_cell(_cell(c)) if isinstance(c, str | list | tuple | dict) else _cell(c)
                for c in plain.values()
            )

    def _for_people(self, parts: "Sequence[Table | Said]", titled: bool, out: TextIO) -> str:
        on_screen = self.format is Format.TABLE and (out.isatty() or coloured(out))
        screen = Screen(out, self.clock) if on_screen else None
        for part in parts:
            if screen is None:
                if isinstance(part, Said):
                    out.write(part.plain(self.format is Format.MARKDOWN))
                else:
                    self._plain_table(part, titled, out)
            elif isinstance(part, Said):
                screen.say(part)
            elif rows := list(self.values(part)):
                if titled:
                    screen.title(part.title)
                (screen.record if part.single else screen.grid)(part.row, rows)
        return screen.lost() if screen else ""

    def _plain_table(self, table: Table, titled: bool, out: TextIO) -> None:
        from tabulate import tabulate

        found = columns(table.row)
        if not (rows := list(self.values(table))):
            return
        cells = [
            forms(one, values, self.clock)[0]
            for one, values in zip(found, zip(*rows, strict=True), strict=True)
        ]
        names = titles(found, rows, self.clock)
        align = ["right" if one.is_number else "left" for one in found]
        lines = list(zip(*cells, strict=True))
        if table.single:
            lines, names, align = list(zip(names, *lines, strict=True)), [], ["left", "left"]
        if self.format is Format.MARKDOWN:
            # Tabulate escapes neither pipes nor newlines; newlines are gone by now.
            lines = [tuple(cell.replace("\\", "\\\\").replace("|", "\\|") for cell in line) for line in lines]
            names = names or ["field", "value"]
        if titled:
            out.write(f"\n{table.title}\n\n" if self.format is Format.TABLE else f"\n**{table.title}**\n\n")
        style = "pipe" if self.format is Format.MARKDOWN else "plain" if table.single else "simple"
        out.write(tabulate(lines, names, tablefmt=style, disable_numparse=True, colalign=align))
        out.write("\n")

    def values(self, table: Table) -> Iterator[list[Any]]:
        """The values of each row, phones hidden where they are to be."""
        for row in table.rows:
            yield list(self._plain(table, row).values())

    def _plain(self, table: Table, row: object) -> dict[str, Any]:
        phones = phone_columns(table.row) if self.masked else ()
        return {
            one.name: mask(value) if one.name in phones and isinstance(value, str) else value
            for one in fields(table.row)
            for value in (getattr(row, one.name),)
        }


def _place(out: TextIO) -> AbstractContextManager[TextIO]:
    # Most commands have no use for it, and need not wait for it.
    from seqdev.output.pager import paged

    return paged(out)


def note(text: str) -> None:
    """A line of narration on stderr; on a terminal as many as it takes, broken between words.

    Not within a command: half of one that is copied would be run without its --dry-run.
    """
    line = f"seqdev: {visible(text)}"
    if sys.stderr.isatty():
        # A command never ends in the middle: the terminal goes on with it, and it is copied as it is.
        line = held(line, len(line))
        line = let_go(
            fill(
                line,
                width_of(sys.stderr),
                subsequent_indent="  ",
                break_long_words=False,
                break_on_hyphens=False,
            )
        )
    print(line, file=sys.stderr, flush=True)


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
    """A value as one line of harmless text for a CSV cell."""
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
