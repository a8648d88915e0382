"""The page of JSON fields: what every command prints with --format json, found by running the commands.

The tables are recorded as the writer gets them, so that nobody has to list which dataclass which command prints.
What a field means is said once: by the docstring below the field, else in the header of the statement whose
column it is.
"""

import ast
import inspect
import itertools
import re
import sys
import types
import typing
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime, timedelta
from functools import cache
from itertools import pairwise
from typing import Any
from uuid import UUID

from seqdev.output.render import Table
from seqdev.output.text import Phone
from seqdev.postgres.queries import ROOT
from tests.contract.owners import OWNERS

HEAD = """\
# Which JSON fields does a command print?

The names, types and meanings below are an interface: they stay as they are from release to release. `make docs`
writes this page from the code.

- A command prints one table, as an array of objects or as a single object, or several, as an object with their names
  as keys.
- An id is a string. An instant is a string in ISO 8601 with its offset from UTC. A duration (`seconds`) is a number.
- A phone is a string; `--mask` hides all but its first and last three digits.
- `null` stands for what does not exist or is not known.
- `jsonl`, `csv` and `tsv` hold one kind of row: the first table, and of repairs `rows`. Only `explain` differs: it
  prints a story a line as `jsonl`, and a step a line as `csv` and `tsv`; with `--at` a step a line in all three.

"""

SIMPLE = {
    bool: "boolean",
    datetime: "instant",
    float: "number",
    int: "integer",
    str: "string",
    timedelta: "seconds",
    Phone: "phone",
    UUID: "id",
}


@dataclass(frozen=True)
class Shape:
    """A table on the page. ``row`` is the dataclass in the code; None where the columns are the user's own."""

    name: str
    row: type[Any] | None
    columns: tuple[str, ...]
    single: bool

    @classmethod
    def of(cls, table: Table) -> "Shape":
        """The shape of a table that a command prints."""
        row = getattr(sys.modules[table.row.__module__], table.row.__name__, None)
        return cls(
            table.name, row, tuple(field.name for field in fields(table.row)) if row else (), table.single
        )


@dataclass(frozen=True)
class Field:
    """A line of the page. The field is ``path``; ``[]`` stands for each of an array."""

    path: str
    type: str
    meaning: str


@dataclass(frozen=True)
class Printed:
    """What one run of a command printed with --format json."""

    command: str
    shapes: tuple[Shape, ...]
    document: Any


class Page:
    """The page as it grows. What one section has said of a dataclass, another only points to."""

    def __init__(self) -> None:
        self.text = HEAD
        self._said: dict[Any, str] = {}

    def add(self, commands: list[str], shapes: tuple[Shape, ...]) -> None:
        """A section: ``commands`` print ``shapes``."""
        first, *others = commands
        self.text += f"## {first}\n\n"
        if others:
            self.text += f"The same fields: {', '.join(f'`{other}`' for other in others)}.\n\n"
        for shape in shapes:
            what = "n object" if shape.single else "n array of objects"
            self.text += f"`{shape.name}`, a{what}:" if shape.name else f"A{what}:"
            place = f"[{first}](#{first.replace(' ', '-')})"
            self._table(shape, f"`{shape.name}` in {place}" if shape.name else place)

    def _table(self, shape: Shape, place: str) -> None:
        if shape.row is None:
            self.text += " the columns of your statement.\n\n"
            return
        known = [(one, shape.columns[: len(fields(one))]) for one in shape.row.__mro__ if is_dataclass(one)]
        before = next((one for one in known if one in self._said), None)
        columns = shape.columns[len(before[1]) :] if before else shape.columns
        if before:
            self.text += f" the fields of {self._said[before]}{', and:' if columns else '.'}"
        self._said.setdefault((shape.row, shape.columns), place)
        lines = list(_fields(shape.row, columns, {}))
        if lines:
            self.text += "\n\n| field | type | meaning |\n|---|---|---|"
        for line in lines:
            self.text += f"\n| `{line.path}` | {line.type} | {line.meaning.replace('|', chr(92) + '|')} |"
        self.text += "\n\n"


def page(runs: list[Printed], order: list[str]) -> str:
    """The page, in the ``order`` of the commands. Those that print the same tables share a section."""

    def place(run: Printed) -> tuple[int, str]:
        return max(i for i, path in enumerate(order) if f"{run.command} ".startswith(f"{path} ")), run.command

    sections: dict[tuple[Shape, ...], dict[str, None]] = {}
    for run in sorted(runs, key=place):
        sections.setdefault(run.shapes, {})[run.command] = None
    made = Page()
    for shapes, commands in sections.items():
        made.add(list(commands), shapes)
    return made.text.rstrip() + "\n"


def _fields(
    row: type[Any], columns: Collection[str], said: dict[type[Any], str], prefix: str = ""
) -> Iterator[Field]:
    """The ``columns`` of a dataclass, with the fields of the dataclasses in it. ``said``: where these were."""
    hints = typing.get_type_hints(row)
    for name in columns:
        kind, inner, each = _kind(hints[name])
        path, meaning = f"{prefix}{name}", _meaning(row, name)
        if inner in said:
            meaning += f"; as `{said[inner]}`"
        yield Field(path, kind, meaning)
        if inner and inner not in said:
            said[inner] = path + each
            yield from _fields(inner, [field.name for field in fields(inner)], said, f"{path}{each}.")


def dataclasses_in(row: type[Any]) -> Iterator[type[Any]]:
    """A dataclass, and those that its fields hold."""
    yield row
    hints = typing.get_type_hints(row)
    for field in fields(row):
        if inner := _kind(hints[field.name])[1]:
            yield from dataclasses_in(inner)


def _kind(hint: Any) -> tuple[str, type[Any] | None, str]:
    """The type in words; of a dataclass, or a list of them, that dataclass, and ``[]`` for a list."""
    parts = typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else (hint,)
    (hint,) = (part for part in parts if part is not types.NoneType)
    null = " or null" if types.NoneType in parts else ""
    origin = typing.get_origin(hint) or hint
    if origin is list:
        (item,) = typing.get_args(hint)
        if isinstance(item, type) and is_dataclass(item):
            return f"array of objects{null}", item, "[]"
        return f"array of {_kind(item)[0]}s{null}", None, ""
    if isinstance(hint, type) and is_dataclass(hint):
        return f"object{null}", hint, ""
    if origin in (dict, Mapping):
        values = typing.get_args(hint)[1]
        return (f"object of {SIMPLE[values]}s" if values in SIMPLE else "object") + null, None, ""
    return SIMPLE[hint] + null, None, ""


def _meaning(row: type[Any], name: str) -> str:
    """What a field means. Nothing says it: KeyError."""
    for one in row.__mro__:
        if is_dataclass(one) and name in _docstrings(one):
            text = _docstrings(one)[name].replace("``", "`").replace("None", "null")
            return text[0].lower() + text[1:]
    (meaning,) = {_columns(query.path)[name] for query in OWNERS if query.row in row.__mro__}
    return meaning


@cache
def _docstrings(row: type[Any]) -> dict[str, str]:
    """The strings below the fields of a dataclass, which Python does not keep."""
    (found,) = ast.parse(inspect.cleandoc(inspect.getsource(row))).body
    assert isinstance(found, ast.ClassDef)
    return {
        field.target.id: " ".join(text.value.value.split()).removesuffix(".")
        for field, text in pairwise(found.body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


@cache
def _columns(path: str) -> dict[str, str]:
    """The columns that the header of a statement declares, and what they mean."""
    _, _, row = (ROOT / path).read_text().partition("-- Row:\n")
    lines = itertools.takewhile(lambda line: line.startswith("--   "), row.splitlines())
    return {name: meaning for name, _, meaning in (line[5:].split(maxsplit=2) for line in lines)}


_TABLE = re.compile(
    r"^(?:`(\w+)`, a|A)n (?:object|array of objects):"
    r"(?: the fields of (?:`(\w+)` in )?\[(.*?)\]\(.*?\)(?:\.|, and:)| the columns of your statement\.)?$",
    re.MULTILINE,
)


def documented(text: str) -> dict[str, dict[str, dict[str, str]]]:
    """The page read back: by command the tables, by table (without a name where it is one) the fields' types."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    for section in text.split("\n## ")[1:]:
        head, *tables = _TABLE.split(section)
        commands = [head.split("\n")[0], *re.findall("`(.*?)`", head)]
        said: dict[str, dict[str, str]] = {}
        for name, of_table, of_command, table in zip(*(tables[n::4] for n in range(4)), strict=True):
            kinds = dict(
                found.get(of_command, said if of_command == commands[0] else {}).get(of_table or "", {})
            )
            for path, kind, meaning in re.findall(r"^\| `(\S+)` \| ([^|]+?) \| (.*) \|$", table, re.M):
                kinds[path] = kind
                if as_there := re.search(r"; as `(\S+)`$", meaning):
                    each = "[]" if kind.startswith("array") else ""
                    kinds |= {
                        below.replace(as_there[1], path + each, 1): type_
                        for below, type_ in kinds.items()
                        if below.startswith(f"{as_there[1]}.")
                    }
            said[name or ""] = kinds
        found |= dict.fromkeys(commands, said)
    return found


def printed(document: Any, opaque: set[str], at: str = "") -> Iterator[str]:
    """The names of all fields in a document, in the words of the page. What is in ``opaque`` is data."""
    if isinstance(document, list):
        for item in document:
            yield from printed(item, opaque, at + "[]" if at else "")
    elif isinstance(document, dict) and at not in opaque:
        for name, value in document.items():
            path = f"{at}.{name}" if at else name
            yield path
            yield from printed(value, opaque, path)
