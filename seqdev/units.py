"""Durations as people write them: ``90s``, ``15m``, ``1h``, ``2d``; for timeouts also ``50ms``."""

import re
from datetime import timedelta

_UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_duration(text: str) -> timedelta:
    """``90s``, ``15m``, ``1h``, ``2d`` as a timedelta. Raises ValueError for anything else."""
    match = re.fullmatch(r"(\d{1,6})(ms|[smhd])", text.strip(), re.ASCII)
    if not match:
        raise ValueError(f"{text!r} is not a duration: write 90s, 15m, 1h or 2d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})
