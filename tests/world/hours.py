"""Windows in plain Python, for tests to compare with: is one open at an instant, and when does it open next?

Written from the description, not from the statement: what the clock on the wall of a zone shows is in one of the
ranges. To find the next opening, every minute is looked at.
"""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from phonenumbers.tzdata import TIMEZONE_DATA

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
A_DAY = timedelta(days=1)
A_MINUTE = timedelta(minutes=1)


def is_open(window: str, zone: str, instant: datetime, not_before: str = "00:00") -> bool:
    """Whether ``window`` is open in ``zone`` at ``instant``; empty: always, from ``not_before`` on each day."""
    return shows_open(window, instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None), not_before)


def shows_open(window: str, shown: datetime, not_before: str = "00:00") -> bool:
    """Whether it is open when the clock on the wall shows ``shown``."""
    if shown.time() < _time(not_before):
        return False
    return not window or any(_is_in(part, shown) for part in window.split(", "))


def opens(window: str, zones: list[str], after: datetime, not_before: str = "00:00") -> datetime | None:
    """The first minute later than ``after`` at which it is open in all ``zones``; None: not within a fortnight."""
    instant = after.astimezone(UTC).replace(second=0, microsecond=0)
    for _ in range(15 * 24 * 60):
        instant += A_MINUTE
        if all(is_open(window, zone, instant, not_before) for zone in zones):
            return instant
    return None


def around(begins: int, ends: int) -> str:
    """A window that begins and ends about so many hours from now, in UTC: at the full hours before."""
    now = datetime.now(UTC)
    return "daily " + "-".join(f"{now + timedelta(hours=one):%H}:00" for one in (begins, ends))


def earlier(window: str, by: timedelta) -> str:
    """``window``, whose ranges are of one day each, when the clock on the wall has gone on ``by`` that time."""
    return ", ".join(_earlier(part, int(by.total_seconds()) // 60) for part in window.split(", "))


def _earlier(part: str, minutes: int) -> str:
    day, times = part.split(" ")
    start, end = (_minutes(one) - minutes for one in times.split("-"))
    number = (DAYS.index(day) + start // (24 * 60)) % 7
    opens, shuts = (f"{one // 60 % 24:02}:{one % 60:02}" for one in (start, end))
    return f"{DAYS[number]} {opens}-{shuts}"


def zones_of(digits: str) -> list[str]:
    """The zones in which somebody with a phone of these digits may be, by the library phonenumbers; none: unknown."""
    sizes = [size for size in range(len(digits), 0, -1) if digits[:size] in TIMEZONE_DATA]
    return list(TIMEZONE_DATA[digits[: sizes[0]]]) if sizes else []


def _is_in(part: str, shown: datetime) -> bool:
    days, times = part.split(" ")
    first, _, last = days.replace("daily", "mon-sun").partition("-")
    chosen, number = {first}, DAYS.index(first)
    while DAYS[number] != (last or first):
        number = (number + 1) % 7
        chosen.add(DAYS[number])
    start, end = (_minutes(one) for one in times.split("-"))
    for began in (shown.date(), shown.date() - A_DAY):
        if DAYS[began.weekday()] in chosen:
            midnight = datetime.combine(began, time())
            lasts = end - start if end > start else end - start + 24 * 60
            opened = midnight + timedelta(minutes=start)
            if opened <= shown < opened + timedelta(minutes=lasts):
                return True
    return False


def _minutes(text: str) -> int:
    hour, minute = text.split(":")
    return 60 * int(hour) + int(minute)


def _time(text: str) -> time:
    return time(*divmod(_minutes(text), 60))
