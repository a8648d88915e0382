"""Colours by meaning: what is critical is red, a warning magenta, what is well green, what is usual dim.

A colour is never the only carrier: it repeats what a word says.
"""

import os
import re
from enum import StrEnum
from typing import TextIO


class Tone(StrEnum):
    """What a piece of text means, as the terminal's code for its colour."""

    CRITICAL = "1;31"
    # Not yellow: on a white background nobody can read that. Bold magenta reads on both.
    WARNING = "1;35"
    OK = "32"
    USUAL = "2"
    HEADING = "1"


class Toned(str):
    """A text, and what it means; None: nothing in particular."""

    tone: Tone | None

    def __new__(cls, text: str, tone: Tone | None) -> "Toned":
        """``text`` with ``tone``."""
        made = super().__new__(cls, text)
        made.tone = tone
        return made


_WORDS = {
    Tone.CRITICAL: "critical, banned, deleted, blocked, gone, mismatch, quarantined, failed, wrong, missing, "
    "device_gone, zombie, over, stands",
    Tone.WARNING: "warning, offline, disconnected, not available, open, advised, paused, stopped, cut off, "
    "expired, device_offline, device_away, device_full, device_restricted, new_chats_full, no_device",
    Tone.OK: "ok, online, connected, available, completed, done, sent, delivered, read, match, repaired, "
    "queue",
    Tone.USUAL: "note, pending, not_reached, undone",
}
"""Words that decide, as all of seqdev's screens have them, by what they mean."""
_TONES = {word: of for of, words in _WORDS.items() for word in words.split(", ")}
_ENDS = re.compile(r"[:;,]| \(")


def tone(text: str) -> Tone | None:
    """What ``text`` means: the tone of what stands before its first colon, comma, semicolon or bracket."""
    return _TONES.get(_ENDS.split(text, maxsplit=1)[0].lower())


def toned(text: str) -> Toned:
    """A word that decides, with its tone by what it says."""
    return Toned(text, tone(text))


def coloured(out: TextIO) -> bool:
    """Whether colours go to ``out``: NO_COLOR says never, FORCE_COLOR always; else it is a terminal."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return os.environ["FORCE_COLOR"] != "0"
    return out.isatty() and os.environ.get("TERM") not in ("", "dumb")


def painted(text: str, of: Tone | None) -> str:
    """``text`` in the colour of its tone, and the terminal as it was after it."""
    return f"\x1b[{of}m{text}\x1b[0m" if of and text.strip() else text
