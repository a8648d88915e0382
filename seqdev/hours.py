"""Windows as people write them: on which days of the week, and from when to when."""

import re

EXAMPLE = "mon-fri 09:00-18:00, sat 10:00-13:00"
"""What a window looks like."""

_DAY = "mon|tue|wed|thu|fri|sat|sun"
_RANGE = re.compile(
    rf"(?:(?P<days>daily|(?:{_DAY})(?:\s*-\s*(?:{_DAY}))?)\s+)?"
    r"(?P<opens>[0-9]{1,2}:[0-9]{2})\s*-\s*(?P<shuts>[0-9]{1,2}:[0-9]{2})"
)


def window(text: str) -> str:
    """``text`` as a window is kept: lower case, each range with its days; empty: always open.

    A range without days is for every day; one that ends before it begins goes on into the next day. Raises
    ValueError, which says what is wrong.
    """
    if not text.strip():
        return ""
    return ", ".join(_range(part.strip().lower()) for part in text.split(","))


def _range(text: str) -> str:
    found = _RANGE.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is not a range of time")
    opens, shuts = (_time(found[name]) for name in ("opens", "shuts"))
    if opens == "24:00":
        raise ValueError("24:00 is no time to begin: write 00:00")
    if opens == shuts:
        raise ValueError(f"{text!r} ends when it begins: a whole day is 00:00-24:00")
    days = re.sub(r"\s", "", found["days"] or "daily")
    first, _, last = days.partition("-")
    return f"{first if first == last else days} {opens}-{shuts}"


def _time(text: str) -> str:
    hour, minute = (int(part) for part in text.split(":"))
    if minute > 59 or hour > 24 or (hour == 24 and minute):
        raise ValueError(f"{text} is no time of the day")
    return f"{hour:02}:{minute:02}"
