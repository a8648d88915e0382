"""Rules: which are set and which decides, how they change, and who has changed them."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import ClassVar
from uuid import UUID

from seqdev.errors import StalePlan, UsageError
from seqdev.output.columns import Aged, Named, Prose
from seqdev.postgres import lookup
from seqdev.postgres.queries import Query
from seqdev.postgres.rules import meant
from seqdev.postgres.transaction import Transaction
from seqdev.rules import values
from seqdev.settings import PAUSED, RULES, Policy, Rules, Settings, text_of, value_of

_LIMIT = ("device", "user", "all")
_HOURS = ("sequence", "user", "all")
SCOPES = dict.fromkeys(RULES, ("all",)) | {
    "policy": ("user", "all"),
    "reenrol_after": ("sequence", "all"),
    "stop_on_reply": ("sequence", "user", "all"),
    "max_in_flight": _LIMIT,
    "max_per_hour": _LIMIT,
    "max_per_day": _LIMIT,
    "warm_up": _LIMIT,
    "new_chats_per_day": _LIMIT,
    "grace": _LIMIT,
    "return_home": ("user", "all"),
    "spread": ("user", "all"),
    "window": _HOURS,
    "zone": _HOURS,
}
"""For whom each rule can be set, the most specific first."""
HEEDED = {
    **dict.fromkeys(
        (
            "max_in_flight",
            "max_per_hour",
            "max_per_day",
            "spread",
            "warm_up",
            "new_chats_per_day",
            "restricted_errors",
        ),
        frozenset({Policy.STRICT, Policy.FALLBACK, Policy.REASSIGN}),
    ),
    "grace": frozenset(policy for policy in Policy if policy.moves),
    "return_home": frozenset({Policy.REASSIGN}),
}
"""Rules that not every policy of a tick heeds, and which do."""


def holder(scope: str, identity: UUID | None, name: str | None) -> str:
    """For whom a rule is set, in words: all, or one by its name and as much of its id as commands take."""
    return f"{scope} {Named(name, identity) if name else str(identity)[:8]}" if identity else scope


@dataclass(frozen=True)
class SetRule:
    """A row of ``rules/list.sql``: a rule that is set."""

    name: str
    scope: str
    scope_id: UUID | None
    scope_name: str | None
    value: str


@dataclass(frozen=True)
class Column:
    """A row of ``rules/columns.sql``: what the host has in a column of its own."""

    name: str
    source: str
    value: str


@dataclass(frozen=True)
class Rule:
    """A rule, and where its value comes from."""

    brief: ClassVar[tuple[str, ...]] = ("name", "value", "source", "holds_for", "default")

    name: str
    """The rule."""
    value: str
    """Its value."""
    source: str
    """rule: it is set in the database; default: it is not; else the column of the host's that says it, and
    whether it does not count: see the rule host_columns."""
    scope: str
    """For whom it is set: all, user, sequence, device; all for a default."""
    scope_name: str | None
    """Name of that sequence or device."""
    scope_id: UUID | None
    """Which user, sequence or device; null for all."""
    default: str | None
    """What holds where it is not set; null for a pause, a column, a rule that this version does not know."""

    @property
    def holds_for(self) -> str:
        """For whom, in words."""
        return holder(self.scope, self.scope_id, self.scope_name)


@dataclass(frozen=True)
class Change:
    """A change of a rule, planned or done."""

    brief: ClassVar[tuple[str, ...]] = ("name", "old_value", "new_value", "holds_for")

    name: str
    """The rule."""
    scope: str
    """For whom: all, user, sequence, device."""
    scope_name: str | None
    """Name of that sequence or device."""
    scope_id: UUID | None
    """Which user, sequence or device; null for all."""
    old_value: str | None
    """What was set; null: nothing."""
    new_value: str | None
    """What is set then; null: nothing."""

    @property
    def holds_for(self) -> str:
        """For whom, in words."""
        return holder(self.scope, self.scope_id, self.scope_name)


@dataclass(frozen=True)
class PastChange:
    """A row of ``rules/history.sql``."""

    brief: ClassVar[tuple[str, ...]] = (
        *("name", "old_value", "new_value", "holds_for", "changed_at", "why", "os_user", "run_id"),
    )

    changed_at: Aged
    name: str
    scope: str
    scope_id: UUID | None
    scope_name: str | None
    old_value: str | None
    new_value: str | None
    run_id: UUID
    command: str | None
    os_user: str | None
    host: str | None
    why: Prose | None
    total: int

    @property
    def holds_for(self) -> str:
        """For whom, in words."""
        return holder(self.scope, self.scope_id, self.scope_name)


@dataclass(frozen=True)
class Done:
    """The row of ``rules/set.sql``."""

    done: int


LIST = Query("rules/list.sql", SetRule)
COLUMNS = Query("rules/columns.sql", Column)
NOT_COUNTED = ", does not count"
"""After the name of a column of the host's that the rule host_columns leaves alone."""
TIMES = ("schedule_time", "time_schedule")
"""Of these, the columns with times of the day: what they hold is most likely meant."""
SET = Query("rules/set.sql", Done)
HISTORY = Query("rules/history.sql", PastChange)


@dataclass(frozen=True)
class Target:
    """For whom a rule is set, or asked about."""

    scope: str = "all"
    id: UUID | None = None
    name: str | None = None
    user: UUID | None = None


def target(
    tx: Transaction, user: str | None, sequence: str | None, device: str | None, *, beginning: bool = False
) -> Target:
    """For whom, by what was typed: one of the three, or all; ``beginning`` as for ``lookup.find``.

    Raises UsageError.
    """
    given = {"user": user, "sequence": sequence, "device": device}
    named = [(scope, text) for scope, text in given.items() if text is not None]
    if not named:
        return Target()
    if len(named) > 1:
        options = " and ".join(f"--{scope}" for scope, _ in named)
        raise UsageError(f"{options}: a rule is for one of them", "give one of --user, --sequence, --device")
    ((scope, text),) = named
    found = lookup.find(tx, lookup.Kind[scope.upper()], text, beginning=beginning)
    # A user by its id alone, as wherever rules and pauses are listed.
    return Target(scope, found.id, None if scope == "user" else found.name, found.user_id)


def listed(tx: Transaction, whose: Target, name: str | None = None) -> list[Rule]:
    """Every rule for all, and each that is set for a part.

    With a ``name``, or for a part: the one of each name that decides there.
    """
    if name is not None:
        _known(name)
    decides = whose.scope != "all" or name is not None
    found = tx.rows(
        LIST,
        name=name or "",
        narrowed=decides,
        device=whose.id if whose.scope == "device" else None,
        sequence=whose.id if whose.scope == "sequence" else None,
        user=whose.user,
    )
    names = [name] if name else [*RULES, *sorted({one.name for one in found} - set(RULES))]
    rules = []
    for known in names:
        own = [_shown(one) for one in found if one.name == known]
        default = [] if any(one.scope == "all" for one in own) or known not in RULES else [_default(known)]
        # The most specific first.
        rules += [*own, *default][:1] if decides else [*default, *own[::-1]]
    return rules


def of_host(tx: Transaction, whose: Target, rules: Sequence[Rule]) -> list[Rule]:
    """What the host's columns say of sequences, or of that in ``whose``; by ``rules`` it may not count."""
    if whose.scope not in ("all", "sequence"):
        return []
    counts = any(one.name == "host_columns" and one.value == "true" for one in rules)
    return [
        Rule(
            one.name,
            one.value,
            one.source if counts else f"{one.source}{NOT_COUNTED}",
            *("sequence", whose.name, whose.id, None),
        )
        for one in tx.rows(COLUMNS, sequence=whose.id)
    ]


def idle_columns(tx: Transaction) -> list[str]:
    """Columns of the host's that hold times of the day, and do not count."""
    found = [] if tx.settings.host_columns else tx.rows(COLUMNS, sequence=None)
    return [one.source for one in found if one.name in TIMES]


def not_counted(columns: Sequence[str]) -> str:
    """That these ``columns`` of the host's do not count, and what to do if they should."""
    return (
        f"the times of the day in {' and '.join(columns)} keep nothing back; "
        "if somebody has chosen them: seqdev rules set host_columns true"
    )


def _default(name: str) -> Rule:
    value = text_of(name, Rules())
    return Rule(name, value, "default", "all", None, None, value)


def _shown(one: SetRule) -> Rule:
    default = text_of(one.name, Rules()) if one.name in RULES else None
    return Rule(one.name, one.value, "rule", one.scope, one.scope_name, one.scope_id, default)


def planned(tx: Transaction, name: str, whose: Target, value: str | None) -> Change:
    """What setting the rule ``name`` changes; without a value it is taken away. Raises UsageError."""
    if value is not None or name in RULES:
        _known(name)
        if whose.scope not in SCOPES[name]:
            raise UsageError(
                f"{name} cannot be set for a {whose.scope}: it is for {_words(SCOPES[name])}",
                f"leave out --{whose.scope}",
            )
    if value is not None:
        value = values.kept(tx, name, value)
    return Change(name, whose.scope, whose.name, whose.id, _now(tx, name, whose), value)


def ignored(tx: Transaction, change: Change, whose: Target) -> str | None:
    """Why the rule that ``change`` sets has no effect for now, in words; None: it has."""
    heeding = HEEDED.get(change.name)
    if change.new_value is None or not heeding:
        return None
    found = listed(tx, whose, "policy" if whose.scope != "all" else None)
    policies = {Policy(one.value) for one in found if one.name == "policy"}
    if policies & heeding:
        return None
    return (
        f"{change.name} has no effect for now: the policy is {' and '.join(sorted(policies))}, and only "
        f"{', '.join(policy for policy in Policy if policy in heeding)} heed it: seqdev rules set policy …"
    )


def adopted(tx: Transaction, settings: Settings) -> list[Change]:
    """What makes the rules that this host's file and environment hold those of all hosts."""
    changes = []
    for name in RULES:
        if name not in settings.held:
            continue
        own, old = text_of(name, settings), _now(tx, name, Target())
        if value_of(name, own) != getattr(settings, name):
            raise UsageError(
                f"{name} in {settings.held[name]} has a value that cannot be kept: it has a comma in it"
            )
        if meant(getattr(settings, name)) != meant(
            getattr(Rules(), name) if old is None else value_of(name, old)
        ):
            changes.append(Change(name, "all", None, None, old, values.kept(tx, name, own)))
    return changes


def apply(tx: Transaction, run: UUID, changes: Sequence[Change]) -> None:
    """Carry out ``changes`` as ``run``. Raises StalePlan where one of these rules is another by now."""
    done = tx.one(
        SET,
        run=run,
        now=tx.now,
        names=[one.name for one in changes],
        scopes=[one.scope for one in changes],
        scope_ids=[one.scope_id for one in changes],
        expected=[one.old_value for one in changes],
        becomes=[one.new_value for one in changes],
    ).done
    if done != len(changes):
        raise StalePlan(
            "the plan no longer fits: somebody has changed the rule since; nothing was changed",
            "see what it is now, and set it again: seqdev rules list",
        )


def history(tx: Transaction, name: str | None, most: int | None) -> list[PastChange]:
    """Changes of rules, or of the rule ``name``, newest first."""
    return tx.rows(HISTORY, name=name or "", most=most)


def _now(tx: Transaction, name: str, whose: Target) -> str | None:
    for one in tx.rows(LIST, name=name):
        if (one.scope, one.scope_id) == (whose.scope, whose.id):
            return one.value
    return None


def _known(name: str) -> None:
    if name not in RULES:
        if name == PAUSED:
            raise UsageError("a pause is not set like a rule", "seqdev pause, and seqdev resume to lift it")
        alike = get_close_matches(name, RULES)
        hint = f"did you mean {' or '.join(alike)}?" if alike else f"known: {', '.join(RULES)}"
        raise UsageError(f"no rule {name!r}", hint)


def _words(scopes: Sequence[str]) -> str:
    said = ["all" if scope == "all" else f"a {scope}" for scope in scopes]
    return said[0] if len(said) == 1 else f"{', '.join(said[:-1])} or {said[-1]}"
