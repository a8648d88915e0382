"""How much of a table a terminal has room for: which columns, in which form, how wide.

Every column gets its smallest width first. If that is too much, the last columns go, but never one that
decides; then even those are cut. What room is left makes the first columns longer again.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from seqdev.output.columns import Column, Mark
from seqdev.output.typed import COMMAND, held, let_go

_JOINT = re.compile(r"(?<=[/,.])(?=[^/,.])")
"""Where a long word may go on in the next line."""
_SHORT = 12
"""Characters of the longest word that never does."""
GAP = 2
"""Blanks between two columns."""

_CAPS = (24, 16)
"""The longest words that get their room before a column is dropped for them."""
_TIGHT = (24, 12, 8, 6, 4, 2, 1)
"""The same, where only columns are left that cannot be dropped."""
_COMFORT, _COMFORT_OF_FIRST, _COMFORT_OF_PROSE = 10, 18, 24
"""Widths below which a text is not broken between words: names, what a row is about, sentences."""


@dataclass(eq=False)
class Placed:
    """A column in its place: its cells in one form, and how wide they may be."""

    column: Column
    title: str
    forms: Sequence[Sequence[str]]
    form: int = 0
    width: int = 0

    @property
    def cells(self) -> Sequence[str]:
        """The cells in the form that there is room for."""
        return self.forms[self.form]


@dataclass(frozen=True)
class Fitted:
    """The columns that have room, and those that have none."""

    placed: Sequence[Placed]
    dropped: Sequence[Column] = field(default_factory=list)


def fit(placed: Sequence[Placed], room: int, measure: Callable[[str], int]) -> Fitted:
    """``placed`` as it fits into ``room`` characters; ``measure``: how many a text takes."""
    shown = list(placed)
    for cap in _CAPS:
        _shrink(shown, cap, measure)
        if _used(shown) <= room:
            break
    while _used(shown) > room and (last := _expendable(shown)) is not None:
        del shown[last]
    for one in placed:
        if one not in shown and _used(shown) + GAP + one.width <= room:
            shown = [other for other in placed if other in shown or other is one]
    for cap in _TIGHT:
        if _used(shown) <= room:
            break
        _shrink(shown, cap, measure, tight=True)
    _grow(shown, room - _used(shown), measure)
    return Fitted(shown, [one.column for one in placed if one not in shown])


def _used(placed: Sequence[Placed]) -> int:
    return sum(one.width for one in placed) + GAP * (len(placed) - 1)


def _expendable(placed: Sequence[Placed]) -> int | None:
    """The last column that may be dropped. The first one says what a row is about."""
    return next((place for place in range(len(placed) - 1, 0, -1) if not placed[place].column.decides), None)


def _shrink(
    placed: Sequence[Placed], cap: int, measure: Callable[[str], int], *, tight: bool = False
) -> None:
    """Give every column its smallest width, where words longer than ``cap`` may be cut.

    Only where it is ``tight`` are those of columns that decide.
    """
    for place, one in enumerate(placed):
        one.form = len(one.forms) - 1
        widest = _natural(one, one.form, measure)
        if one.column.wraps:
            comfort = _COMFORT if place else _COMFORT_OF_FIRST
            if Mark.PROSE in one.column.marks:
                comfort = _COMFORT_OF_PROSE
            widest = max(0 if tight else min(widest, comfort), _longest_word(one, measure))
            if tight or not one.column.decides:
                # What a row is about is cut less.
                widest = min(widest, cap if tight or place else _CAPS[0])
        one.width = max(_title(one, measure), widest)


def _grow(placed: Sequence[Placed], left: int, measure: Callable[[str], int]) -> None:
    """Give ``left`` characters to the columns, the first ones first.

    They get whole words and a short form, texts fewer lines, then what is left goes for ids, days, years and
    seconds.
    """
    texts = [one for one in placed if one.column.wraps]
    for one in texts:
        # No text gets fewer lines at the price of a word that is cut beside it.
        more = max(0, _longest_word(one, measure) - one.width)
        one.width, left = one.width + min(more, left), left - min(more, left)
    for one in placed:
        # Of an instant, the time and how long ago that was.
        short = 2 if one.column.kind is datetime else 1
        left = _lengthen(one, min(short, len(one.forms) - 1), left, measure)
    for one in texts:
        # A command stands in one line, or it is cut in two for nothing.
        if 0 < (more := _longest_command(one) - one.width) <= left:
            one.width, left = one.width + more, left - more
    natural = {id(one): _natural(one, one.form, measure) for one in texts}
    while left > 0 and (hungry := [one for one in texts if one.width < natural[id(one)]]):
        min(hungry, key=lambda one: one.width).width += 1
        left -= 1
    for one in placed:
        left = _lengthen(one, 0, left, measure)
        if 0 < (more := measure(one.title) - one.width) <= left:
            one.width, left = one.width + more, left - more


def _lengthen(one: Placed, longest: int, left: int, measure: Callable[[str], int]) -> int:
    """Give a column the longest form that has room, not before ``longest``; what is left then."""
    for form in range(longest, one.form + 1):
        more = max(0, _natural(one, form, measure) - one.width)
        if more <= left:
            one.form, one.width = form, one.width + more
            return left - more
    return left


def _natural(one: Placed, form: int, measure: Callable[[str], int]) -> int:
    """The width of a column whose cells take one line each, in ``form``. Titles may take several."""
    return max([_title(one, measure), *map(measure, one.forms[form])])


def _title(one: Placed, measure: Callable[[str], int]) -> int:
    return max(map(measure, one.title.split()), default=1)


def _longest_word(one: Placed, measure: Callable[[str], int]) -> int:
    return max(
        (measure(piece) for cell in one.cells for word in cell.split() for piece in _parts(word)), default=1
    )


def _longest_command(one: Placed) -> int:
    return max((len(found[0]) for cell in one.cells for found in COMMAND.finditer(cell)), default=0)


def _parts(word: str) -> list[str]:
    """The parts in which a word may stand on several lines: those of a long path, list or dotted name."""
    return _JOINT.split(word) if len(word) > _SHORT else [word]


def wrapped(text: str, width: int, measure: Callable[[str], int], dots: str) -> list[str]:
    """``text`` in lines of ``width`` characters, broken between words; a longer word ends in ``dots``.

    A longer word that is a path, a list or a dotted name goes on in the next line. A command is one word.
    """
    lines: list[str] = []
    line = ""
    for word in _pieces(held(text, width), width, measure):
        glued = word.glued and line
        longer = f"{line}{'' if glued else ' '}{word.text}" if line else word.text
        if measure(longer) <= width:
            line = longer
            continue
        if line:
            lines.append(line)
        line = cut(word.text, width, measure, dots)
    return list(map(let_go, [*lines, line] if line or not lines else lines))


def cut(text: str, width: int, measure: Callable[[str], int], dots: str) -> str:
    """``text``; where it has no room in ``width``, as much of its beginning as has with ``dots`` after it."""
    if measure(text) <= width:
        return text
    while text and measure(text + dots) > width:
        text = text[:-1]
    return (text + dots)[: max(width, 1)]


@dataclass(frozen=True)
class _Piece:
    text: str
    glued: bool = False
    """No blank stands before it."""


def _pieces(text: str, width: int, measure: Callable[[str], int]) -> list[_Piece]:
    found: list[_Piece] = []
    for word in text.split():
        if measure(word) <= width:
            found.append(_Piece(word))
            continue
        found += [_Piece(part, glued=place > 0) for place, part in enumerate(_parts(word))]
    return found
