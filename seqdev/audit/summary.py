"""What an audit says before its rows: when, where, how often now, and what became of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID


@dataclass(frozen=True)
class Worst:
    """A device and a sequence with many findings that no repair has dealt with."""

    device: str | None
    """Name of the device: the one that wrote or failed, of a contact the one that is assigned."""
    device_id: UUID | None
    """The device."""
    sequence: str | None
    """Name of the sequence."""
    sequence_id: UUID | None
    """The sequence; null for a campaign."""
    number: int
    """Findings there."""


@dataclass(frozen=True)
class Summary:
    """All that an audit found, listed or not: of failed messages, each message counts."""

    window: timedelta = timedelta(0)
    """How long the time is that the audit looks at, in seconds."""
    until: datetime | None = None
    """When that time ended, with --until; null: now."""
    first_at: datetime | None = None
    """When the first of it happened: of contacts that stand, when they were due."""
    last_at: datetime | None = None
    """When the last of it happened, up to now."""
    still_happens: bool = False
    """Whether that is in the last five minutes of that time."""
    per_minute: float = 0.0
    """How many a minute, in these five."""
    open: int = 0
    """Something can still be done about these."""
    repaired: int = 0
    """A repair that is in effect has dealt with these. They are rows of mismatches, writers and collisions;
    of contacts and failed they are no rows any more, and counted from the journal."""
    settled: int = 0
    """Of mismatches: the assigned device has written last since, and nothing has to be done."""
    irreparable: int = 0
    """What was sent cannot be taken back, or nothing has to be done."""
    buckets: list[int] = field(default_factory=list)
    """The window in thirty parts of the same length, the oldest first: how many happened in each."""
    worst: list[Worst] = field(default_factory=list)
    """The five worst pairs of device and sequence, by what no repair has dealt with."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to say."""
        return not (self.open or self.repaired or self.settled or self.irreparable)


def read(found: Mapping[str, Any]) -> Summary:
    """The summary in the column of that name, which the files below ``sql/audit/`` return."""
    names = ("still_happens", "open", "repaired", "settled", "irreparable", "buckets")
    same = {name: found[name] for name in names}
    return Summary(
        window=timedelta(seconds=float(found["seconds"])),
        until=_instant(found["until"]),
        first_at=_instant(found["first_at"]),
        last_at=_instant(found["last_at"]),
        per_minute=float(found["per_minute"]),
        worst=[_worst(one) for one in found["worst"]],
        **same,
    )


def _worst(found: Mapping[str, Any]) -> Worst:
    values = {one.name: found[one.name] for one in fields(Worst)}
    for name in ("device_id", "sequence_id"):
        values[name] = UUID(values[name]) if values[name] else None
    return Worst(**values)


def _instant(text: str | None) -> datetime | None:
    """An instant as the server writes it in JSON; None where it is in no year that Python knows."""
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
