"""Files of leads as people have them: found headers, any of the usual delimiters, phones in any spelling."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TextIO

from seqdev.errors import UsageError
from seqdev.leads.phone import phone_reader
from seqdev.output.text import visible

LONGEST = 1 << 20
"""Characters a record may have; what is longer is no file of leads, or has a quote that is not closed."""

_HEADERS = {
    "phone": "phone phonenumber phoneno mobile mobilenumber mobileno mobilephone msisdn whatsapp"
    " whatsappnumber tel telephone telefon contact contactnumber contactno number nohp nomborhp nomortelepon",
    "name": "name fullname nama namapenuh contactname customername",
    "first_name": "firstname",
    "last_name": "lastname surname",
    "niche": "niche category",
    "trigger": "trigger triggers tag tags",
    "device": "device devicename deviceid",
}
_COLUMNS = {header: column for column, headers in _HEADERS.items() for header in headers.split()}

_QUOTED = re.compile(r'(\A|[,;\t])"(?:[^"]|"")*"')
_OPEN = re.compile(r'(?:\A|[,;\t])"')
_BAD_TEXT = re.compile("[\x00\ud800-\udfff]")


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
        head = _head(self._lines)
        delimiter = max(",;\t", key=_QUOTED.sub(r"\1", "".join(head).lstrip("\r\n")).count)
        self._reader = csv.reader(chain(head, self._lines), delimiter=delimiter, strict=True)
        _, self.headers = next(self._records(), (0, []))
        self._columns = _columns(self.headers)

    @property
    def ignored(self) -> list[str]:
        """The headers that mean nothing here, fit to be shown."""
        used = set(self._columns.values())
        return [_shown(header) for place, header in enumerate(self.headers) if place not in used]

    @property
    def has_devices(self) -> bool:
        """Whether there is a column of devices."""
        return "device" in self._columns

    def __iter__(self) -> Iterator[Line]:
        """The records that are not blank, in order."""
        for line, cells in self._records():
            yield self._line(line, cells)

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """The records that are not blank, and the number of the line each begins in."""
        while True:
            line = self._reader.line_num + 1
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
                yield line, cells

    def _line(self, line: int, cells: list[str]) -> Line:
        if len(cells) > len(self.headers):
            return Line(line, cells, reason="wrong_columns")
        found = {
            column: cells[place].strip() for column, place in self._columns.items() if place < len(cells)
        }
        if any(map(_BAD_TEXT.search, found.values())):
            return Line(line, cells, reason="bad_text")
        written = found.get("phone")
        phone = self._digits(written) if written else None
        first, last = found.get("first_name", ""), found.get("last_name", "")
        return Line(
            line,
            cells,
            phone=phone,
            name=found.get("name") or f"{first} {last}".strip() or None,
            niche=found.get("niche") or None,
            trigger=_members(found.get("trigger", "")) or None,
            device=found.get("device") or None,
            reason=None if phone else "bad_phone" if written else "missing_phone",
        )


class _TooLongError(Exception):
    """A record has more than LONGEST characters."""


class _Lines:
    """The lines of a file, however long: no record takes more memory than LONGEST characters."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.taken = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._file.readline(LONGEST)
        if not line:
            raise StopIteration
        self.taken += len(line)
        if self.taken >= LONGEST:
            raise _TooLongError
        return line


def _head(lines: _Lines) -> list[str]:
    """The lines up to the end of the first record."""
    head: list[str] = []
    try:
        for line in lines:
            head.append(line)
            text = "".join(head).lstrip("\r\n")
            if text and not _OPEN.search(_QUOTED.sub(r"\1", text)):
                break
    except _TooLongError as error:
        raise UsageError(
            f"the first line has over {LONGEST:,} characters: this is no CSV file", "export it as CSV (UTF-8)"
        ) from error
    return head


def _columns(headers: list[str]) -> dict[str, int]:
    """The place of every column that is there. Raises UsageError where they make no sense."""
    if not headers:
        raise UsageError("the file is empty", "it needs a header line, with a column phone at least")
    if any(map(_BAD_TEXT.search, headers)):
        raise UsageError("the header line is not UTF-8 text", "save the file as CSV (UTF-8)")
    found: dict[str, int] = {}
    for place, header in enumerate(headers):
        column = _COLUMNS.get(re.sub(r"[\W_]+", "", header.casefold()))
        if column is None:
            continue
        if column in found:
            raise UsageError(
                f"two columns for the {column.replace('_', ' ')}: {_shown(headers[found[column]])}"
                f" and {_shown(header)}",
                "rename or remove the one that is not meant",
            )
        found[column] = place
    if "phone" not in found:
        listed = ", ".join(map(_shown, headers[:20])) + (", …" if len(headers) > 20 else "")
        raise UsageError(
            f"no column for the phone in the header line: {listed}", "name the column of the phones: phone"
        )
    if "name" in found:
        found.pop("first_name", None)
        found.pop("last_name", None)
    return found


def _shown(header: str) -> str:
    """A header for people to read. In a file without header line it may be somebody's phone."""
    text = header.strip()
    if sum(map(str.isdigit, text)) > 4:
        return "(a number)"
    return repr(visible(text[:40]))


def _members(text: str) -> str:
    """A list of triggers without blanks, empty members and repetitions."""
    return ",".join(dict.fromkeys(member for part in text.split(",") if (member := part.strip())))
