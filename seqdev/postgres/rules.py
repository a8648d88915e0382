"""The rules that every host obeys: kept with the database, and read by every command before it decides."""

from dataclasses import dataclass, replace
from typing import Any

from seqdev.errors import UsageError
from seqdev.postgres.queries import Query
from seqdev.settings import PAUSED, RULES, Rules, Settings, text_of, value_of


@dataclass(frozen=True)
class Held:
    """The row of ``postgres/rules.sql``."""

    rules: dict[str, Any]
    policies: list[str]
    narrower: list[str]


HELD = Query("postgres/rules.sql", Held)


def decide(found: Held, given: Settings) -> Settings:
    """``given`` with the rules ``found`` in the database, and the defaults of those that are not set.

    A rule for this run only stays. Raises UsageError for one that the file or the environment holds and that
    is another than the database's, so that two hosts never decide differently; and for a rule of the database
    that this version does not know, or cannot read.
    """
    kept = found.rules
    if unknown := {*kept, *found.narrower} - {*RULES, PAUSED}:
        raise UsageError(
            f"the database holds the rule {min(unknown)!r}, which this version of seqdev does not know",
            "a newer version obeys it: upgrade seqdev on this host",
        )
    ruled = replace(Rules(), **{name: _read(name, value) for name, value in kept.items()})
    for name, where in given.held.items():
        if name in given.flags:
            continue
        if meant(getattr(given, name)) != meant(getattr(ruled, name)):
            held = text_of(name, given)
            source = "rule" if name in kept else "default, no rule being set,"
            raise UsageError(
                f"{name} is {held!r} in {where}, and the database's {source} is {text_of(name, ruled)!r}: "
                "every host obeys the database",
                f"take it out there; if it is to hold for all hosts, before that: seqdev rules set {name} "
                f"'{held}', or for all that this host has: seqdev rules adopt",
            )
    values = {name: getattr(ruled, name) for name in RULES if name not in given.flags}
    # For one run only, it is everybody's.
    own = [] if "policy" in given.flags else found.policies
    policies = tuple(_read("policy", value, " of a user") for value in own)
    return replace(given, **values, policies=policies, narrower=frozenset(found.narrower))


def overridden(found: Held, given: Settings) -> list[str]:
    """The rules that another value stands in for, for this run only, in words."""
    said, kept = [], found.rules
    if "policy" in given.flags and found.policies:
        said.append(f"for this run only: policy {given.policy}; there are users with another by rule")
    for name in sorted(given.flags & kept.keys()):
        rule = replace(Rules(), **{name: _read(name, kept[name])})
        if meant(getattr(given, name)) != meant(getattr(rule, name)):
            own = text_of(name, given)
            said.append(f"for this run only: {name} {own}; the rule is {text_of(name, rule)}")
    return said


def _read(name: str, value: str, whose: str = "") -> Any:
    try:
        return value_of(name, value)
    except UsageError as error:
        option = " (whose it is: seqdev rules list)" if whose else ""
        raise UsageError(
            f"the database's rule {name}{whose} cannot be {value!r}",
            f"set it anew{option}: seqdev rules set {name} VALUE{' --user ID' if whose else ''}",
        ) from error


def meant(value: object) -> object:
    """The value as it counts: statuses in any order."""
    return frozenset(value) if isinstance(value, tuple) else value
