"""Strings from the database made harmless before a terminal, a spreadsheet or a log sees them."""

import re
from io import TextIOWrapper
from typing import NewType, TextIO

Phone = NewType("Phone", str)
"""A phone number: the one kind of value that ``--mask`` hides."""

# C0 and C1 controls, DEL, line and paragraph separators, zero-width and bidi controls, the BOM, surrogates.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


_ESCAPE = re.compile(r"\\(?:[\\tnr]|x([0-9a-f]{2})|u([0-9a-f]{4}))")
_SHORT = {"\\\\": "\\", "\\t": "\t", "\\n": "\n", "\\r": "\r"}


def visible(text: str) -> str:
    r"""``text`` with every control and bidi character shown as an escape such as ``\x1b``."""
    return _UNSAFE.sub(lambda m: repr(m[0])[1:-1], text)


def escape_json(text: str) -> str:
    r"""Encoded JSON with the control and bidi characters that JSON allows in strings as ``\uXXXX``."""
    return _UNSAFE.sub(lambda m: f"\\u{ord(m[0]):04x}", text)


def spreadsheet_cell(text: str) -> str:
    """``text`` so that no spreadsheet takes it for a formula, nor any terminal for a command."""
    text = visible(text)
    return "'" + text if text.startswith(("=", "+", "-", "@")) else text


def guarded(text: str) -> str:
    r"""``text`` as harmless as ``spreadsheet_cell`` makes it, so that ``restored`` gives it back.

    What needs it, and what begins with an apostrophe, begins with one more, and has escapes such as ``\x1b``
    and ``\\``. All else is as it was.
    """
    if text.startswith(("=", "+", "-", "@", "'")) or _UNSAFE.search(text):
        return "'" + visible(text.replace("\\", "\\\\"))
    return text


def restored(text: str) -> str:
    """What ``guarded`` has made ``text`` of. What people type without an apostrophe is itself."""
    return _ESCAPE.sub(_unescaped, text[1:]) if text.startswith("'") else text


def _unescaped(escape: re.Match[str]) -> str:
    code = escape[1] or escape[2]
    return chr(int(code, 16)) if code else _SHORT[escape[0]]


def mask(phone: str) -> str:
    """A phone with its middle hidden: ``601*****678``."""
    return phone[:3] + "*" * (len(phone) - 6) + phone[-3:] if len(phone) > 6 else "*" * len(phone)


def is_unicode(out: TextIO) -> bool:
    """Whether every character can be written to ``out``."""
    return (out.encoding or "utf-8").lower().replace("_", "-").startswith("utf")


def escape_what_cannot_be_written(out: TextIO) -> None:
    r"""Let ``out`` write what its locale has no character for as an escape such as ``\xe9``."""
    if isinstance(out, TextIOWrapper) and not is_unicode(out):
        out.reconfigure(errors="backslashreplace")
