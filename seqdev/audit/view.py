"""What people see of an audit beside its rows: the summary before them, how late all is, what to type."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from seqdev.audit.audit import NOW, SEVERITIES, Line, Result
from seqdev.audit.nagios import Thresholds, ages, tick_state
from seqdev.audit.rows import DEVICES, Health
from seqdev.audit.summary import Summary, Worst
from seqdev.output import words
from seqdev.output.columns import Named, Verdict
from seqdev.output.screen import Line as ScreenLine
from seqdev.output.screen import Said
from seqdev.output.tones import Tone, Toned
from seqdev.output.words import Clock

_FINDINGS = ("finding", "trouble", "cause")
"""The fields of rows that name what was found."""
_SYMPTOM, _CAUSE = "collisions", "mismatches"
"""The audit of what shows at people, and that of what has led to it."""
_FIRST = 3
"""Parts of the window in a row that tell that it was going on when the window began."""
_GRADES = ("ok", "warning", "critical")
"""By the state that a threshold gives."""


@dataclass(frozen=True)
class Graded(Health):
    """How far behind the service is, and how bad that is."""

    brief = (
        *("tick_state", "tick_age", "last_tick"),
        *("due_state", "oldest_age", "oldest_due", "backlog", "on_pause"),
        *("paused_at", "paused_by", "paused_why"),
    )

    due_state: Verdict
    """Of the oldest due: ok, warning or critical, as `--overdue` says."""
    tick_state: Verdict
    """Of the last tick: ok, warning or critical, as `--tick` says; critical where there never was one, and
    somebody is enrolled."""

    @property
    def is_ok(self) -> bool:
        """Whether neither is too late."""
        return self.due_state == self.tick_state == _GRADES[0]


def graded(health: Health, limits: Thresholds) -> Graded:
    """``health``, its two ages judged by the thresholds that monitoring has, too."""
    due, _ = ages(health)
    return Graded(
        **asdict(health),
        due_state=_GRADES[limits.overdue.state(due)],
        tick_state=_GRADES[tick_state(health, limits)],
    )


def advice(result: Result[Any]) -> Iterator[str]:
    """What to do about what was found, the worst first; not about what is a mere note.

    Of a device it is to be seen first whether others can take its work.
    """
    for kind in result.kinds:
        if kind.severity == SEVERITIES[3]:
            continue
        rows = [
            one for one in result.rows if kind.finding in (getattr(one, name, None) for name in _FINDINGS)
        ]
        if rows and all(getattr(one, "state", "open") != "open" for one in rows):
            continue  # nothing can repair them
        if result.query is DEVICES and rows:
            yield f"seqdev audit devices --if-lost {str(rows[0].device_id)[:8]}"
        yield from (one.repair for one in rows[:1] if one.repair)
        yield kind.repair


def next_command(lines: Sequence[Line], health: Graded, options: Mapping[str, str]) -> str:
    """What to type next: about a tick that is missing before all else; nothing where all is in order.

    ``options``: those that narrow what was looked at, to be typed again with an audit that takes them.
    """
    found = [line for line in lines if line.found > line.over]
    if health.tick_state == "critical" and not health.paused_at and (health.backlog or not found):
        return "seqdev runs --command tick" if health.last_tick else "seqdev tick --dry-run"
    if not found:
        return ""
    worst = found[0]
    if worst.audit == _SYMPTOM:
        # Why these were written to from two devices, and the repair, that one knows.
        worst = next((one for one in found if one.audit == _CAUSE and one.severity != SEVERITIES[3]), worst)
    takes = ("--user",) if worst.window == NOW else tuple(options)
    return f"seqdev audit {worst.audit}" + "".join(text for name, text in options.items() if name in takes)


def said(name: str, found: Summary, clock: Clock, unicode: bool) -> Said:
    """The summary of the audit ``name``, before its rows. ``unicode``: the output has more than ASCII."""
    return Said(list(_lines(name, found, clock, unicode)), headed=True)


def _lines(name: str, found: Summary, clock: Clock, unicode: bool) -> Iterator[ScreenLine]:
    length = words.duration(found.window)
    yield (
        f"{name} of {length} until {clock.said(found.until)}"
        if found.until
        else f"{name} of the last {length}"
    )
    yield [
        Toned(f"{words.number(found.open)} open", Tone.CRITICAL if found.open else Tone.OK),
        f", {words.number(found.repaired)} repaired, ",
        f"{words.number(found.settled)} settled, " if found.settled else "",
        f"{words.number(found.irreparable)} that nothing can repair",
    ]
    if found.last_at:
        goes_on, over = (
            ("still happening then", "not at the end") if found.until else ("still happening", "not now")
        )
        yield [
            Toned(goes_on, Tone.WARNING) if found.still_happens else Toned(over, Tone.OK),
            f": {words.rate(found.per_minute)} a minute; last {clock.with_age(found.last_at)}",
            f"; first {clock.shortest(found.first_at)}" if found.first_at else "",
        ]
    if found.last_at and _reaches_back(found):
        yield (
            "it has happened from the beginning of this time on, and perhaps before: a longer --since tells"
        )
    if any(found.buckets):
        bar = words.duration(found.window / len(found.buckets))
        yield f"|{words.sparkline(found.buckets, unicode)}| {bar} each"
    if found.worst:
        yield "most of them by device and sequence:"
    for one in found.worst:
        yield f"  {words.number(one.number)}: {_place(one)}"


def _reaches_back(found: Summary) -> bool:
    """Whether it may have begun before the time that was looked at: some in each of its first parts, and now.

    What happens now and then does so at no time in particular.
    """
    first = found.buckets[:_FIRST]
    return bool(found.still_happens and len(first) == _FIRST and all(first))


def _place(one: Worst) -> str:
    device = Named(one.device, one.device_id) if one.device_id else "no device"
    return f"{device}, {Named(one.sequence, one.sequence_id) if one.sequence_id else 'no sequence'}"
