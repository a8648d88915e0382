"""Plans of changes: rows with what they are and what they become, kept in a file, never in memory.

A plan file is JSON lines: a header with a digest of all that follows, then a row a line. It holds phones, so
that only its owner may read it.
"""

import hashlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple, Self
from uuid import UUID

from seqdev.errors import SeqdevError, UsageError
from seqdev.files import opened, plain_file
from seqdev.output.render import note
from seqdev.output.text import Phone

VERSION = 1
"""Of the plan file."""

_LONGEST_HEAD = 1 << 20
"""Bytes of a plan's first line: what is no plan may have no line's end."""

PHONES = ("contact_phone", "phone")
"""Columns whose values in a plan or in the journal are phones."""


@dataclass(frozen=True)
class PlanRow:
    """A row of every statement that plans: a change, or with ``refused`` the reason for none."""

    table_name: str
    """The table of the row."""
    row_id: UUID
    """The row."""
    user_id: UUID | None
    """The user whose row it is."""
    phone: Phone | None
    """The person whose row it is."""
    sequence: str | None
    """Name of the sequence, or of the rule; null for a lead."""
    from_device: UUID | None
    """The device that the row has now."""
    from_name: str | None
    """Its name."""
    to_device: UUID | None
    """The device that the row gets."""
    to_name: str | None
    """Its name."""
    why: str
    """Why the row changes, as one word."""
    refused: str | None
    """Why the row is not changed; null where it is."""
    expected: dict[str, Any]
    """What the row must be when it is changed: values by column."""
    becomes: dict[str, Any]
    """What changes: values by column; empty: the row only has to be what is expected."""

    @property
    def person(self) -> tuple[UUID | None, str | None]:
        """Whose row it is: rows of one person are changed together."""
        return self.user_id, self.phone

    @property
    def total(self) -> "Total":
        """What it is counted by."""
        return Total(self.from_device, self.from_name, self.to_device, self.to_name, self.why)


@dataclass(frozen=True)
class Header:
    """What a plan is of: the command, its arguments, and where."""

    command: str
    arguments: Mapping[str, Any]
    schema: str


_IDS = {"row_id", "user_id", "from_device", "to_device"}


class Total(NamedTuple):
    """What a plan counts its changes by: from, to and why. Devices by id: two may have one name."""

    from_device: UUID | None
    from_name: str | None
    to_device: UUID | None
    to_name: str | None
    why: str


@dataclass(frozen=True)
class LeftAlone:
    """What somebody might think a plan changes, and it does not: numbers by name, and what to do about it."""

    numbers: Mapping[str, int]
    to_do: str = ""


class Plan:
    """A plan in a temporary file that is gone with the process.

    ``totals`` counts the changes, ``arrivals`` the people whom each device gets. A phone that is put on the
    list of the blocked, or taken off, is one of the ``people`` whatever other rows it has. ``things`` counts
    these phones, pauses and rules.
    """

    def __init__(self, header: Header) -> None:
        self.header = header
        self.left_alone = LeftAlone({})
        self.standby: str | None = None
        """Of a plan that was made on a standby: how far that was behind."""
        self.totals: Counter[Total] = Counter()
        self.refused: Counter[str] = Counter()
        self.people = 0
        self.things: Counter[str] = Counter()
        self.arrivals: Counter[UUID] = Counter()
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed by __exit__)
        self._digest = hashlib.sha256()

    def __enter__(self) -> Self:
        """The plan itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The file is gone."""
        self._file.close()

    @property
    def changes(self) -> int:
        """Rows that the plan changes."""
        return self.totals.total()

    def fill(self, rows: Iterable[PlanRow]) -> None:
        """Make ``rows`` the plan; what it held before is forgotten."""
        self.totals.clear()
        self.refused.clear()
        self.people = 0
        self.things.clear()
        self.arrivals.clear()
        self._digest = hashlib.sha256()
        self._file.seek(0)
        self._file.truncate()
        last = None
        met: set[UUID | None] = set()
        listed: set[str | None] = set()
        try:
            for row in rows:
                line = json.dumps(asdict(row), default=str, ensure_ascii=False).encode() + b"\n"
                self._digest.update(line)
                self._file.write(line)
                if row.refused:
                    self.refused[row.refused] += 1
                    continue
                if not row.becomes:
                    continue
                self.totals[row.total] += 1
                if row.table_name == "rule":
                    self.things["pause" if row.sequence == "paused" else "rule"] += 1
                elif row.table_name == "blocked":
                    listed.add(row.phone)
                elif row.person != last and row.phone not in listed:
                    self.people += 1
                if row.person != last:
                    met = {None}
                if row.to_device and row.to_device not in met:
                    self.arrivals[row.to_device] += 1
                    met.add(row.to_device)
                last = row.person
            # The list's own rows come first, and may be everybody's: no user's people.
            self.things["phone"] = len(listed)
            self.people += len(listed)
            self._file.flush()
        except OSError as error:
            raise SeqdevError(
                f"the plan cannot be kept: {error.strerror}: nothing was changed",
                "make room in the temp folder",
            ) from error

    def rows(self) -> Iterator[PlanRow]:
        """All rows, in the plan's order."""
        rest = b""
        for block in self._blocks():
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                yield _row(json.loads(line))

    def chunks(self, size: int) -> Iterator[list[PlanRow]]:
        """The changes in lists of about ``size``; the rows of one person are never parted."""
        chunk: list[PlanRow] = []
        for row in self.rows():
            if row.refused:
                continue
            if len(chunk) >= size and row.person != chunk[-1].person:
                yield chunk
                chunk = []
            chunk.append(row)
        if chunk:
            yield chunk

    def save(self, path: Path) -> None:
        """Write the plan to ``path``, all of it or nothing. Raises SeqdevError when that fails."""
        path = plain_file(path)
        temporary = None
        try:
            handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
            with os.fdopen(handle, "wb") as file:
                file.write(json.dumps({**self._sealed(), "digest": self._seal()}).encode() + b"\n")
                file.writelines(self._blocks())
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError as error:
            if temporary:
                with suppress(OSError):
                    Path(temporary).unlink(missing_ok=True)
            raise UsageError(f"cannot write the plan to {path}: {error.strerror}") from error

    def load(self, path: Path) -> None:
        """Read the plan from ``path``.

        Raises UsageError when it cannot be read, was changed since it was written, or is the plan of
        something else than this one's header says.
        """
        try:
            with opened(path, note) as file:
                head = _head_of(path, file.readline(_LONGEST_HEAD))
                if {name: head.get(name) for name in self._head()} != json.loads(json.dumps(self._head())):
                    raise UsageError(
                        f"{path} is the plan of another command: {_described(head)}",
                        "give the same command and options as for the dry run, or make a plan anew",
                    )
                self.standby = head.get("standby")
                self.fill(_row(json.loads(line)) for line in file)
        except OSError as error:
            raise UsageError(f"cannot read the plan {path}: {error.strerror}") from error
        except (ValueError, TypeError, KeyError) as error:
            raise _broken(path) from error
        if head.get("digest") != self._seal():
            raise _broken(path)

    def _blocks(self) -> Iterator[bytes]:
        """The file from its beginning; several may go through it at once."""
        offset = 0
        while block := os.pread(self._file.fileno(), 1 << 18, offset):
            offset += len(block)
            yield block

    def _head(self) -> dict[str, Any]:
        return {"seqdev_plan": VERSION, **asdict(self.header)}

    def _sealed(self) -> dict[str, Any]:
        return self._head() | ({"standby": self.standby} if self.standby else {})

    def _seal(self) -> str:
        sealed = self._digest.copy()
        sealed.update(json.dumps(self._sealed(), sort_keys=True).encode())
        return "sha256:" + sealed.hexdigest()


def _head_of(path: Path, line: bytes) -> dict[str, Any]:
    head = json.loads(line)
    if not isinstance(head, dict) or head.get("seqdev_plan") != VERSION:
        raise UsageError(f"{path} is no plan of seqdev", "write one with --dry-run --plan FILE")
    return head


def _described(head: Mapping[str, Any]) -> str:
    arguments = head.get("arguments") or {}
    given = " ".join(f"{name}={value}" for name, value in arguments.items() if value not in (None, "", False))
    return f"{head.get('command')} {given}".strip()


def _broken(path: Path) -> UsageError:
    return UsageError(f"{path} is not what the dry run wrote: nothing was changed", "make the plan anew")


def _row(values: dict[str, Any]) -> PlanRow:
    known: dict[str, Any] = {
        field.name: UUID(value) if field.name in _IDS and value is not None else value
        for field in fields(PlanRow)
        for value in (values[field.name],)
    }
    return PlanRow(**known)
