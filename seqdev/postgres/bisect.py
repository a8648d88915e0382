"""The sieve: a lot that the database refuses is parted until what is refused stands alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from seqdev.errors import Refused
from seqdev.postgres.engine import Transaction

T = TypeVar("T")
R = TypeVar("R")


@dataclass
class Sifted(Generic[T, R]):
    """What came of a lot. ``whole``: nothing of it was left untried."""

    accepted: list[R] = field(default_factory=list)
    """What ``attempt`` returned for each part."""
    refused: list[tuple[T, str]] = field(default_factory=list)
    """What was refused alone, and why."""
    whole: bool = True


def accept(
    transaction: Transaction,
    whole: Callable[[], R],
    lot: Callable[[], Sequence[T]],
    part: Callable[[Sequence[T]], R],
    enough: Callable[[Sifted[T, R]], bool],
) -> Sifted[T, R]:
    """Do ``whole``; if the database refuses that, do ``part`` with parts of ``lot``, chosen by ``sift``."""
    try:
        with transaction.savepoint():
            return Sifted([whole()])
    except Refused:
        pass

    def attempt(some: Sequence[T]) -> R:
        with transaction.savepoint():
            return part(some)

    return sift(lot(), attempt, enough)


def sift(
    lot: Sequence[T], attempt: Callable[[Sequence[T]], R], enough: Callable[[Sifted[T, R]], bool]
) -> Sifted[T, R]:
    """Part ``lot``, which was refused as a whole, until all of it is accepted, or refused alone.

    ``attempt`` does the work for a part, and raises Refused with nothing done. Finding one that is refused
    among n takes about log2(n) attempts. ``enough`` is asked between attempts whether to stop.

    Every second time the greatest part has its turn: most of a lot goes through early, even where those that
    are refused stand together; and where all are refused, that shows after few attempts.
    """
    found: Sifted[T, R] = Sifted()
    parts = [(lot, True)] if lot else []

    def goes(part: Sequence[T]) -> bool:
        try:
            found.accepted.append(attempt(part))
        except Refused as refusal:
            if len(part) == 1:
                found.refused.append((part[0], refusal.reason))
            return False
        return True

    turn = 0
    while parts:
        if enough(found):
            found.whole = False
            break
        turn += 1
        choose = max if turn % 2 else min
        part, holds_refused = parts.pop(choose(range(len(parts)), key=lambda i: len(parts[i][0])))
        if len(part) == 1:
            goes(part)
        elif not holds_refused:
            if not goes(part):
                parts.append((part, True))
        else:
            half = len(part) // 2
            first, second = part[:half], part[half:]
            accepted = goes(first)
            # What refused the whole must be in the other half then.
            parts.append((second, accepted))
            if not accepted and len(first) > 1:
                parts.append((first, True))
    return found
