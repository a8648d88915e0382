"""Audit rows as tables: every column for programs, a few of them for people."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, make_dataclass
from datetime import datetime, timedelta
from typing import Any, get_type_hints

from seqdev.output.render import Format, Table
from seqdev.output.text import Phone

LISTED = 20
"""Rows that a command lists unless told otherwise."""

_COMFORTABLE = 10
"""Characters that a text gets before it is broken between words."""


_KEPT = (int, int | None, Phone, Phone | None)
"""What a cell for people stays; all else becomes text."""


@dataclass(frozen=True)
class Shown:
    """A table, and the columns that it had no room for."""

    table: Table
    left_out: Sequence[str] = ()


def for_people(output: Format) -> bool:
    """Whether the output is a screen or a page, not something that programs read."""
    return output in (Format.TABLE, Format.MARKDOWN)


def published(name: str, row: type[Any], rows: Iterable[Any]) -> Table:
    """``rows`` as they are, without the account that each of them repeats."""
    hints = get_type_hints(row)
    columns = [column.name for column in fields(row) if column.name not in ("total", "found")]
    shown = make_dataclass(row.__name__, [(c, hints[c]) for c in columns])
    # It stands for that dataclass: docs/json-fields.md takes the meaning of the columns from there.
    shown.__module__ = row.__module__
    return Table(name, shown, rows)


def brief(name: str, row: type[Any], rows: Sequence[Any], width: int | None = None) -> Shown:
    """``rows`` with the columns of ``row.brief``, for people: devices by name and short id, times short.

    Columns without any value are left out, and from the end those that do not fit into ``width``.
    """
    hints = get_type_hints(row)
    cells = {column: [_cell(one, column) for one in rows] for column in row.brief}
    columns = [column for column in row.brief if any(cell not in (None, "") for cell in cells[column])]
    fitting = columns if width is None else _fitting(columns, cells, width)
    kinds = [(column, hints[column] if hints[column] in _KEPT else str) for column in fitting]
    shown = make_dataclass(row.__name__, kinds)
    table = Table(name, shown, [shown(*values) for values in zip(*(cells[c] for c in fitting), strict=True)])
    return Shown(table, columns[len(fitting) :])


def made(
    name: str, kinds: Mapping[str, type[Any]], rows: Sequence[Sequence[Any]], width: int | None
) -> Shown:
    """``rows`` of columns that are known only now, but those at the end for which there is no room."""
    cells = {column: [row[place] for row in rows] for place, column in enumerate(kinds)}
    columns = list(kinds)
    fitting = columns if width is None else _fitting(columns, cells, width)
    shown = make_dataclass("Made", [(column, kinds[column]) for column in fitting])
    return Shown(Table(name, shown, [shown(*row[: len(fitting)]) for row in rows]), columns[len(fitting) :])


def _cell(row: Any, column: str) -> Any:
    value = getattr(row, column)
    if column.endswith("device"):
        identity = getattr(row, f"{column}_id")
        return None if identity is None else f"{value or '(gone)'} {str(identity)[:8]}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return short(value) if isinstance(value, timedelta) else value


def short(duration: timedelta) -> str:
    """``3d 4h``, ``4h 5m``, ``5m``, ``6s``."""
    seconds = int(duration.total_seconds())
    for size, unit, next_size, next_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit} {seconds % size // next_size}{next_unit}"
    return f"{seconds // 60}m" if seconds >= 60 else f"{seconds}s"


def _fitting(columns: Sequence[str], cells: dict[str, list[Any]], width: int) -> Sequence[str]:
    used = 1
    for number, column in enumerate(columns):
        texts = [column.replace("_", " "), *(str(cell) for cell in cells[column] if cell is not None)]
        used += 3 + min(max(map(len, texts)), max(_COMFORTABLE, _longest_word(texts)))
        if used > width and number:
            return columns[:number]
    return columns


def _longest_word(texts: Iterable[str]) -> int:
    return max((len(word) for text in texts for word in text.split()), default=0)
