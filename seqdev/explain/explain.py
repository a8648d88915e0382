"""The whole story of a person: leads, enrolments, steps, and what stops the steps that wait.

Everything is read in one read-only transaction, as of its one instant. The gates are computed by
``explain/gates.sql``, in the order of the tick's judgement; what each policy would do with them is
decided here, by the table of the policies.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from seqdev import gates, replies
from seqdev.errors import SchemaError
from seqdev.explain.rows import (
    BLOCKED,
    CANDIDATES,
    GATES,
    LEADS,
    MESSAGES,
    NEAR,
    POLICIES,
    SPELLINGS,
    STEPS,
    TRIGGERS,
    Call,
    Candidate,
    Enrolment,
    Explanation,
    Gate,
    Lead,
    PolicyOutcome,
    Step,
    Story,
    Waiting,
)
from seqdev.output.text import Phone
from seqdev.parameters import window
from seqdev.phone import digits, national, unwrapped
from seqdev.postgres import lookup
from seqdev.postgres.engine import Database
from seqdev.postgres.transaction import Transaction
from seqdev.settings import Policy, Settings

OTHER_MESSAGES = 10
"""Messages of others to list for each user; their number is always said."""

_AVAILABILITY = ("grace", "online", "new_chats", "capacity")
_DEVICE_GATES = ("device_assigned", "device_exists", "same_user", *_AVAILABILITY)
_LEAD_GATE = "lead"
"""Asked last, as the tick does: the lookup of the leads of all who wait would take long."""
# The signs that people put between digits, and what phones copied from chats are wrapped in.
_SIGNS = re.compile("[\\s().+/\u00ad\u200b-\u200f\u2010-\u2015\u202a-\u202e\u2060-\u2069\ufeff-]+")
_SAME_DIGITS = 8
_NONE = UUID(int=0)


def writings(typed: str) -> list[str]:
    """What to look up for a phone as a person typed it: its digits first, and as it was typed."""
    typed = typed.encode("utf-8", "replace").decode()
    digits = _SIGNS.sub("", unwrapped(typed))
    bare = digits.removeprefix("00")
    jid = [f"{bare}@s.whatsapp.net"] if bare.isdecimal() else []
    tried = [bare, f"+{bare}", digits, *jid, typed.strip()] if digits else []
    return list(dict.fromkeys([*tried, typed]))


def explain(database: Database, typed: str, user: str | None) -> Explanation:
    """The story of the phone ``typed``, with all users or the one whose id begins with ``user``.

    Raises UsageError when there is no such user.
    """

    def work(transaction: Transaction) -> Explanation:
        owner = (
            lookup.resolve(transaction, lookup.Kind.USER, user, beginning=True) if user is not None else None
        )
        asked = {"phone": unwrapped(typed), **national(transaction.settings.region)}
        spellings = [row.phone for row in transaction.rows(SPELLINGS, **asked)]
        phones = list(dict.fromkeys([*writings(typed), *spellings]))
        international = digits(typed, transaction.settings.region)
        return _explain(transaction, transaction.settings, phones, owner, international)

    return database.retry(work, read_only=True)


def _explain(
    tx: Transaction, settings: Settings, phones: Sequence[str], user: UUID | None, international: str
) -> Explanation:
    who = {"phones": phones, "user": user}
    may_be_sent = gates.steps(tx, settings, timed=True)
    online = gates.devices(tx, settings, Policy.STRICT, gates.Asked(counted="no"))
    blocked = tx.rows(BLOCKED, **who, **national(settings.region)) if gates.knows_blocked(tx) else []
    # The gates last: what they say is what the next tick finds.
    leads = tx.rows(LEADS, **who, **gates.handed_to(LEADS, online))
    asked = {
        **who,
        "blocked": any(one.user_id is None for one in blocked),
        "blocked_for": [one.user_id for one in blocked if one.user_id],
    }
    calls = _calls(tx, settings, asked, leads, may_be_sent) if leads else []
    messages = tx.rows(MESSAGES, **who, listed=OTHER_MESSAGES)
    steps = tx.rows(STEPS, **who, **gates.handed_to(STEPS, may_be_sent, online))
    own = {step.device_id for step in steps if step.device_id}
    waits = {"active", *settings.waiting_statuses}
    stopping = _stopping(tx) if any(step.status in waits for step in steps) else _Stopping()
    shown = tx.rows(
        GATES,
        now=tx.now,
        **who,
        **window(settings, tx.now),
        waiting=settings.waiting_statuses,
        done=settings.done_statuses,
        failed=settings.failed_statuses,
        # They are ahead of nobody.
        replied=list(stopping.wrote),
        **gates.handed_to(
            GATES,
            # Who is ahead is asked by the hours of everybody, this person by their own.
            gates.windows(tx, settings, {step.sequence_id for step in steps}, international),
            may_be_sent,
            # Without a device there is none to ask about.
            gates.devices(tx, settings, Policy.STRICT, gates.Asked(own or {_NONE}, counted="all")),
        ),
    )
    stoppable = [one for one in steps if one.status in waits and one.sequence_id in stopping.sequences]
    shown = [*(_reply(one, stopping) for one in stoppable if one.contact_id), *shown]
    users = sorted(
        {row.user_id for row in leads} | {row.user_id for row in steps} | {row.user_id for row in messages},
        key=str,
    )
    shut = {gate.contact_id for gate in shown if gate.gate in _DEVICE_GATES and gate.open is False}
    owners = {step.user_id for step in steps if step.contact_id in shut and step.user_id}
    candidates = _candidates(tx, settings, owners, phones) if owners else []
    own_policies: dict[UUID | None, str] = {}
    if settings.policies:
        own_policies |= {row.user_id: row.policy for row in tx.rows(POLICIES, users=users)}
    # A phone nobody knows is a phone mistyped, as a rule.
    near = [] if users or blocked else tx.rows(NEAR, digits=phones[0][-_SAME_DIGITS:], user=user)
    stories = []
    for one in users:
        others = [row for row in messages if row.user_id == one]
        own_steps = [row for row in steps if row.user_id == one]
        free = [row for row in candidates if row.user_id == one]
        stories.append(
            Story(
                user_id=one,
                leads=[row for row in leads if row.user_id == one],
                triggers=[row for row in calls if row.user_id == one],
                policy=own_policies.get(one, settings.policy),
                policy_by="user" if one in own_policies else "all",
                enrolments=_enrolments(own_steps),
                waiting=_waiting(own_steps, shown, free, own_policies.get(one, settings.policy), tx.now),
                messages=others,
                messages_total=others[0].total if others else 0,
            )
        )
    return Explanation(
        Phone(phones[0]), tx.now, settings.policy, bool(users or blocked), blocked, stories, near
    )


def _calls(
    tx: Transaction,
    settings: Settings,
    who: Mapping[str, object],
    leads: Iterable[Lead],
    may_be_sent: gates.Answers,
) -> list[Call]:
    """What an enrolment would say to each trigger of the ``leads``."""
    waiting = {"waiting": settings.waiting_statuses}
    same = gates.persons(tx, settings, {**waiting, "leads": [lead.lead_id for lead in leads]})
    return tx.rows(TRIGGERS, **who, **waiting, **gates.handed_to(TRIGGERS, may_be_sent, same))


@dataclass(frozen=True)
class _Stopping:
    """What the next tick stops because people have written back, where a rule says so."""

    sequences: Sequence[UUID] = ()
    """Those that people leave when they write back."""
    wrote: Mapping[UUID, datetime] = field(default_factory=dict)
    """The rows it stops, with the instant at which their people wrote."""
    trouble: str | None = None
    """Why nobody can read who has."""


def _stopping(tx: Transaction) -> _Stopping:
    stopping = replies.stops(tx)
    if not stopping:
        return _Stopping()
    try:
        found = replies.found(tx, stopping, replies.inbox(tx, tx.settings))
    except SchemaError as error:
        return _Stopping(stopping.sequences, trouble=error.message)
    return _Stopping(stopping.sequences, {row.row_id: row.at for row in found})


def _reply(step: Step, stopping: _Stopping) -> Gate:
    """Whether the next tick ends the step because its person has written back."""
    assert step.contact_id
    wrote = stopping.wrote.get(step.contact_id)
    return Gate(
        contact_id=step.contact_id,
        gate="reply",
        reason="replies_unread" if stopping.trouble else "replied",
        open=not (stopping.trouble or wrote),
        since=wrote,
        eligible_at=None,
        detail=stopping.trouble
        or ("they have written back: the next tick stops the step" if wrote else None),
    )


def _candidates(
    tx: Transaction, settings: Settings, users: Iterable[UUID], phones: Sequence[str]
) -> list[Candidate]:
    """Where fallback and reassign would go with this person, of each user's devices."""
    devices = gates.devices(tx, settings, Policy.STRICT, gates.Asked(users=users))
    given = {"phones": phones, "failed": settings.failed_statuses}
    return tx.rows(CANDIDATES, **given, **gates.handed_to(CANDIDATES, devices))


def _enrolments(steps: Iterable[Step]) -> list[Enrolment]:
    found: dict[tuple[UUID, str], list[Step]] = {}
    for step in steps:
        found.setdefault((step.sequence_id, step.phone), []).append(step)
    return [
        Enrolment(
            sequence_id=first.sequence_id,
            sequence_name=first.sequence_name,
            sequence_active=first.sequence_active,
            phone=first.phone,
            name=next((step.contact_name for step in own if step.contact_name), None),
            steps=own,
        )
        for own in found.values()
        for first in own[:1]
    ]


def _waiting(
    steps: Iterable[Step],
    gates: Iterable[Gate],
    candidates: Sequence[Candidate],
    policy: str,
    now: datetime,
) -> list[Waiting]:
    contacts = {step.contact_id: step for step in steps}
    found: dict[UUID, list[Gate]] = {}
    for gate in gates:
        # A row that a tick made after the steps were read has gates, but no step: the next look shows both.
        if gate.contact_id in contacts:
            found.setdefault(gate.contact_id, []).append(gate)
    waiting = []
    for contact, own in found.items():
        step = contacts[contact]
        asked = [gate for gate in own if _asks(Policy(policy), gate)]
        stop = next((gate for gate in asked if gate.open is False), None)
        waiting.append(
            Waiting(
                step=step,
                already_queued=step.message_by == "seqdev",
                stopped_by=stop.gate if stop else None,
                reason=stop.reason if stop else None,
                since=stop.since if stop else None,
                eligible_at=stop.eligible_at if stop else now,
                gates=own,
                policies=[_outcome(name, step, own, candidates) for name in Policy],
            )
        )
    return waiting


def _asks(policy: Policy, gate: Gate) -> bool:
    """Whether ``policy`` asks this gate: queue leaves it to the sender whether a device is available."""
    if gate.gate == "grace":
        return policy.moves
    return policy is not Policy.QUEUE or gate.gate not in _AVAILABILITY


def _outcome(
    policy: Policy, step: Step, gates: Sequence[Gate], candidates: Sequence[Candidate]
) -> PolicyOutcome:
    """What ``policy`` does, by the table of the policies."""
    shut = [row for row in gates if row.open is False]
    early = next((row for row in shut if row.gate not in (*_DEVICE_GATES, _LEAD_GATE)), None)
    asked = [row for row in shut if _asks(policy, row)]
    stop = next((row for row in asked if row.gate in (*_DEVICE_GATES, _LEAD_GATE)), None)
    device: tuple[UUID | None, str | None] = (step.device_id, step.device_name)
    later = "queue"
    if stop:
        others = [one for one in candidates if one.device_id != step.device_id]
        leadless = any(row.gate == _LEAD_GATE for row in shut)
        if policy.moves and others and not leadless and stop.gate != "grace":
            device = (others[0].device_id, others[0].device_name)
        else:
            later, device = stop.reason, (None, None)
    return PolicyOutcome(
        policy=policy.value,
        decision=early.reason if early else later,
        when_eligible=later,
        device_id=device[0],
        device_name=device[1],
        reassigns=policy is Policy.REASSIGN and device[0] not in (None, step.device_id),
    )
