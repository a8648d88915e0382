"""Files of leads as people have them: found headers, any of the usual delimiters, phones in any spelling."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TextIO

from seqdev.errors import UsageError
from seqdev.leads.headers import BAD_TEXT, Columns
from seqdev.leads.phone import phone_reader
from seqdev.output.text import restored

LONGEST = 1 << 20
"""Characters a record may have; what is longer is no file of leads, or has a quote that is not closed."""

_DELIMITERS = ",;\t"
_SEPARATOR = re.compile(r'"?sep=([^"\r\n])"?\s*', re.IGNORECASE)
"""The line with which Excel is told the delimiter."""
_OWN = re.compile(r'"?line"?([,;\t])"?reason"?(?:\1|\s*\Z)')
"""How a file of rejected lines begins."""
_GROWTH = 8
"""A record of that file is longer than it was, at most by this factor: a character became an escape."""
_LONGEST_CELL = 1 << 17


@dataclass(frozen=True)
class Line:
    """One record: where it begins, what it says, or the reason why it cannot be taken."""

    line: int
    cells: list[str]
    phone: str | None = None
    name: str | None = None
    niche: str | None = None
    trigger: str | None = None
    device: str | None = None
    reason: str | None = None


class LeadFile:
    """The records of ``file``, one at a time: iterate once.

    ``region`` (such as ``MY``) is where phones without a country code are. Raises UsageError, also while
    it is iterated, for what makes the file as a whole unreadable. No phone is ever part of the error.
    """

    def __init__(self, file: TextIO, region: str | None) -> None:
        self._digits = phone_reader(region)
        self._lines = _Lines(file)
        head, self._skipped, delimiter = _head(self._lines)
        self._own = _OWN.match("".join(head).lstrip("\r\n")) is not None
        if self._own:
            self._lines.longest *= _GROWTH
        csv.field_size_limit(_LONGEST_CELL * (_GROWTH if self._own else 1))
        self._reader = csv.reader(chain(head, self._lines), delimiter=delimiter, strict=True)
        _, self.headers = next(self._records(), (0, []))
        self.columns = Columns(self.headers)
        self._places = tuple(self.columns.places.items())

    @property
    def has_devices(self) -> bool:
        """Whether there is a column of devices."""
        return "device" in self.columns.places

    def __iter__(self) -> Iterator[Line]:
        """The records that are not blank, in order."""
        for line, cells in self._records():
            yield self._line(line, cells)

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """The records that are not blank, and the number of the line each begins in."""
        while True:
            line = self._reader.line_num + 1 + self._skipped
            self._lines.taken = 0
            try:
                cells = next(self._reader)
            except StopIteration:
                return
            except (csv.Error, _TooLongError) as error:
                raise UsageError(
                    f"line {line}: a quote that is not closed, text after a closing quote, or a cell of over "
                    f"{csv.field_size_limit():,} characters: nothing was imported",
                    "put a cell with quotes in it in quotes, and double the quotes in it",
                ) from error
            if any(map(str.strip, cells)):
                # Of a file of rejected lines without the columns line and reason, which are not the person's.
                yield line, list(map(restored, cells[2:])) if self._own else cells

    def _line(self, line: int, cells: list[str]) -> Line:
        if len(cells) > len(self.headers):
            return Line(line, cells, reason="wrong_columns")
        found = {column: cells[place].strip() for column, place in self._places if place < len(cells)}
        phone, written = None, False
        for text in self.columns.phones(cells):
            if BAD_TEXT.search(text):
                return Line(line, cells, reason="bad_text")
            written = True
            if phone := self._digits(text):
                break
        if any(map(BAD_TEXT.search, found.values())):
            return Line(line, cells, reason="bad_text")
        return Line(
            line,
            cells,
            phone=phone,
            name=found.get("name") or _full_name(found) or None,
            niche=found.get("niche") or None,
            trigger=_members(found.get("trigger", "")) or None,
            device=found.get("device") or None,
            reason=None if phone else "bad_phone" if written else "missing_phone",
        )


def _full_name(found: dict[str, str]) -> str:
    return " ".join(filter(None, map(found.get, ("first_name", "middle_name", "last_name"))))


class _TooLongError(Exception):
    """A record is longer than any of a file of leads."""


class _Lines:
    """The lines of a file, however long: no record takes more memory than ``longest`` characters."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.taken = 0
        self.longest = LONGEST

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._file.readline(self.longest)
        if not line:
            raise StopIteration
        self.taken += len(line)
        if self.taken >= self.longest:
            raise _TooLongError
        return line


def _head(lines: _Lines) -> tuple[list[str], int, str]:
    """The lines of the header, how many there are before them, and the delimiter."""
    try:
        head = _first_record(lines, _DELIMITERS)
        text = "".join(head).lstrip("\r\n")
        if told := _SEPARATOR.fullmatch(text):
            return _first_record(lines, told[1]), len(head), told[1]
    except _TooLongError as error:
        raise UsageError(
            f"the first line has over {LONGEST:,} characters: this is no CSV file", "export it as CSV (UTF-8)"
        ) from error
    if own := _OWN.match(text):
        return head, 0, own[1]
    return head, 0, max(_DELIMITERS, key=_quoted(_DELIMITERS).sub(r"\1", text).count)


def _first_record(lines: _Lines, delimiters: str) -> list[str]:
    """The lines up to the end of the first record."""
    head: list[str] = []
    opens = re.compile(rf'(?:\A|[{re.escape(delimiters)}])"')
    for line in lines:
        head.append(line)
        text = "".join(head).lstrip("\r\n")
        if text and not opens.search(_quoted(delimiters).sub(r"\1", text)):
            break
    return head


def _quoted(delimiters: str) -> re.Pattern[str]:
    """A cell in quotes, and the delimiter before it."""
    return re.compile(rf'(\A|[{re.escape(delimiters)}])"(?:[^"]|"")*"')


def _members(text: str) -> str:
    """A list of triggers without blanks, empty members and repetitions."""
    return ",".join(dict.fromkeys(member for part in text.split(",") if (member := part.strip())))
