"""Colours by meaning: what is critical is red, a warning yellow, what is well green, what is usual dim.

A colour is never the only carrier: it repeats what a word says.
"""

import os
from dataclasses import dataclass
from enum import StrEnum
from typing import TextIO


class Tone(StrEnum):
    """What a piece of text means, as the terminal's code for its colour."""

    CRITICAL = "1;31"
    WARNING = "33"
    OK = "32"
    USUAL = "2"
    HEADING = "1"


@dataclass(frozen=True)
class Toned:
    """A piece of text, and what it means; None: nothing in particular."""

    text: str
    tone: Tone | None

    def __str__(self) -> str:
        """The text alone."""
        return self.text


_WORDS = {
    Tone.CRITICAL: "critical banned deleted gone mismatch quarantined zombie over",
    Tone.WARNING: "warning",
    Tone.OK: "ok",
    Tone.USUAL: "note",
}
_TONES = {word: tone for tone, words in _WORDS.items() for word in words.split()}


def tone(text: str) -> Tone | None:
    """What ``text`` means: its tone by the words that it begins with, up to a colon, comma or bracket."""
    begin = text.lower()
    for sign in (":", ",", " (", ";"):
        begin = begin.partition(sign)[0]
    return _TONES.get(begin) or _TONES.get(begin.partition(" ")[0])


def toned(text: str) -> Toned:
    """A word that decides, with its tone by what it says."""
    return Toned(text, tone(text))


def coloured(out: TextIO) -> bool:
    """Whether colours go to ``out``: NO_COLOR says never, FORCE_COLOR always; else it is a terminal."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return os.environ["FORCE_COLOR"] != "0"
    return out.isatty() and os.environ.get("TERM") != "dumb"


def painted(text: str, of: Tone | None) -> str:
    """``text`` in the colour of its tone, and the terminal as it was after it."""
    return f"\x1b[{of}m{text}\x1b[0m" if of and text.strip() else text
