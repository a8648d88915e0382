"""The indexes that are there against those that seqdev needs: by columns and predicate, not by name."""

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from seqdev.postgres.findings import Checked
from seqdev.postgres.transaction import Transaction

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import ReflectedIndex

_LITERAL = r"'(?:[^']|'')*'"
_WORD = r'(?:"(?:[^"]|"")*"|\w+)'
_CAST = re.compile(
    rf"({_LITERAL})|::{_WORD}(?:\.{_WORD})?(?: varying| with(?:out)? time zone)?(?:\(\d+\))?(?:\[\])?"
)
_TOKEN = re.compile(rf"{_LITERAL}|{_WORD}|[^\s()]")
_LIST = re.compile(r"\[ (.*?) \]")


@dataclass(frozen=True)
class Present:
    """An index of the database. ``columns`` has None for an expression."""

    name: str
    columns: tuple[str | None, ...]
    conditions: frozenset[str]
    ordinary: bool
    """A B-tree, ordered as the types of its columns are."""
    finished: bool
    constraint: bool
    """It goes and comes with a constraint."""

    def serves(self, columns: list[str], conditions: frozenset[str]) -> bool:
        """Whether queries that an index with these columns and conditions is for find their rows by it."""
        begins = self.columns[: len(columns)] == (*columns,)
        return begins and self.conditions == conditions and self.ordinary and self.finished

    def __str__(self) -> str:
        """What it is on, in names of the schema: its predicate may have values."""
        if not self.finished:
            return f"{self.name} is not finished"
        columns = ", ".join(column or "an expression" for column in self.columns)
        rows = " of some rows" if self.conditions else ""
        return f"{self.name} is {'on' if self.ordinary else 'of another kind, on'} ({columns}){rows}"


def judge(transaction: Transaction, found: list[Checked]) -> list[Checked]:
    """``found``, in which the keys and indexes are compared with those that the database has."""
    needed = [one for one in found if one.table_name]
    if not needed:
        return found
    there = _present(transaction, needed)
    return [
        _judged(one, there.get((one.schema_name, one.table_name), [])) if one.table_name else one
        for one in found
    ]


def _judged(one: Checked, there: list[Present]) -> Checked:
    # Of a key ``found`` tells itself whether it is there: seqdev cannot write without.
    if one.status == "ok":
        return one
    if one.status == "advised" and any(
        index.serves(one.column_names or [], _conditions(one.predicate)) for index in there
    ):
        return replace(one, status="ok", remedy=None, mode=None)
    if one.building:
        return replace(one, why=f"{one.why}; another session is building it", remedy=None, mode=None)
    taken = next((index for index in there if index.name == one.index_name), None)
    if not taken:
        return one
    status = "wrong" if one.status == "missing" else one.status
    if taken.constraint:
        why = f"{one.why}; {taken}, and is a constraint's: give that another name"
        return replace(one, status=status, why=why, remedy=None, mode=None)
    return replace(one, status=status, why=f"{one.why}; {taken}: it is made anew", remedy=one.unmake)


def _present(transaction: Transaction, needed: list[Checked]) -> dict[tuple[str | None, str], list[Present]]:
    inspector = transaction.inspector()
    present: dict[tuple[str | None, str], list[Present]] = {}
    for schema in {one.schema_name for one in needed}:
        tables = [one.table_name for one in needed if one.schema_name == schema and one.table_name]
        for key, indexes in inspector.get_multi_indexes(schema, tables).items():
            present.setdefault(key, []).extend(map(_index, indexes))
        for key, primary in inspector.get_multi_pk_constraint(schema, tables).items():
            if primary and primary["name"]:
                columns = (*primary["constrained_columns"],)
                index = Present(
                    primary["name"], columns, frozenset(), ordinary=True, finished=True, constraint=True
                )
                present.setdefault(key, []).append(index)
    return present


def _index(index: "ReflectedIndex") -> Present:
    options = index.get("dialect_options", {})
    return Present(
        index["name"] or "",
        (*index["column_names"],),
        _conditions(options.get("postgresql_where")),
        ordinary={"postgresql_ops", "postgresql_using"}.isdisjoint(options),
        finished="postgresql_invalid" not in options,
        constraint="duplicates_constraint" in index,
    )


def _conditions(predicate: str | None) -> frozenset[str]:
    """What a predicate demands, without what the server adds to it: casts, brackets, an order of its own."""
    bare = _CAST.sub(lambda match: match[1] or "", predicate or "")
    words = (word if word.startswith(("'", '"')) else word.lower() for word in _TOKEN.findall(bare))
    return frozenset(filter(None, _LIST.sub(_sorted, " ".join(words)).split(" and ")))


def _sorted(match: re.Match[str]) -> str:
    return f"[ {' , '.join(sorted(match[1].split(' , ')))} ]"
