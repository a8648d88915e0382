"""A forecast as tables: everything for programs, what fits for people; and its account in words."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from seqdev.forecast.forecast import Forecast, Question
from seqdev.forecast.rows import Ahead, Change, Day, Standing, Total, WhatIf
from seqdev.output.render import Table
from seqdev.output.tables import Shown, made, short

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class HeldLine:
    """A device that cannot send all in time, on a screen."""

    device: str
    wait_at_end: int
    wait_until: str
    held_by: str | None
    would_help_most: str


@dataclass(frozen=True)
class ChangeLine:
    """What a change would do for a user, on a screen."""

    user: str
    change: str
    sends: int
    wait_at_end: int
    wait_until: str


@dataclass(frozen=True)
class WhatIfLine:
    """What the changes asked for do to a device, on a screen: days until no limit holds anybody back."""

    device: str
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


def for_people(found: Forecast, most: int | None, width: int | None) -> tuple[list[Table], Sequence[str]]:
    """The tables for a screen or a page, and the days that it has no room for."""
    shown = [one for one in found.devices if one.sends or one.queued or one.waiting][:most]
    by_day = _by_day(found, shown, width)
    reasons = Counter[str]()
    for one in found.standing:
        reasons[one.reason] += one.contacts
    standing = [StandingLine(reason, number) for reason, number in reasons.most_common()]
    otherwise = "nothing that was tried" if found.changes else ""
    held = [_held(one, otherwise) for one in shown if one.held_by]
    changes = [
        ChangeLine(
            str(one.user_id)[:8], one.change, one.sends, one.waiting, _until(one.waiting, one.drained_at)
        )
        for one in found.changes
    ]
    tables = [
        by_day.table,
        Table("full devices", HeldLine, held),
        Table(
            "what it would change", WhatIfLine, [_line(one) for one in found.what_if if _matters(one)][:most]
        ),
        Table("what would help", ChangeLine, changes),
        Table("not sent", StandingLine, standing),
    ]
    return [table for table in tables if table.rows], by_day.left_out


def _by_day(found: Forecast, shown: Sequence[Ahead], width: int | None) -> Shown:
    """A line a device, a column a day up to the last that has something: what its ticks queue."""
    sends: dict[tuple[UUID, UUID | None], list[int]] = defaultdict(list)
    for day in found.days:
        sends[day.user_id, day.device_id].append(day.sends)
    busy = max((day.day for day in found.days if day.sends), default=1)
    days = [f"{found.total.begins + place * _DAY:%b_%d}" for place in range(busy)]
    columns = ["device", "room_a_day", "queued", *days]
    lines: list[list[object]] = [
        [_named(one), _number(one.room), one.queued, *sends[one.user_id, one.device_id][:busy]]
        for one in shown
    ]
    if len(found.devices) > 1:
        every = list(map(sum, zip(*sends.values(), strict=True)))
        lines.append(["all", "", found.total.queued, *every[:busy]])
    if not found.total.queued:
        del columns[2]
        lines = [[*one[:2], *one[3:]] for one in lines]
    kinds = {name: str if name in ("device", "room_a_day") else int for name in columns}
    return made("messages by day", kinds, lines, width)


def _number(room: int | None) -> str:
    return "" if room is None else str(room)


def _named(one: Ahead | WhatIf) -> str:
    if one.device_id is None:
        return "(no device of their own)"
    return f"{one.device_name or '(no name)'} {str(one.device_id)[:8]}"


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
        f"{one.device_name or '(no name)'} {str(one.device_id)[:8]}"
        if one.device_id
        else "(one more, or none)",
        told(one.days_as_it_is),
        told(one.days),
        "" if one.fewer_days is None else f"{one.fewer_days:.1f}",
        one.waiting,
        one.waiting_as_it_is,
    )


def _until(waiting: int, drained_at: datetime | None) -> str:
    if drained_at:
        return f"{drained_at:%b %d %H:%M}"
    return "longer" if waiting else "nobody waits"


def account(found: Forecast, question: Question) -> Iterator[str]:
    """The account, a line each: in all, who waits, and what it takes for granted."""
    total = found.total
    yield (
        f"{total.sends:,} messages in {question.days} days of 24 hours from {total.begins:%Y-%m-%d %H:%M} UTC"
        + (f", besides {total.queued:,} in the queue" if total.queued else "")
        + (f", with {total.enrolled:,} people enrolled now" if total.enrolled else "")
    )
    last = max((day.begins for day in found.days if day.sends), default=None)
    if last and last + _DAY < total.ends:
        yield f"nothing is due after {last + _DAY:%Y-%m-%d %H:%M} UTC"
    if total.waiting:
        yield f"{total.waiting:,} contacts still wait at the end for devices that are full"
    elif total.drained_at:
        yield f"nobody waits for a device that is full after {total.drained_at:%Y-%m-%d %H:%M} UTC"
    if total.shut:
        yield f"{total.shut:,} contacts wait at the end for their window, or the end of a pause or a grace"
    if total.standing:
        yield f"{total.standing:,} contacts are not sent until somebody does something"
    yield (
        f"as if a tick ran every {short(question.every)}, the worker sent at once, nobody "
        f"{'else ' if total.enrolled else ''}enrolled, and nothing else changed"
    )
    for where in total.inexact:
        yield f"not exact: {where}"
    if total.not_foretold:
        yield f"as if these rules were not set: {', '.join(total.not_foretold)}"
