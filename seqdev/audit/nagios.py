"""The state of the service as one line that Nagios and its kin understand."""

from dataclasses import dataclass
from datetime import timedelta

from seqdev.audit.rows import Health
from seqdev.output.text import visible
from seqdev.output.words import counted, duration
from seqdev.settings import parse_duration

STATES = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
"""By their exit codes."""


@dataclass(frozen=True)
class Threshold:
    """A number is worth a warning above ``warning``, critical above ``critical``; durations in seconds."""

    warning: int
    critical: int

    def state(self, value: int | None) -> int:
        """The exit code that ``value`` deserves; there being none is critical."""
        if value is None or value > self.critical:
            return 2
        return 1 if value > self.warning else 0


@dataclass(frozen=True)
class Thresholds:
    """What is judged."""

    overdue: Threshold
    backlog: Threshold
    mismatches: Threshold
    tick: Threshold


DEFAULTS = Thresholds(
    overdue=Threshold(900, 3600),
    backlog=Threshold(1000, 10_000),
    mismatches=Threshold(0, 100),
    tick=Threshold(300, 900),
)


def threshold(text: str | Threshold, durations: bool) -> Threshold:
    """``WARN,CRIT`` as a Threshold. Raises ValueError for anything else."""
    if isinstance(text, Threshold):
        return text
    try:
        warning, critical = (
            int(parse_duration(part).total_seconds()) if durations else int(part) for part in text.split(",")
        )
    except ValueError:
        warning, critical = 1, 0
    if not 0 <= warning <= critical:
        raise ValueError(f"{text!r} is not WARN,CRIT, such as {'5m,1h' if durations else '10,100'}")
    return Threshold(warning, critical)


def ages(health: Health) -> tuple[int, int | None]:
    """Seconds for which the oldest is due, and since the last tick: none where there never was one."""
    # Nothing due is nothing overdue; no tick ever is not.
    return _seconds(health.oldest_age) or 0, _seconds(health.tick_age)


def tick_state(health: Health, limits: Thresholds) -> int:
    """The exit code that the age of the last tick deserves: where nobody is enrolled, none need have been."""
    _, tick = ages(health)
    return 0 if tick is None and not health.enrolled else limits.tick.state(tick)


def judge(health: Health, mismatches: int, limits: Thresholds) -> tuple[int, str]:
    """The exit code and the line: state, words, performance data."""
    overdue, tick = ages(health)
    measured = (
        ("oldest_due", overdue, limits.overdue, "s"),
        ("backlog", health.backlog, limits.backlog, ""),
        ("mismatches", mismatches, limits.mismatches, ""),
        ("tick_age", tick, limits.tick, "s"),
    )
    state = max(tick_state(health, limits), *(one.state(value) for _, value, one, _ in measured[:-1]))
    paused = ""
    if health.paused_at:
        # Somebody wants it so: worth a warning, and by its age, the last tick soon makes it more.
        state = max(state, 1)
        paused = visible(f"paused by {health.paused_by}: {health.paused_why}; ")
    if health.on_pause:
        paused += f"{health.on_pause} on pause; "
    ticked = "never" if tick is None else f"{duration(timedelta(seconds=tick))} ago"
    words = (
        f"{paused}{health.backlog} due, the oldest for {duration(timedelta(seconds=overdue))}; "
        f"{counted(mismatches, 'mismatch', 'mismatches')}; last tick {ticked}"
    )
    data = " ".join(
        f"{name}=" + ("U" if value is None else f"{value}{unit};{one.warning};{one.critical};0")
        for name, value, one, unit in measured
    )
    return state, line(state, words, data)


def line(state: int, words: str, data: str = "") -> str:
    """``SEQDEV OK - words | data``: no pipe in the words, which would begin the data."""
    return f"SEQDEV {STATES[state]} - {words.replace('|', '/')}" + (f" | {data}" if data else "")


def _seconds(age: timedelta | None) -> int | None:
    return None if age is None else max(0, int(age.total_seconds()))
