"""Bisection: where the database refuses many rows at once, halve them until those it refuses stand alone."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from seqdev.errors import Refused
from seqdev.postgres.transaction import Transaction

Item = TypeVar("Item")
Done = TypeVar("Done")


@dataclass
class Found(Generic[Item, Done]):
    """What came of the items."""

    done: list[Done] = field(default_factory=list)
    """What the work returned, for each group of items that the database took."""
    refused: list[tuple[Item, str]] = field(default_factory=list)
    """What the database refuses, and why."""
    complete: bool = True
    """Whether every item was tried."""


class Divisible(ABC, Generic[Item, Done]):
    """Work on many items that can be done for some of them at a time.

    ``whole`` and ``part`` raise Refused where the database refuses an item; then nothing of them is done.
    """

    @abstractmethod
    def whole(self) -> Done:
        """Do the work for all items."""

    @abstractmethod
    def items(self) -> Sequence[Item]:
        """The items that ``whole`` is about."""

    @abstractmethod
    def part(self, items: Sequence[Item]) -> Done:
        """Do the work for ``items``."""

    def is_enough(self, _: Found[Item, Done]) -> bool:
        """Whether to stop looking for more that the database refuses."""
        return False


def bisect(transaction: Transaction, work: Divisible[Item, Done]) -> Found[Item, Done]:
    """Do ``work``: as a whole, or if the database refuses that, for all items but those it refuses."""
    try:
        with transaction.savepoint():
            return Found([work.whole()])
    except Refused:
        pass

    def attempt(items: Sequence[Item]) -> Done:
        with transaction.savepoint():
            return work.part(items)

    return search(work.items(), attempt, work.is_enough)


def search(
    items: Sequence[Item],
    attempt: Callable[[Sequence[Item]], Done],
    is_enough: Callable[[Found[Item, Done]], bool],
) -> Found[Item, Done]:
    """Halve ``items``, which were refused as a whole, until each is accepted, or refused alone.

    ``attempt`` does the work for some of them, and raises Refused with nothing done. Finding one that is
    refused among n takes about log2(n) attempts. ``is_enough`` is asked before each of them.

    Every second time the largest group has its turn: most items go through early, even where those that are
    refused stand together; and where all are refused, that shows after few attempts.
    """
    found: Found[Item, Done] = Found()
    groups = [(items, True)] if items else []

    def accepts(group: Sequence[Item]) -> bool:
        try:
            found.done.append(attempt(group))
        except Refused as refusal:
            if len(group) == 1:
                found.refused.append((group[0], refusal.reason))
            return False
        return True

    turn = 0
    while groups:
        if is_enough(found):
            found.complete = False
            break
        turn += 1
        choose = max if turn % 2 else min
        group, holds_refused = groups.pop(choose(range(len(groups)), key=lambda i: len(groups[i][0])))
        if len(group) == 1:
            accepts(group)
        elif not holds_refused:
            if not accepts(group):
                groups.append((group, True))
        else:
            half = len(group) // 2
            first, second = group[:half], group[half:]
            accepted = accepts(first)
            # What refused the whole must be in the other half then.
            groups.append((second, accepted))
            if not accepted and len(first) > 1:
                groups.append((first, True))
    return found
