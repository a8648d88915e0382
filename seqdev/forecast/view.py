"""A forecast as tables: everything for programs, what fits for people; and its account in words."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from seqdev.forecast.forecast import Forecast, Question
from seqdev.forecast.rows import Ahead, Change, Day, Standing, Total, WhatIf
from seqdev.output.columns import Named, Prose
from seqdev.output.render import Table
from seqdev.output.tables import made
from seqdev.output.words import Clock, are, counted, duration

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class HeldLine:
    """A device that cannot send all in time, on a screen."""

    device: Named | str
    wait_at_end: int
    wait_until: datetime | str
    held_by: str | None
    would_help_most: str


@dataclass(frozen=True)
class ChangeLine:
    """What a change would do for a user, on a screen."""

    change: Prose
    user: UUID
    sends: int
    wait_at_end: int
    wait_until: datetime | str


@dataclass(frozen=True)
class WhatIfLine:
    """What the changes asked for do to a device, on a screen: days until no limit holds anybody back."""

    device: Named | str
    days_as_it_is: str
    days: str
    days_sooner: str
    wait_at_end: int
    before: int


@dataclass(frozen=True)
class StandingLine:
    """Contacts that wait for a reason, on a screen."""

    reason: str
    contacts: int


def published(found: Forecast) -> list[Table]:
    """Everything, as programs read it."""
    return [
        Table("days", Day, found.days),
        Table("devices", Ahead, found.devices),
        Table("standing", Standing, found.standing),
        Table("changes", Change, found.changes),
        Table("what_if", WhatIf, found.what_if),
        Table("total", Total, [found.total], single=True),
    ]


def for_people(found: Forecast, most: int | None, clock: Clock) -> list[Table]:
    """The tables for a screen or a page, with ``most`` devices (None: all)."""
    shown = [one for one in found.devices if one.sends or one.queued or one.waiting][:most]
    reasons = Counter[str]()
    for one in found.standing:
        reasons[one.reason] += one.contacts
    standing = [StandingLine(reason, number) for reason, number in reasons.most_common()]
    otherwise = "nothing that was tried" if found.changes else ""
    held = [_held(one, otherwise) for one in shown if one.held_by]
    changes = [
        ChangeLine(one.change, one.user_id, one.sends, one.waiting, _until(one.waiting, one.drained_at))
        for one in found.changes
    ]
    tables = [
        _by_day(found, shown, clock),
        Table("full devices", HeldLine, held),
        Table(
            "what it would change", WhatIfLine, [_line(one) for one in found.what_if if _matters(one)][:most]
        ),
        Table("what would help", ChangeLine, changes),
        Table("not sent", StandingLine, standing),
    ]
    return [table for table in tables if table.rows]


def _by_day(found: Forecast, shown: Sequence[Ahead], clock: Clock) -> Table:
    """A line a device, a column a day up to the last that has something: what its ticks queue."""
    sends: dict[tuple[UUID, UUID | None], list[int]] = defaultdict(list)
    for day in found.days:
        sends[day.user_id, day.device_id].append(day.sends)
    busy = max((day.day for day in found.days if day.sends), default=1)
    days = [f"{clock.at(found.total.begins) + place * _DAY:%b_%d}" for place in range(busy)]
    columns = ["device", "exact", "room_a_day", "queued", *days]
    lines: list[list[object]] = [
        [
            _named(one),
            "yes" if one.is_exact else "about",
            one.room,
            one.queued,
            *sends[one.user_id, one.device_id][:busy],
        ]
        for one in shown
    ]
    are_exact = all(one.is_exact for one in found.devices)
    if len(found.devices) > 1:
        every = list(map(sum, zip(*sends.values(), strict=True)))
        lines.append(["all", "yes" if are_exact else "about", None, found.total.queued, *every[:busy]])
    # What says nothing: that all is exact, and that nothing is queued.
    left_out = {"exact": are_exact, "queued": not found.total.queued}
    kept = [place for place, name in enumerate(columns) if not left_out.get(name)]
    types = {"device": Named, "exact": str}
    return made(
        "messages by day",
        {columns[place]: types.get(columns[place], int) for place in kept},
        [[line[place] for place in kept] for line in lines],
    )


def _named(one: Ahead | WhatIf) -> Named | str:
    if one.device_id is None:
        return "(no device of their own)"
    return Named(one.device_name or "(no name)", one.device_id)


def _held(one: Ahead, otherwise: str) -> HeldLine:
    return HeldLine(
        _named(one),
        one.waiting,
        _until(one.waiting, one.drained_at),
        one.held_by,
        one.helps or otherwise,
    )


def _matters(one: WhatIf) -> bool:
    return bool(one.days_as_it_is != 0 or one.days != 0 or one.sends != one.sends_as_it_is)


def _line(one: WhatIf) -> WhatIfLine:
    def told(days: float | None) -> str:
        return "longer" if days is None else f"{days:.1f}"

    return WhatIfLine(
        _named(one) if one.device_id else "(one more, or none)",
        told(one.days_as_it_is),
        told(one.days),
        "" if one.fewer_days is None else f"{one.fewer_days:.1f}",
        one.waiting,
        one.waiting_as_it_is,
    )


def _until(waiting: int, drained_at: datetime | None) -> datetime | str:
    if drained_at:
        return drained_at
    return "longer" if waiting else "nobody waits"


def account(found: Forecast, question: Question, clock: Clock) -> Iterator[str]:
    """The account, a line each: in all, who waits, and what it takes for granted."""
    total = found.total
    yield (
        f"{counted(total.sends, 'message')} in {counted(question.days, 'day')} of 24 hours "
        f"from {clock.said(total.begins)}"
        + (f", besides {total.queued:,} in the queue" if total.queued else "")
        + (f", with {counted(total.enrolled, 'person', 'people')} enrolled now" if total.enrolled else "")
    )
    last = max((day.begins for day in found.days if day.sends), default=None)
    if last and last + _DAY < total.ends:
        yield f"nothing is due after {clock.said(last + _DAY)}"
    if total.waiting:
        yield f"{counted(total.waiting, 'contact')} still waiting at the end for devices that are full"
    elif total.drained_at:
        yield f"nobody waits for a device that is full after {clock.said(total.drained_at)}"
    if total.shut:
        waits = f"{counted(total.shut, 'contact')} {are(total.shut, 'wait')}"
        yield f"{waits} at the end for a window, or the end of a pause or a grace"
    if total.standing:
        text = f"{counted(total.standing, 'contact')} {are(total.standing)} not sent until "
        yield text + "somebody does something"
    yield (
        f"as if a tick ran every {duration(question.every)}, the worker sent at once, nobody "
        f"{'else ' if total.enrolled else ''}enrolled, and nothing else changed"
    )
    for where in total.inexact:
        yield f"not exact: {where}"
    if total.not_foretold:
        yield f"cannot be foreseen: {'; '.join(total.not_foretold)}"
