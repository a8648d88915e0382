"""Commands within texts: who copies half of one runs another command than the one that was meant."""

import re

NAMES = (
    "audit|block|completion|config|contacts|db|demo|enroll|explain|forecast|help|journal|leads|man|"
    "metrics|pause|repair|report|resume|rules|runs|stats|tick|top"
)
"""The commands."""
_BELOW = (
    "add|adopt|all|assign|assigned|check|collisions|contacts|delay-changed|device|devices|down|"
    "failed|get|grants|history|home|import|init|last|leads|list|merge|mismatches|missing|no-lead|"
    "places|prune|psql|quarantined|queued|remove|replies|restart|resume|run|sequences|set|show|skip|"
    "status|step-gone|stop|stranded|stuck|undo|unset|up|upgrade|written-by-other|writers|zone"
)
"""The commands below them, and words that they take."""
COMMAND = re.compile(
    rf"\bseqdev (?:{NAMES})(?![\w-])"
    rf"(?: (?:{_BELOW})(?![\w-])| [A-Z]+(?![\w-])| [0-9a-f]{{8,}}(?:-[0-9a-f]+)*(?![\w-])"
    r"| [a-z]+_[a-z_]+(?!\w)| --[a-z]+(?:-[a-z]+)*(?: (?!(?:or|and|moves)\b)(?:'[^']*'|\w(?:[\w.:-]*\w)?))?)*"
)
"""A command with what is to be typed after it."""
_HELD = "\ue000"
"""Stands for a blank at which no line ends: as wide as one, and assigned to nothing."""


def held(text: str, room: int) -> str:
    """``text`` with its commands made one word each, where they fit in ``room`` characters."""

    def one_word(found: re.Match[str]) -> str:
        return found[0].replace(" ", _HELD) if len(found[0]) <= room else found[0]

    return COMMAND.sub(one_word, text)


def marked(text: str, room: int, below: list[str]) -> str:
    """``text`` with a mark such as ``[1]`` for each command that does not fit in ``room`` characters.

    These join those ``below``, which are to be said in full there.
    """

    def mark(found: re.Match[str]) -> str:
        if len(found[0]) <= room:
            return found[0]
        if found[0] not in below:
            below.append(found[0])
        return f"[{below.index(found[0]) + 1}]"

    return COMMAND.sub(mark, text)


def let_go(text: str) -> str:
    """A line of what was held together, with its blanks."""
    return text.replace(_HELD, " ")
