"""Bisection: where the database refuses many rows at once, halve them until those it refuses stand alone.

So are those found that cannot be written because another session holds a lock. They need not stand alone: the
row that is held may be one that many depend on, such as a device's.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Generic, TypeVar

from seqdev.errors import Held, Refused
from seqdev.postgres.transaction import Transaction

Item = TypeVar("Item")
Done = TypeVar("Done")

HELD_WAIT = timedelta(milliseconds=20)
"""How long a statement of the search waits for a lock: there are many of them."""


@dataclass
class Found(Generic[Item, Done]):
    """What came of the items."""

    done: list[Done] = field(default_factory=list)
    """What the work returned, for each group of items that the database took."""
    refused: list[tuple[Item, str]] = field(default_factory=list)
    """What the database refuses, and why."""
    held: list[tuple[Item, Held]] = field(default_factory=list)
    """What another session keeps from being done, and why."""
    complete: bool = True
    """Whether every item was tried."""


class Divisible(ABC, Generic[Item, Done]):
    """Work on many items that can be done for some of them at a time.

    ``whole`` and ``part`` raise Refused where the database refuses an item; then nothing of them is done.
    """

    passes_by = False
    """Whether to do without what another session holds; else the whole transaction is tried again."""

    @abstractmethod
    def whole(self) -> Done:
        """Do the work for all items."""

    @abstractmethod
    def items(self) -> Sequence[Item]:
        """The items that ``whole`` is about."""

    @abstractmethod
    def part(self, items: Sequence[Item]) -> Done:
        """Do the work for ``items``."""

    def keys(self, items: Sequence[Item], _: Held) -> Sequence[Hashable]:
        """For each item, the row of the table in question that it depends on; None: one known to be held."""
        return range(len(items))

    def is_enough(self, _: Found[Item, Done]) -> bool:
        """Whether to stop looking for more that the database refuses."""
        return False


def bisect(transaction: Transaction, work: Divisible[Item, Done]) -> Found[Item, Done]:
    """Do ``work``: as a whole, or if the database refuses that, for all items but those it refuses."""
    try:
        with transaction.savepoint(passes_by=work.passes_by):
            return Found([work.whole()])
    except Refused as error:
        refusal = error
    if work.passes_by:
        transaction.wait_at_most(HELD_WAIT)

    def attempt(items: Sequence[Item]) -> Done:
        with transaction.savepoint(passes_by=work.passes_by):
            return work.part(items)

    return search(work.items(), attempt, work.is_enough, work.keys, refusal)


def _each_its_own(items: Sequence[Item], _: Held) -> Sequence[Hashable]:
    return range(len(items))


def search(
    items: Sequence[Item],
    attempt: Callable[[Sequence[Item]], Done],
    is_enough: Callable[[Found[Item, Done]], bool],
    keys: Callable[[Sequence[Item], Held], Sequence[Hashable]] = _each_its_own,
    refusal: Refused | None = None,
) -> Found[Item, Done]:
    """Halve ``items``, which were refused as a whole, until each is accepted, or refused alone.

    ``attempt`` does the work for some of them, and raises Refused with nothing done; tried for all of them it
    has raised ``refusal``. Finding one that is refused among n takes about log2(n) attempts. ``is_enough`` is
    asked before each of them. Those that depend on one row that another session holds, by ``keys``, are never
    parted.

    Every second time the largest group has its turn: most items go through early, even where those that are
    refused stand together; and where all are refused, that shows after few attempts.
    """
    found: Found[Item, Done] = Found()
    groups: list[_Group[Item]] = []

    def refuse(group: Sequence[Item], why: Refused) -> None:
        if halves := _halves(group, why, keys):
            groups.append(_Group(group, why, halves))
        elif isinstance(why, Held):
            found.held += [(item, why) for item in group]
        else:
            found.refused.append((group[0], why.reason))

    def accepts(group: Sequence[Item]) -> bool:
        try:
            found.done.append(attempt(group))
        except Refused as why:
            refuse(group, why)
            return False
        return True

    if len(items) > 1:
        refuse(items, refusal or Refused(""))
    elif items:
        groups.append(_Group(items))
    turn = 0
    while groups:
        if is_enough(found):
            found.complete = False
            break
        turn += 1
        choose = max if turn % 2 else min
        group = groups.pop(choose(range(len(groups)), key=lambda i: len(groups[i].items)))
        if group.halves is None:
            accepts(group.items)
            continue
        first, second = group.halves
        # What refused the whole must be in the other half then.
        why = group.why if accepts(first) else None
        groups.append(_Group(second, why, _halves(second, why, keys) if why else None))
    return found


@dataclass(frozen=True)
class _Group(Generic[Item]):
    """Items to be tried; or known to hold something refused, and why, in two halves."""

    items: Sequence[Item]
    why: Refused | None = None
    halves: tuple[Sequence[Item], Sequence[Item]] | None = None


def _halves(
    group: Sequence[Item], why: Refused, keys: Callable[[Sequence[Item], Held], Sequence[Hashable]]
) -> tuple[Sequence[Item], Sequence[Item]] | None:
    """Two parts of ``group`` that may fare differently; None where it was refused and there are none."""
    half = len(group) // 2
    if not isinstance(why, Held):
        return (group[:half], group[half:]) if half else None
    by_key: dict[Hashable, list[Item]] = {}
    for item, key in zip(group, keys(group, why), strict=True):
        by_key.setdefault(key, []).append(item)
    known = by_key.pop(None, [])
    parts = list(by_key.values())
    if known and parts:
        return known, [item for part in parts for item in part]
    if len(parts) < 2:
        return None
    first = parts.pop(0)
    while len(parts) > 1 and len(first) + len(parts[0]) <= half:
        first = first + parts.pop(0)
    return first, [item for part in parts for item in part]
