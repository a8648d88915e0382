"""Rows as tables: every column for programs, some of them for people."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, make_dataclass
from typing import Any, get_type_hints

from seqdev.output.columns import Named
from seqdev.output.render import Format, Table

LISTED = 20
"""Rows that a command lists unless told otherwise."""


def for_people(output: Format) -> bool:
    """Whether the output is a screen or a page, not something that programs read."""
    return output in (Format.TABLE, Format.MARKDOWN)


def published(name: str, row: type[Any], rows: Iterable[Any]) -> Table:
    """``rows`` as they are, without the account that each of them repeats."""
    hints = get_type_hints(row, include_extras=True)
    columns = [column.name for column in fields(row) if column.name not in ("total", "found", "summary")]
    shown = make_dataclass(row.__name__, [(c, hints[c]) for c in columns])
    # It stands for that dataclass: docs/json-fields.md takes the meaning of the columns from there.
    shown.__module__ = row.__module__
    return Table(name, shown, rows)


def brief(name: str, row: type[Any], rows: Sequence[Any]) -> Table:
    """``rows`` with the columns of ``row.brief``, for people: devices by name and id.

    Columns without any value are left out.
    """
    hints = get_type_hints(row, include_extras=True)
    cells = {column: [_cell(one, column) for one in rows] for column in row.brief}
    columns = [column for column in row.brief if any(cell not in (None, "") for cell in cells[column])]
    kinds = {column: Named if _is_named(row, column) else hints[column] for column in columns}
    return made(name, kinds, list(zip(*(cells[column] for column in columns), strict=True)))


def made(name: str, kinds: Mapping[str, Any], rows: Sequence[Sequence[Any]]) -> Table:
    """``rows`` of columns that are known only now; ``kinds``: their types."""
    shown = make_dataclass("Made", list(kinds.items()))
    return Table(name, shown, [shown(*row) for row in rows])


def _cell(row: Any, column: str) -> Any:
    value = getattr(row, column)
    if _is_named(type(row), column):
        identity = getattr(row, f"{column}_id")
        return None if identity is None else Named(value, identity)
    return value


def _is_named(row: type[Any], column: str) -> bool:
    """Whether it is the name of a device, whose id stands beside it."""
    return column.endswith("device") and any(one.name == f"{column}_id" for one in fields(row))
