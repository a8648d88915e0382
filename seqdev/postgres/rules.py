"""The rules that every host obeys: kept with the database, and read by every command before it decides."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from seqdev.errors import UsageError
from seqdev.postgres.queries import Query
from seqdev.settings import RULES, Rules, Settings, text_of, value_of

if TYPE_CHECKING:
    from seqdev.postgres.transaction import Transaction


@dataclass(frozen=True)
class Held:
    """The row of ``postgres/rules.sql``."""

    rules: dict[str, Any]


HELD = Query("postgres/rules.sql", Held)


def held(transaction: "Transaction") -> Mapping[str, str]:
    """The rules that hold for all, by name, as the database has them. The table has to be there."""
    return transaction.one(HELD).rules


def decide(kept: Mapping[str, str], given: Settings) -> Settings:
    """``given`` with the rules of the database, ``kept``, and the defaults of those that are not set.

    A rule for this run only stays. Raises UsageError for one that the file or the environment holds and that
    is another than the database's, so that two hosts never decide differently; and for a rule of the database
    that this version does not know, or cannot read.
    """
    if unknown := kept.keys() - set(RULES):
        raise UsageError(
            f"the database holds the rule {min(unknown)!r}, which this version of seqdev does not know",
            f"upgrade seqdev on this host; or drop the rule: seqdev rules unset {min(unknown)}",
        )
    ruled = replace(Rules(), **{name: _read(name, value) for name, value in kept.items()})
    for name, where in given.held.items():
        if name in given.flags:
            continue
        if meant(getattr(given, name)) != meant(getattr(ruled, name)):
            own = text_of(name, given)
            source = "rule" if name in kept else "default, no rule being set,"
            raise UsageError(
                f"{name} is {own!r} in {where}, and the database's {source} is {text_of(name, ruled)!r}: "
                "every host obeys the database",
                f"take it out there; if it is to hold for all hosts, before that: seqdev rules set {name} "
                f"'{own}', or for all that this host has: seqdev rules adopt",
            )
    return replace(given, **{name: getattr(ruled, name) for name in RULES if name not in given.flags})


def overridden(kept: Mapping[str, str], given: Settings) -> list[str]:
    """The rules that another value stands in for, for this run only, in words."""
    said = []
    for name in sorted(given.flags & kept.keys()):
        rule = replace(Rules(), **{name: _read(name, kept[name])})
        if meant(getattr(given, name)) != meant(getattr(rule, name)):
            own = text_of(name, given)
            said.append(f"for this run only: {name} {own}; the rule is {text_of(name, rule)}")
    return said


def _read(name: str, value: str) -> Any:
    try:
        return value_of(name, value)
    except UsageError as error:
        raise UsageError(
            f"the database's rule {name} cannot be {value!r}", f"set it anew: seqdev rules set {name} VALUE"
        ) from error


def meant(value: object) -> object:
    """The value as it counts: statuses in any order."""
    return frozenset(value) if isinstance(value, tuple) else value
