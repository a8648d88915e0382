"""What a report leaves out: phones, unless they are asked for, wherever somebody has written one.

Names of people, message texts, errors of messages and the reasons that people have typed are in no row of a
report: see ``seqdev/report/rows.py``.
"""

import re
from dataclasses import fields, replace
from typing import Any, TypeVar

from seqdev.output.text import mask

Row = TypeVar("Row")

_NUMBER = re.compile(
    r"(?P<id>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})|\+?\d(?:[ ()./\-\u2010-\u2015\xa0]{0,3}\d){6,}"
)
"""An id, or what may be a phone: seven digits or more, with the signs between them that people write."""


def without_phones(row: Row) -> Row:
    """``row``, a dataclass, with the middle hidden of all that may be a phone in its texts."""
    given: dict[str, Any] = {
        one.name: masked(value)
        for one in fields(row)  # type: ignore[arg-type]
        for value in (getattr(row, one.name),)
        if isinstance(value, str)
    }
    return replace(row, **given)  # type: ignore[type-var]


def masked(text: str) -> str:
    """``text`` with the middle hidden of all that may be a phone; ids stay."""
    return _NUMBER.sub(lambda found: found[0] if found["id"] else mask(found[0]), text)
