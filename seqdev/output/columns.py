"""What a column means to people, declared by the type of its field, and the forms that its values have.

An instant is a ``datetime``, a duration a ``timedelta``, an id a ``UUID``, a phone a ``Phone``, a device or
whatever else has a name and an id a :class:`Named`. What a type does not tell stands beside it: ``Verdict``
and the other names below are the plain type to everybody else.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from enum import Enum
from math import isfinite
from types import NoneType
from typing import Annotated, Any, get_args, get_type_hints
from uuid import UUID

from seqdev.output.text import Phone, visible
from seqdev.output.words import Clock, ago, duration, number, share


class Mark(Enum):
    """What a field means, where its type does not tell."""

    DECIDES = "never dropped, coloured by what it says"
    PROSE = "a sentence: broken between words rather early"
    AGE = "an instant whose age matters"
    SECONDS = "a duration in seconds"
    SHARE = "a part of one"
    NAME = "a number that counts nothing: a process id, an exit code"


Verdict = Annotated[str, Mark.DECIDES]
"""A status, verdict, severity, finding or reason: never dropped, coloured by what it says."""
Prose = Annotated[str, Mark.PROSE]
"""A sentence."""
Answer = Annotated[str, Mark.DECIDES, Mark.PROSE]
"""A sentence that decides: an answer, a reason with its cause."""
Aged = Annotated[datetime, Mark.AGE]
"""An instant whose age matters: shown as ``23:44, 2 h 4 min ago``."""
Seconds = Annotated[float, Mark.SECONDS]
"""A duration in seconds."""
Share = Annotated[float, Mark.SHARE]
"""A part of one: shown as ``12.5 %``."""
Code = Annotated[int, Mark.NAME]
"""A number that counts nothing, such as a process id: shown without thousands."""


def called(name: str | None, gone: str = "(gone)") -> str:
    """What to call something by its ``name``: None: it is there no longer; empty: nobody has given it one.

    Statements make NULL of the one and '' of the other: ``coalesce(d.device_name, left(d.id::text, 0))``.
    """
    if name is None:
        return gone
    return name if name.strip() else "(no name)"


@dataclass(frozen=True)
class Named:
    """A device, a sequence, a user: by its name and the beginning of its id, or by the name alone."""

    name: str | None
    id: UUID

    @property
    def called(self) -> str:
        """Its name, or why there is none: it is there no longer, or nobody has given it one."""
        return called(self.name)

    def __str__(self) -> str:
        """In a sentence: by name, and by as much of its id as commands take."""
        return f"{self.called} {str(self.id)[:8]}"


@dataclass(frozen=True)
class Column:
    """A column: what it is called, and what its field means."""

    name: str
    kind: Any
    marks: frozenset[Mark]

    @property
    def title(self) -> str:
        """Its name in words."""
        return self.name.replace("_", " ")

    @property
    def decides(self) -> bool:
        """Whether it is never dropped, and coloured."""
        return Mark.DECIDES in self.marks

    @property
    def is_number(self) -> bool:
        """Whether it is aligned to the right."""
        return self.kind in (int, float, timedelta)

    @property
    def wraps(self) -> bool:
        """Whether its texts may take several lines."""
        return self.kind not in (int, float, bool, datetime, timedelta, UUID, Phone)


def columns(row: type[Any]) -> list[Column]:
    """The columns of a dataclass, in the order of its fields: the first ones are the last to be dropped."""
    hints = get_type_hints(row, include_extras=True)
    return [Column(field.name, *_meaning(hints[field.name])) for field in fields(row)]


def _meaning(hint: Any) -> tuple[Any, frozenset[Mark]]:
    """The type of a field, which may be null, and what is marked on it."""
    marks: set[Mark] = set()
    while True:
        marks |= {one for one in getattr(hint, "__metadata__", ()) if isinstance(one, Mark)}
        if hasattr(hint, "__metadata__"):
            hint = hint.__origin__
            continue
        parts = [part for part in get_args(hint) if part is not NoneType]
        if NoneType in get_args(hint) and len(parts) == 1:
            hint = parts[0]
            continue
        return hint, frozenset(marks)


def forms(column: Column, values: Sequence[Any], clock: Clock) -> list[list[str]]:
    """The texts of a column's ``values``, in forms from the longest to the shortest."""
    present = [value for value in values if value is not None]
    if present and all(isinstance(value, UUID) for value in present):
        return _ids([None if value is None else str(value) for value in values])
    if any(isinstance(value, Named) for value in present):
        return _names(values)
    if any(isinstance(value, datetime) for value in present):
        return _instants(column, values, clock)
    return [[text(column, value, clock) for value in values]]


def text(column: Column, value: Any, clock: Clock) -> str:
    """A value as one line of harmless text, in its longest form."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        shown = clock.full(value)
        return f"{shown}, {ago(value, clock.now())}" if Mark.AGE in column.marks else shown
    if isinstance(value, timedelta):
        return duration(value)
    if isinstance(value, float):
        if not isfinite(value):
            return json.dumps(value)
        if Mark.SECONDS in column.marks:
            return duration(timedelta(seconds=value))
        return share(value) if Mark.SHARE in column.marks else f"{value:,}"
    if isinstance(value, int):
        return str(value) if Mark.NAME in column.marks else number(value)
    if isinstance(value, list | tuple):
        return ", ".join(text(column, item, clock) for item in value)
    if isinstance(value, Mapping):
        return visible(", ".join(f"{name} {text(column, item, clock)}" for name, item in value.items()))
    return visible(str(value))


def phone_columns(row: type[Any]) -> set[str]:
    """The fields of a dataclass that hold a phone."""
    return {column.name for column in columns(row) if column.kind is Phone}


def titles(found: Sequence[Column], rows: Sequence[Sequence[Any]], clock: Clock) -> list[str]:
    """What the columns are called on a screen. The zone of the instants stands once, with the first one."""
    instants = [[one for one in values if isinstance(one, datetime)] for values in zip(*rows, strict=True)]
    zone = clock.zone_of([one for column in instants for one in column])
    first = next((place for place, some in enumerate(instants) if some), -1)
    return [
        f"{one.title} ({zone})" if zone and place == first else one.title for place, one in enumerate(found)
    ]


def _instants(column: Column, values: Sequence[datetime | str | None], clock: Clock) -> list[list[str]]:
    def shown(at: datetime | str | None, form: Callable[[datetime], str]) -> str:
        if not isinstance(at, datetime):
            return visible(at or "")
        return form(at) + (f", {ago(at, clock.now())}" if Mark.AGE in column.marks else "")

    found = [[shown(at, form) for at in values] for form in (clock.full, clock.short, clock.shortest)]
    if Mark.AGE in column.marks:
        found.append([clock.shortest(at) if isinstance(at, datetime) else visible(at or "") for at in values])
    return found


def _ids(texts: Sequence[str | None]) -> list[list[str]]:
    """Whole, and cut to what tells them apart, eight characters at least: commands take that."""
    whole = {one for one in texts if one}
    length = next(n for n in range(8, 37) if len({one[:n] for one in whole}) == len(whole))
    return [[(one or "")[:size] for one in texts] for size in (36, length)]


def _names(values: Sequence[Named | str | None]) -> list[list[str]]:
    """With eight characters of the id or what tells them apart; without it where the name alone does."""
    whole = {one for one in values if isinstance(one, Named)}
    names = Counter(one.name for one in whole)
    alone = {one for one in whole if one.name == one.called and names[one.name] == 1}
    length = max(map(len, _ids([str(one.id) for one in whole])[1]))

    def shown(one: Named | str | None, short: bool) -> str:
        if not isinstance(one, Named):
            return visible(one or "")
        if short and one in alone:
            return visible(one.name or "")
        return visible(f"{one.called} {str(one.id)[:length]}")

    return [[shown(one, short) for one in values] for short in (False, True)]
