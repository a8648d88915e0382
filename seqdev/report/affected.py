"""Who was affected: the rows of two audits, counted as they come.

Memory grows with devices, sequences and causes, not with messages.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from seqdev.audit.rows import FailedMessages, Mismatch
from seqdev.output.text import Phone

_OPEN, _REPAIRED, _SETTLED = "open", "repaired", "settled"


@dataclass(frozen=True)
class Mismatches:
    """Messages from another device than the one assigned, in all."""

    open: int
    """Those that are not over: open or irreparable, as `seqdev audit mismatches` has it."""
    to_do: int
    """Of these, those that somebody has to do something about."""
    repaired: int
    """Those that a repair has dealt with, or that are settled: the assigned device has written last since."""
    first_at: datetime | None
    """When the first of all was made."""
    last_at: datetime | None
    """When the last of all was made."""


@dataclass(frozen=True)
class Cause:
    """Mismatches of one cause."""

    cause: str
    """Why."""
    open: int
    """Those that are not over: open or irreparable, as `seqdev audit mismatches` has it."""
    repaired: int
    """Those that a repair has dealt with, or that are settled: the assigned device has written last since."""
    first_at: datetime | None
    """When the first was made."""
    last_at: datetime | None
    """When the last was made."""
    repair: str
    """What to do about it."""


@dataclass(frozen=True)
class Failure:
    """Messages of sequences that were not sent, for one cause."""

    cause: str
    """Why, as the error of the broadcast worker tells it."""
    messages: int
    """Messages."""
    first_at: datetime | None
    """When the first was made."""
    last_at: datetime | None
    """When the last was made."""
    repair: str
    """What to do about it."""


@dataclass(frozen=True)
class AffectedDevice:
    """What befell the messages of a device."""

    device: str | None
    """Its name; null: it does not exist, or no device was assigned."""
    device_id: UUID | None
    """The device; null: no device was assigned."""
    wrote: int
    """Mismatches: messages that it wrote, and another should have."""
    lost: int
    """Mismatches: messages that it should have written, and another did."""
    open: int
    """Of both, those that no repair has dealt with."""
    failed: int
    """Messages that it did not send."""


@dataclass(frozen=True)
class AffectedSequence:
    """What befell the messages of a sequence."""

    sequence: str | None
    """Its name; null: it does not exist."""
    sequence_id: UUID
    """The sequence."""
    open: int
    """Mismatches that are not over."""
    repaired: int
    """Mismatches that are repaired or settled."""
    failed: int
    """Messages that were not sent."""


@dataclass(frozen=True)
class Person:
    """A mismatch, and whom it met: open ones first, then the last ones."""

    phone: Phone
    """Whom the message went to."""
    cause: str | None
    """Why."""
    state: str | None
    """open, repaired, settled, or irreparable: nothing is to come that could be repaired."""
    at: datetime | None
    """When the message was made."""
    sequence: str
    """Name of the sequence."""
    step: int | None
    """Day of the step."""
    assigned_device: str | None
    """Name of the device that was assigned."""
    used_device: str | None
    """Name of the device that wrote."""


@dataclass
class Times:
    """The first and the last of some instants."""

    first: datetime | None = None
    last: datetime | None = None

    def add(self, *instants: datetime | None) -> None:
        """Heed ``instants``; None is none."""
        for one in instants:
            if one is not None:
                self.first = min(self.first or one, one)
                self.last = max(self.last or one, one)


@dataclass
class Affected:
    """What the audits of mismatches and of failed messages have found, counted."""

    place: Callable[[datetime], int]
    """The place of the timeline in which an instant lies."""
    places: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    """Mismatches by state and place."""
    _causes: Counter[tuple[str, str]] = field(default_factory=Counter)
    _times: dict[str, Times] = field(default_factory=lambda: defaultdict(Times))
    _failures: Counter[str] = field(default_factory=Counter)
    _failure_times: dict[str, Times] = field(default_factory=lambda: defaultdict(Times))
    _devices: dict[UUID | None, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    _sequences: dict[UUID, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    _names: dict[UUID | None, str] = field(default_factory=dict)
    _repairs: dict[str, dict[str, Any]] = field(default_factory=dict)

    def mismatches(self, rows: Iterable[Mismatch]) -> None:
        """Count ``rows``."""
        for row in rows:
            self._repairs |= row.found
            cause = str(row.cause)
            state = _REPAIRED if row.state in (_REPAIRED, _SETTLED) else _OPEN
            self._causes[cause, state] += 1
            self._times[cause].add(row.at)
            if row.at is not None:
                self.places[state][self.place(row.at)] += 1
            self._sequences[row.sequence_id][state] += 1
            self._name(row.sequence_id, row.sequence)
            for device, name, what in (
                (row.used_device_id, row.used_device, "wrote"),
                (row.assigned_device_id, row.assigned_device, "lost"),
            ):
                self._devices[device][what] += 1
                self._devices[device][state] += 1
                self._name(device, name)

    def failed(self, rows: Iterable[FailedMessages]) -> None:
        """Count ``rows``."""
        for row in rows:
            self._repairs |= row.found
            self._failures[row.finding] += row.messages
            self._failure_times[row.finding].add(row.first_at, row.last_at)
            self._devices[row.device_id]["failed"] += row.messages
            self._sequences[row.sequence_id]["failed"] += row.messages
            self._name(row.device_id, row.device)
            self._name(row.sequence_id, row.sequence)

    @property
    def total(self) -> Mismatches:
        """All mismatches."""
        times = Times()
        for one in self._times.values():
            times.add(one.first, one.last)
        states = Counter[str]()
        to_do = 0
        for (cause, state), number in self._causes.items():
            states[state] += number
            to_do += number if state != _REPAIRED and self._repairs[cause]["severity"] < 3 else 0
        return Mismatches(states[_OPEN], to_do, states[_REPAIRED], times.first, times.last)

    @property
    def causes(self) -> Sequence[Cause]:
        """Mismatches by cause, the most first."""
        found = [
            Cause(
                cause,
                self._causes[cause, _OPEN],
                self._causes[cause, _REPAIRED],
                times.first,
                times.last,
                self._advice(cause),
            )
            for cause, times in self._times.items()
        ]
        return sorted(found, key=lambda one: (-one.open, -one.repaired, one.cause))

    @property
    def failures(self) -> Sequence[Failure]:
        """Failed messages by cause, the most first."""
        return [
            Failure(
                cause,
                number,
                self._failure_times[cause].first,
                self._failure_times[cause].last,
                self._repairs[cause]["repair"],
            )
            for cause, number in self._failures.most_common()
        ]

    @property
    def devices(self) -> Sequence[AffectedDevice]:
        """By device, the most affected first."""
        found = [
            AffectedDevice(
                self._names.get(device), device, count["wrote"], count["lost"], count[_OPEN], count["failed"]
            )
            for device, count in self._devices.items()
        ]
        return sorted(found, key=lambda one: (-one.open - one.failed, -one.wrote - one.lost, str(one)))

    @property
    def sequences(self) -> Sequence[AffectedSequence]:
        """By sequence, the most affected first."""
        found = [
            AffectedSequence(
                self._names.get(sequence), sequence, count[_OPEN], count[_REPAIRED], count["failed"]
            )
            for sequence, count in self._sequences.items()
        ]
        return sorted(found, key=lambda one: (-one.open - one.failed, -one.repaired, str(one)))

    def _advice(self, cause: str) -> str:
        # A cause of which all are repaired or settled has no advice of its own.
        kinds = (self._repairs.get(kind) for kind in (cause, _REPAIRED, _SETTLED))
        return str(next(kind for kind in kinds if kind)["repair"])

    def _name(self, identity: UUID | None, name: str | None) -> None:
        if name is not None:
            self._names[identity] = name
