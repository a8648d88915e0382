"""How it stood with a person at an instant of the past, from the journal and the rows' own instants.

What the host does not keep, such as the status of its devices, is not guessed: it is named.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from uuid import UUID

from seqdev import gates
from seqdev.explain.explain import writings
from seqdev.explain.rows import BLOCKED, SPELLINGS, Blocked
from seqdev.explain.then_rows import PAST_STEPS, PAST_WINDOWS, Past, PastGate, PastStep, PastWindow
from seqdev.journal.past import (
    BY_HAND,
    PAST_PAUSE,
    PAST_RULES,
    PAST_TICKS,
    PastPause,
    PastRule,
    Unknown,
    before,
    instant,
)
from seqdev.moments import Window
from seqdev.output.columns import called
from seqdev.output.text import Phone
from seqdev.phone import digits, national, unwrapped
from seqdev.postgres import lookup
from seqdev.postgres.engine import Database
from seqdev.postgres.transaction import Transaction

_ALWAYS = "daily 00:00-24:00"
_HOURS = ("window", "zone")


def stood(database: Database, typed: str, user: str | None, window: Window) -> Past:
    """How it stood with the phone ``typed`` at the end of ``window``.

    Raises UsageError where there is no such user, or where that instant is still to come.
    """
    at = window.until
    assert at is not None

    def work(tx: Transaction) -> Past:
        owner = lookup.resolve(tx, lookup.Kind.USER, user, beginning=True) if user is not None else None
        asked = {"phone": unwrapped(typed), **national(tx.settings.region)}
        spellings = [row.phone for row in tx.rows(SPELLINGS, **asked)]
        phones = list(dict.fromkeys([*writings(typed), *spellings]))
        return _stood(tx, phones, owner, instant(tx, at, window.zone), digits(typed, tx.settings.region))

    return database.retry(work, snapshot=True)


def _stood(
    tx: Transaction, phones: Sequence[str], user: UUID | None, at: datetime, international: str
) -> Past:
    settings = tx.settings
    who = {"phones": phones, "user": user}
    steps = tx.rows(PAST_STEPS, **who, at=at, done=settings.done_statuses, waiting=settings.waiting_statuses)
    blocked = tx.rows(BLOCKED, **who, **national(settings.region), at=at) if gates.knows_blocked(tx) else []
    ids = {one for step in steps for one in (step.user_id, step.sequence_id, step.device_id) if one}
    rules = tx.rows(PAST_RULES, at=at, ids=sorted(ids, key=str))
    (pause,) = tx.rows(PAST_PAUSE, at=at)
    waiting = [step for step in steps if step.state == "waiting"]
    shut: list[PastGate] = []
    hours = _Hours(tx, at, rules, international)
    for step in waiting:
        shut += _gates(step, at, pause, blocked, rules)
        if found := hours.gate(step):
            shut.append(found)
    return Past(
        Phone(phones[0]),
        at,
        tx.now,
        bool(steps),
        pause,
        blocked,
        steps,
        shut,
        rules,
        tx.rows(PAST_TICKS, at=at),
        [*before(pause, at), *_unknown(steps, rules, shut, settings.host_columns)],
    )


def _gates(
    step: PastStep, at: datetime, pause: PastPause, blocked: Sequence[Blocked], rules: Sequence[PastRule]
) -> Iterator[PastGate]:
    """What could have stopped ``step``, in the order of the tick's judgement."""
    if pause.paused_at:
        detail = f"all was paused by {pause.paused_by}: {pause.why}"
        yield PastGate(step.contact_id, "pause", "all_paused", False, None, detail)
    else:
        yield PastGate(step.contact_id, "pause", "all_paused", True, None, None)
    block = next((one for one in blocked if one.user_id in (None, step.user_id)), None)
    yield PastGate(
        step.contact_id,
        "blocked",
        "blocked",
        block is None,
        None,
        f"blocked by {block.blocked_by or 'nobody knows whom'}: {block.why}" if block else None,
    )
    due = None if step.due_at is None else step.due_at <= at
    yield PastGate(step.contact_id, "due", "not_due", due, None if due else step.due_at, None)
    own = [one for one in _for(step, rules) if one.name == "paused"]
    stops = next((one for one in own if one.is_on), None)
    yield PastGate(
        step.contact_id,
        "paused",
        "paused",
        False if stops else None if any(one.is_on is None for one in own) else True,
        None,
        f"{stops.scope} paused {stops.value}" if stops else None,
    )


def _for(step: PastStep, rules: Sequence[PastRule]) -> list[PastRule]:
    """The rules that are about ``step``: of its sequence, user and device."""
    own = {step.sequence_id, step.user_id, step.device_id} - {None}
    return [one for one in rules if one.scope_id in own]


class _Hours:
    """The windows as they were: asked of their gate at that instant, where the rules of then are known."""

    def __init__(self, tx: Transaction, at: datetime, rules: Sequence[PastRule], phone: str) -> None:
        self._tx = tx
        self._at = at
        self._rules = [one for one in rules if one.name in _HOURS]
        self._phone = phone
        self._asked: dict[UUID, dict[UUID, PastWindow]] = {}

    def gate(self, step: PastStep) -> PastGate | None:
        """The gate of ``step``; None where it has no hours."""
        own = [one for one in self._rules if one.scope_id in (None, step.sequence_id, step.user_id)]
        unsure = any(not one.is_known for one in own)
        # Another zone cannot be put in its place.
        moved = any(one.name == "zone" and one.value != one.value_now for one in own)
        if unsure or moved:
            why = "the zone was another then" if moved and not unsure else "set without the journal"
            return PastGate(step.contact_id, "window", "outside_window", None, None, why)
        if step.sequence_id not in self._asked:
            changed = any(one.value != one.value_now for one in own)
            self._asked[step.sequence_id] = self._ask(step, own if changed else [])
        found = self._asked[step.sequence_id].get(step.step_id) if step.step_id else None
        if found is None:
            return None
        return PastGate(step.contact_id, "window", "outside_window", found.open, found.opens_at, found.hours)

    def _ask(self, step: PastStep, changed: Sequence[PastRule]) -> dict[UUID, PastWindow]:
        """The answer of the gate for the sequence of ``step``, with the window of then."""
        windows = {one.scope: one.value for one in changed if one.name == "window" and one.value}
        held = next((windows[scope] for scope in ("sequence", "user", "all") if scope in windows), None)
        if not changed and not gates.has_hours(self._tx, self._tx.settings):
            return {}
        answers = gates.windows_at(
            self._tx,
            self._tx.settings,
            gates.Then(self._at, [step.sequence_id], self._phone, (held or _ALWAYS) if changed else ""),
        )
        rows = self._tx.rows(PAST_WINDOWS, **gates.handed_to(PAST_WINDOWS, answers))
        if changed:
            # Whose window it was: the gate takes what stands in for the rule of now.
            rows = [
                PastWindow(one.step_id, one.open, one.opens_at, f"{held or 'always'}, the rule of then")
                for one in rows
            ]
        return {one.step_id: one for one in rows}


_FIELDS = {
    "state": "whether the step was there, or waited",
    "status": "the status of the step",
    "due_at": "when the step was due",
    "completed_at": "when the step was done",
    "device_id": "the assigned device",
    "message": "whether its message was there, and sent",
    "message_device_id": "the device of its message",
}


def _unknown(
    steps: Sequence[PastStep], rules: Sequence[PastRule], shut: Sequence[PastGate], host_columns: bool
) -> Iterator[Unknown]:
    """What nothing tells of then: no more than what applies."""
    for name, words in _FIELDS.items():
        if days := [_place(step) for step in steps if name in step.unknown]:
            yield Unknown(f"{words}: {', '.join(days)}", "no instant of the row and no journal tells")
    for rule in rules:
        if not rule.is_known:
            whose = rule.scope_name or rule.scope
            yield Unknown(f"the rule {rule.name} for {whose}", "it was set without the journal")
    windows = [one for one in shut if one.gate == "window"]
    if any(one.open is None for one in windows):
        yield Unknown("whether the window was open", "its zone was another then, or set without the journal")
    if host_columns and windows:
        yield Unknown("the times of the host's own columns", "they are taken as they are now")
    if any(step.state == "waiting" for step in steps):
        yield Unknown("the devices' status and room", "the host keeps them as they are now: ask its log")
        yield Unknown("whether the sequence was active, and its steps", "the host keeps them as they are now")
    if steps:
        yield BY_HAND


def _place(step: PastStep) -> str:
    return f"{called(step.sequence_name, 'sequence gone')} day {'?' if step.day is None else step.day}"
