"""What becomes due, and goes, where nobody has to wait for a limit: most devices, most of the time.

Each of them is told by its people alone, step after step. Only where that is more than a limit allows do
the days have to pass tick by tick.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from seqdev.forecast.device import Days, Device
from seqdev.forecast.facts import Step
from seqdev.forecast.hours import NEVER
from seqdev.forecast.line import Kind, Who
from seqdev.forecast.user import Frame


class Begin(NamedTuple):
    """Contacts at a step, by when they are due. ``who``: what else they have in common."""

    device: Device
    step: Step
    kind: Kind
    who: Who
    dues: Mapping[int, int]
    patience: int | None

    def last(self, due: int) -> int:
        """The tick after which those are too late that are due then."""
        return NEVER if self.patience is None else due + self.patience


class Flow:
    """What a device sends, if nobody has to wait for its limits."""

    def __init__(self, frame: Frame) -> None:
        self.days = Days(frame.span.days)
        self._frame = frame
        self._ticks: list[int] = []
        self._new: list[int] = []

    def add(self, begin: Begin) -> None:
        """These, and all steps that follow."""
        frame, span, hours = self._frame, self._frame.span, self._frame.hours
        end, a_day = span.end, span.a_day
        device, zones = begin.device, begin.kind.zones
        is_limited = device.sender.is_limited
        from_when = device.from_when
        known = frame.not_before[begin.who.not_before]
        sends, shut = self.days.sends, self.days.shut
        for begun, contacts in begin.dues.items():
            due, last, step = begun, begin.last(begun), begin.step
            is_new = begin.kind.is_new
            while due < end:
                at = max(0, due, step.begins, from_when)
                if step.win is not None:
                    at = hours.opens(step.win, zones, at)
                if at > last:
                    break
                if at > due:
                    for day in range(max(0, due) // a_day, min(at, end) // a_day):
                        shut[day] += contacts
                if at >= end:
                    break
                sends[at // a_day] += contacts
                if is_limited:
                    self._ticks += [at] * contacts
                    if is_new:
                        self._new += [at] * contacts
                        is_new = False
                if step.next_place is None:
                    break
                due = at + step.delay
                step = frame.steps[step.next_place]
                if step.reason is not None:
                    break
                if known:
                    due = max(due, known.get(step.place, 0))
                last = due + frame.patience if frame.patience else NEVER

    def presses(self, device: Device) -> bool:
        """Whether that may be more than a limit of the device allows."""
        sender, span = device.sender, self._frame.span
        if not self._ticks:
            return False
        if sender.gap or sender.warm_first is not None:
            return True
        ticks = sorted((*self._ticks, *device.room.messages))
        return (
            _within(ticks, sender.most_flying, 1)
            or _within(ticks, sender.most_an_hour, span.an_hour)
            or _within(ticks, sender.most_a_day, span.a_day)
            or (bool(self._new) and self._opens_too_many(device))
        )

    def _opens_too_many(self, device: Device) -> bool:
        if device.sender.restricted > 0:
            return True
        if device.sender.most_new is None:
            return False
        # What is queued counts a day before it goes, too.
        opened = sorted((*self._new, *device.room.chats))
        return _within(opened, device.sender.most_new, 2 * self._frame.span.a_day)


def begun(begins: list[Begin], frame: Frame, moves: bool) -> list[Begin]:
    """Those of ``begins`` whose days have to pass tick by tick. The days of all others are told.

    ``moves``: people go to other devices, so that it is about all of the user's or none.
    """
    flows: dict[int, Flow] = {}
    devices: dict[int, Device] = {}
    for begin in begins:
        place = begin.device.place
        devices[place] = begin.device
        if place not in flows:
            flows[place] = Flow(frame)
        flows[place].add(begin)
    pressed = {
        place for place, device in devices.items() if not device.is_open or flows[place].presses(device)
    } | {begin.device.place for begin in begins if begin.who.home}
    if moves and pressed:
        return begins
    for place, device in devices.items():
        if place not in pressed:
            device.days.sends = flows[place].days.sends
            device.days.shut = flows[place].days.shut
    return [begin for begin in begins if begin.device.place in pressed]


def counted(dues: Iterable[int], patience: int | None, end: int) -> Mapping[int, int]:
    """Of contacts by when they are due, those who may go at all."""
    if patience is not None and patience < 0:
        return {}
    return {due: number for due, number in Counter(dues).items() if due < end}


def _within(ticks: list[int], limit: int, long: int) -> bool:
    """Whether more than ``limit`` of them lie within so many ticks. They are sorted."""
    return any(later - earlier < long for earlier, later in zip(ticks, ticks[limit:], strict=False))
