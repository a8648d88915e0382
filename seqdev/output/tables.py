"""Rows as tables: every column for programs, some of them for people."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, make_dataclass
from typing import Any, get_type_hints

from seqdev.output.columns import Named
from seqdev.output.render import Format, Table
from seqdev.output.tones import Tone, Toned

LISTED = 20
"""Rows that a command lists unless told otherwise."""


SEVERITIES = {1: Tone.CRITICAL, 2: Tone.WARNING, 3: None}
"""The tones of what audits call 1, 2 and 3."""
_SEVERE = {"critical": Tone.CRITICAL, "warning": Tone.WARNING, "note": None}


def for_people(output: Format) -> bool:
    """Whether the output is a screen or a page, not something that programs read."""
    return output in (Format.TABLE, Format.MARKDOWN)


def published(name: str, row: type[Any], rows: Iterable[Any]) -> Table:
    """``rows`` as they are, without the account that each of them repeats."""
    hints = get_type_hints(row, include_extras=True)
    account = ("total", "found", "summary") if "total" in hints else ()
    columns = [column.name for column in fields(row) if column.name not in account]
    kind = make_dataclass(row.__name__, [(c, hints[c]) for c in columns])
    # It stands for that dataclass: docs/json-fields.md takes the meaning of the columns from there.
    kind.__module__ = row.__module__
    return Table(name, kind, rows)


def brief(name: str, row: type[Any], rows: Sequence[Any]) -> Table:
    """``rows`` with the columns of ``row.brief``, for people: devices by name and id, findings by severity.

    Columns without any value are left out, and those with nothing but what ``row.usual`` says of them.
    """
    hints = get_type_hints(row, include_extras=True)
    usual = (None, "", *getattr(row, "usual", ()))
    cells = {column: [_cell(one, column) for one in rows] for column in row.brief}
    columns = [column for column in row.brief if any(cell not in usual for cell in cells[column])]
    kinds = {column: Named if _name_of(row, column) else hints.get(column, str) for column in columns}
    return made(name, kinds, list(zip(*(cells[column] for column in columns), strict=True)))


def shown(output: Format, name: str, row: type[Any], rows: Sequence[Any]) -> Table:
    """``rows`` as ``output`` has them: brief for people, published for programs."""
    return (brief if for_people(output) else published)(name, row, rows)


def made(name: str, kinds: Mapping[str, Any], rows: Sequence[Sequence[Any]]) -> Table:
    """``rows`` of columns that are known only now; ``kinds``: their types."""
    kind = make_dataclass("Made", list(kinds.items()))
    return Table(name, kind, [kind(*row) for row in rows])


def _cell(row: Any, column: str) -> Any:
    if name := _name_of(type(row), column):
        identity = getattr(row, f"{column}_id")
        return None if identity is None else Named(getattr(row, name), identity)
    value = getattr(row, column)
    if column == "finding" and (severity := getattr(row, "severity", None)) in _SEVERE:
        # As bad as it says beside it, whatever else the word means elsewhere.
        return Toned(value, _SEVERE[severity])
    account = getattr(row, "found", None)
    if isinstance(account, dict) and isinstance(value, str) and value in account:
        return Toned(value, SEVERITIES[account[value]["severity"]])
    return value


def _name_of(row: type[Any], column: str) -> str | None:
    """The field with the name of what the column is about, where an id stands beside it."""
    hints = get_type_hints(row)
    if not column.endswith("device") or f"{column}_id" not in hints:
        return None
    return next((name for name in (f"{column}_name", column) if hints.get(name) in (str, str | None)), None)
