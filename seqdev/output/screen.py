"""Tables and lines on a terminal: laid out for its width, in colours where it takes them."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from typing import Any, TextIO

from seqdev.output.columns import Column, columns, forms, titles
from seqdev.output.layout import GAP, Placed, cut, fit, wrapped
from seqdev.output.text import is_unicode, visible
from seqdev.output.tones import Tone, Toned, coloured, painted, tone
from seqdev.output.typed import held, let_go, marked
from seqdev.output.words import Clock

Line = str | Sequence[str | Toned]
"""A line that people read: text, or pieces of it, some of which mean something."""

_MARKUP = re.compile(r"[\\|*_`<#\[\]]")
"""What Markdown would take for its own."""
_ENDLESS = 1_000_000
_FALLBACK = 80
_USUAL = (0, False, "none", timedelta(0))
"""What is not worth a look."""


def width_of(out: TextIO) -> int:
    """Characters in a line of ``out``: COLUMNS, else what the terminal says; of a pipe any number."""
    if not out.isatty():
        return _ENDLESS
    return _size(out, "COLUMNS", 0) or _FALLBACK


def height_of(out: TextIO) -> int:
    """How many lines the terminal ``out`` has; zero where it does not say."""
    return _size(out, "LINES", 1)


def _size(out: TextIO, variable: str, place: int) -> int:
    if (given := os.environ.get(variable, "")).isascii() and given.isdigit() and int(given):
        return int(given)
    try:
        return os.get_terminal_size(out.fileno())[place]
    except (OSError, ValueError):
        return 0


@dataclass(frozen=True)
class Said:
    """What people are told beside the tables: lines, the first of them a heading if ``headed``."""

    lines: Sequence[Line]
    headed: bool = False
    indent: int = 0
    """Blanks before what goes on in the next line, on a terminal."""

    def plain(self, markdown: bool) -> str:
        """The lines as plain text, or as a page has them."""
        texts = [visible("".join(_toned(line))) for line in self.lines]
        if markdown:
            texts = [_MARKUP.sub(r"\\\g<0>", one) + "  " for one in texts]
        if self.headed and texts:
            texts[0] = f"\n**{texts[0].rstrip()}**\n" if markdown else f"\n{texts[0]}"
        return "".join(f"{one}\n" for one in texts)


class Screen:
    """Prints to the terminal ``out``, and remembers what it had no room for."""

    def __init__(self, out: TextIO, clock: Clock) -> None:
        from rich.cells import cell_len

        self._out = out
        self._clock = clock
        self._measure = cell_len
        self._width = width_of(out)
        self._colours = coloured(out)
        self._dots, self._rule = ("…", "─") if is_unicode(out) else ("...", "-")
        self._dropped: dict[str, None] = {}
        self._lost_ids = False
        self._was_cut = False

    def lost(self) -> str:
        """What there was no room for, in words; empty: nothing."""
        cut_ = f"{self._dots} stands for what is cut" if self._was_cut else ""
        dropped = [*self._dropped, *(["ids"] if self._lost_ids else [])]
        said = f"no room for {', '.join(dropped)}" if dropped else ""
        return "; ".join(filter(None, (said, cut_)))

    def say(self, said: Said) -> None:
        """Print lines."""
        for number, line in enumerate(said.lines):
            if number == 0 and said.headed:
                self._out.write("\n")
                line = [Toned(piece, piece.tone or Tone.HEADING) for piece in _toned(line)]
            self.line(line, said.indent)

    def title(self, words: str) -> None:
        """A line above what follows, with a blank one before it."""
        self._out.write("\n")
        self.line([Toned(words, Tone.HEADING)])

    def line(self, line: Line, indent: int = 0) -> None:
        """A line, broken where the terminal is narrower: then it goes on after ``indent`` blanks."""
        indent = min(indent, self._width // 3)
        begun: list[Toned] = []
        pieces = [Toned(visible(piece), piece.tone) for piece in _toned(line)]
        used = blanks = len(pieces[0]) - len(pieces[0].lstrip(" ")) if pieces else 0
        # What goes on stands to the right of where it began.
        indent = max(indent, blanks + 2 if blanks else 0)
        for piece in pieces:
            for held_word in _split(held(piece, self._width - indent)):
                word = let_go(held_word)
                text = (
                    word
                    if self._measure(word) <= self._width - indent
                    else self._cut(word, self._width - indent)
                )
                if used + self._measure(text) > self._width:
                    self._flush(begun, blanks)
                    begun, used, blanks = [], indent, indent
                if begun or text != " ":
                    begun.append(Toned(text, piece.tone))
                    used += self._measure(text)
        self._flush(begun, blanks)

    def _flush(self, words: Sequence[Toned], blanks: int) -> None:
        """Print ``words`` in one line, after ``blanks``."""
        while words and words[-1] == " ":
            words = words[:-1]
        runs = groupby(words, key=lambda word: word.tone)
        self._out.write(" " * blanks + "".join(self._painted("".join(run), of) for of, run in runs) + "\n")

    def grid(self, row: type[Any], rows: Sequence[Sequence[Any]]) -> None:
        """A line a row, a column a field of the dataclass ``row``."""
        found = columns(row)
        placed = [
            Placed(column, title, forms(column, [one[place] for one in rows], self._clock))
            for place, (column, title) in enumerate(zip(found, titles(found, rows, self._clock), strict=True))
        ]
        # A column without any value tells nothing.
        placed = [one for place, one in enumerate(placed) if place == 0 or any(one.cells)]
        fitted = fit(placed, self._width, self._measure)
        shown = fitted.placed
        self._dropped |= dict.fromkeys(column.title for column in fitted.dropped)
        self._lost_ids |= any(_lost_ids(one) for one in shown)
        self._row(shown, [one.title for one in shown], [Tone.HEADING] * len(shown))
        rule = (" " * GAP).join(self._rule * one.width for one in shown)
        self._out.write(self._painted(rule, Tone.USUAL) + "\n")
        below: list[str] = []
        for number in range(len(rows)):
            cells = [marked(one.cells[number], one.width, below) for one in shown]
            values = dict(zip((column.name for column in found), rows[number], strict=True))
            tones = [_tone(one.column, values[one.column.name]) for one in shown]
            self._row(shown, cells, tones)
        self._commands(below)

    def record(self, row: type[Any], rows: Sequence[Sequence[Any]]) -> None:
        """A line a field of the dataclass ``row``, of which there is one."""
        found = columns(row)
        names = titles(found, rows, self._clock)
        indent = max(map(self._measure, names), default=0) + GAP
        below: list[str] = []
        for place, (column, name) in enumerate(zip(found, names, strict=True)):
            if (value := rows[0][place]) is None:
                continue
            ((cell,), *_) = forms(column, [value], self._clock)
            # A table's empty cell explains itself, a name with nothing beside it does not.
            cell = marked(cell or "none", max(self._width - indent, 1), below)
            for number, text in enumerate(self._wrapped(cell, max(self._width - indent, 1))):
                begin = self._painted("" if number else name, Tone.HEADING)
                blanks = " " * (indent - (0 if number else self._measure(name)))
                self._out.write(
                    (begin + blanks + self._painted(text, _tone(column, rows[0][place]))).rstrip() + "\n"
                )
        self._commands(below)

    def _commands(self, commands: Sequence[str]) -> None:
        """Print ``commands`` that had no room in the cells above, by their marks.

        Each is whole, whatever the width: the terminal itself goes on with it, and it is copied as it is.
        """
        for number, command in enumerate(commands, start=1):
            self._out.write(f"[{number}] {command}\n")

    def _row(self, shown: Sequence[Placed], cells: Sequence[str], tones: Sequence[Tone | None]) -> None:
        lines = [self._wrapped(cell, one.width) for one, cell in zip(shown, cells, strict=True)]
        for number in range(max(map(len, lines))):
            line = ""
            for one, texts, of in zip(shown, lines, tones, strict=True):
                text = texts[number] if number < len(texts) else ""
                blanks = " " * (one.width - self._measure(text))
                painted_ = self._painted(text, of)
                line += (blanks + painted_ if one.column.is_number else painted_ + blanks) + " " * GAP
            self._out.write(line.rstrip() + "\n")

    def _wrapped(self, text: str, width: int) -> list[str]:
        lines = wrapped(text, width, self._measure, self._dots)
        self._was_cut |= self._dots not in text and any(self._dots in line for line in lines)
        return lines

    def _cut(self, text: str, width: int) -> str:
        self._was_cut = True
        return cut(text, width, self._measure, self._dots)

    def _painted(self, text: str, of: Tone | None) -> str:
        return painted(text, of) if self._colours else text


def _lost_ids(one: Placed) -> bool:
    """Whether the ids beside names were dropped."""
    return one.column.wraps and len(one.forms) > 1 and one.form > 0 and one.forms[0] != one.forms[one.form]


def _tone(column: Column, value: Any) -> Tone | None:
    if isinstance(value, Toned):
        return value.tone
    if column.decides:
        return tone(str(value))
    return Tone.USUAL if value in _USUAL else None


def _toned(line: Line) -> list[Toned]:
    pieces = [line] if isinstance(line, str) else line
    return [piece if isinstance(piece, Toned) else Toned(piece, None) for piece in pieces]


def _split(text: str) -> list[str]:
    """``text`` in words and the blanks between them."""
    found: list[str] = []
    for place, word in enumerate(text.split(" ")):
        found += [" "] if place else []
        found += [word] if word else []
    return found
