"""What ``db check`` says of sizes: notes, which change no exit code."""

from collections.abc import Iterator, Sequence

from seqdev.output.words import counted, size
from seqdev.postgres.sizes import LARGE, Size

_NAMED = 3
"""The largest are named one by one."""
_JOURNAL = ("change", "run")


def said(found: Sequence[Size]) -> Iterator[str]:
    """The lines."""
    tables = [one for one in found if one.kind == "table"]
    indexes = [one for one in found if one.kind == "index"]
    if tables:
        yield f"seqdev's own tables: {_sum(tables)}"
    if indexes:
        yield f"its indexes on the host's tables: {_sum(indexes)}"
    for one in found:
        if one.advice:
            yield (
                f"index {one.name} takes {size(one.bytes)}, and {size(one.expected or 0)} would do for its "
                f"{counted(one.rows or 0, 'row')}: its owner can build it anew while everything runs, "
                f"outside a transaction: {one.advice}"
            )
    journal = sum(one.bytes for one in tables if one.name in _JOURNAL)
    if journal >= LARGE:
        yield (
            f"the journal takes {size(journal)}: what is old and in effect no more can go: "
            "seqdev journal prune --keep 90d --dry-run"
        )


def _sum(found: Sequence[Size]) -> str:
    named = ", ".join(f"{one.name} {size(one.bytes)}{_rows(one)}" for one in found[:_NAMED])
    others = f", {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return f"{size(sum(one.bytes for one in found))} ({named}{others})"


def _rows(one: Size) -> str:
    return " of rows not analysed" if one.rows is None else f" of {counted(one.rows, 'row')}"
