"""An explanation as people read it: what stops whom, and what to do about it, in one screen."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import TypeVar, get_type_hints
from uuid import UUID

from seqdev.explain.advice import ENROL, OPENS, UNBLOCK
from seqdev.explain.rows import Blocked, Enrolment, Explanation, Near, PolicyOutcome, Step, Story, Waiting
from seqdev.output.columns import Aged, Answer, Named, Prose, Verdict, called
from seqdev.output.render import Table, Writer, note
from seqdev.output.text import Phone, mask
from seqdev.output.tones import Tone, Toned
from seqdev.output.words import Clock, ago, are, counted
from seqdev.settings import Rules

_STATE = {True: "ok", False: "shut", None: "not asked"}

SHOWN_STEPS = 8
"""Steps of one enrolment on the screen, the latest."""

_GONE = "GONE: it does not come back"
_PREVIEW = 40
"""Characters of a text that the statements return."""

_IN_FLIGHT = ("pending", "queued", "processing")

T = TypeVar("T")


@dataclass(frozen=True)
class _Person:
    person: str
    user: UUID | None
    policy: str
    times_in: str


@dataclass(frozen=True)
class _Blocked:
    blocked: Verdict
    since: Aged
    why: Prose | None
    by: str | None
    to_do: Prose


@dataclass(frozen=True)
class _Stop:
    answer: Answer
    to_do: Prose
    step: str
    since: str
    next_eligible: str
    gates: str
    queue: str
    strict: str
    fallback: str
    reassign: str


@dataclass(frozen=True)
class _Answer:
    answer: Answer
    to_do: Prose


@dataclass(frozen=True)
class _Lead:
    lead: str | None
    phone: Phone
    status: Verdict | None
    device: str
    triggers: Prose


@dataclass(frozen=True)
class _Step:
    step: str
    status: Answer
    message: Prose
    due: datetime | None
    device: Named | None


@dataclass(frozen=True)
class _Message:
    other_message: str
    status: Answer
    at: datetime | None
    device: Named
    preview: Prose | None


def write_screen(writer: Writer, found: Explanation) -> None:
    """Write ``found`` as tables for people: what waits and is stopped first."""
    clock = replace(writer.clock, now=lambda: found.now)
    tables = [Table("near", Near, found.near), Table("blocked", _Blocked, list(map(_blocked, found.blocked)))]
    for story in found.stories:
        tables += _tables(story, clock)
        if (total := story.messages_total) > len(story.messages):
            note(f"{counted(total, 'message')} of others, the last {len(story.messages)} of them listed")
    writer.write(*(table for table in tables if table.rows))


def _blocked(one: Blocked) -> _Blocked:
    return _Blocked(
        Toned(f"for user {one.user_id}" if one.user_id else "for everybody", Tone.WARNING),
        one.since,
        one.why,
        one.blocked_by,
        "nothing is sent; if that is over: seqdev block remove PHONE, seqdev contacts resume PHONE",
    )


def _tables(story: Story, clock: Clock) -> list[Table]:
    waits = sorted(story.waiting, key=_goes)
    stops = [Table("waiting", _Stop, [_stop(one, clock)], single=True) for one in waits]
    stopped = sum(not _goes(one) for one in waits)
    leads = [
        _Lead(
            lead.name,
            lead.phone,
            lead.status,
            f"{_device(lead.device_id, lead.device_name)} ({lead.device})" if lead.device_id else "none",
            ", ".join(lead.triggers) or "none",
        )
        for lead in story.leads
    ]
    messages = [
        _Message(
            one.written_by + (f" {_place(one.sequence_name, one.day)}" if one.sequence_id else ""),
            one.status + (f": {one.error}" if one.error else ""),
            one.at,
            Named(one.device_name, one.device_id),
            _begun(one.preview),
        )
        for one in story.messages
    ]
    return [
        Table("person", _Person, [_person(story, clock)], single=True),
        *stops[:stopped],
        Table("answers", _Answer, list(_answers(story, clock))),
        *stops[stopped:],
        Table("leads", _Lead, leads),
        Table("steps", _Step, [row for one in story.enrolments for row in _steps(one, clock)]),
        Table("messages of others", _Message, messages),
    ]


def _person(story: Story, clock: Clock) -> _Person:
    whose = "of the user" if story.policy_by == "user" else "for all"
    return _Person(
        _names(story), story.user_id, f"{story.policy} (policy {whose})", clock.zone_of([clock.now()])
    )


def _stop(waiting: Waiting, clock: Clock) -> _Stop:
    step, reason = waiting.step, waiting.reason
    gate = next((one for one in waiting.gates if one.gate == waiting.stopped_by), None)
    if gate is None or reason is None:
        device = _device(step.device_id, step.device_name)
        answer = f"nothing stops it: the next tick queues it on {device}"
        if waiting.already_queued:
            answer = f"its message exists ({step.message_status}): the next tick only completes the row"
        to_do, opens = "nothing; if it stays, does seqdev tick run?", "now"
        if _offline(waiting) and not waiting.already_queued:
            answer += f", but that is {_away(waiting)}"
            if _is_gone(waiting):
                answer = f"NOBODY SENDS IT: the next tick queues it on {device}, which is {_away(waiting)}"
            to_do = _to_do("device_gone" if _is_gone(waiting) else "device_offline", step)
    else:
        detail = f" ({gate.detail})" if gate.detail else ""
        of_device = reason.startswith("device_") and f": {_device(step.device_id, step.device_name)}"
        answer = f"{'WAITS' if _goes(waiting) else 'STOPPED'}: {reason}{of_device or ''}{detail}"
        to_do = _to_do("device_gone" if reason == "device_offline" and _is_gone(waiting) else reason, step)
        opens = OPENS.get(reason, "unknown: when it is repaired")
        if reason == "device_gone":
            answer += f", which is {_GONE}"
        if waiting.eligible_at:
            earliest = ", at the earliest" if reason == "device_full" else ""
            opens = _when(waiting.eligible_at, clock) + earliest
    return _Stop(
        Toned(answer, Tone.OK if _goes(waiting) else Tone.CRITICAL),
        to_do,
        f"{_place(step.sequence_name, step.day)}, due {_when(step.due_at, clock)}",
        _when(waiting.since, clock) if reason not in (None, "not_due") else "not stopped",
        opens,
        _gates(waiting),
        *(_outcome(one, waiting) for one in waiting.policies),
    )


def _gates(waiting: Waiting) -> str:
    """The gates in their order, those in the same state said together."""
    states = (
        (one.gate, "STOPS" if one.gate == waiting.stopped_by else _STATE[one.open]) for one in waiting.gates
    )
    runs = groupby(states, key=itemgetter(1))
    return "; ".join(f"{', '.join(gate for gate, _ in run)} {state}" for state, run in runs)


def _outcome(outcome: PolicyOutcome, waiting: Waiting) -> str:
    queues = f"queues it on {_device(outcome.device_id, outcome.device_name)}"
    if outcome.device_id != waiting.step.device_id:
        queues += ", which it assigns" if outcome.reassigns else ", assignment unchanged"
    elif _offline(waiting):
        queues += ", gone: nobody sends it" if _is_gone(waiting) else ", offline: the sender waits for it"
    later = queues if outcome.when_eligible == "queue" else f"waits: {outcome.when_eligible}"
    if outcome.decision == outcome.when_eligible:
        return later
    return f"waits: {outcome.decision}; then {later}"


def _goes(waiting: Waiting) -> bool:
    """Whether there is nothing to worry about: it goes by itself, and its device is there."""
    if waiting.reason == "not_due":
        return waiting.step.due_at is not None
    if waiting.reason == "outside_window":
        return waiting.eligible_at is not None and not _offline(waiting)
    return waiting.reason is None and not _offline(waiting)


def _offline(waiting: Waiting) -> bool:
    return any(one.gate == "online" and one.open is False for one in waiting.gates)


def _status(waiting: Waiting) -> str:
    """The status of the device of a step, as the host has it; empty: not known."""
    seen = next((one.detail or "" for one in waiting.gates if one.gate == "online"), "")
    return seen.removeprefix("status ").partition(",")[0]


def _is_gone(waiting: Waiting) -> bool:
    """Whether the device does not come back: by the rules, or by a status that only looks different there."""
    return waiting.step.device_gone or _status(waiting).lower() in Rules().gone_statuses


def _away(waiting: Waiting) -> str:
    """What to call a device that is not online."""
    status = _status(waiting)
    if _is_gone(waiting):
        return f"{status.upper() or 'GONE'}: it does not come back"
    if any("out of service" in (one.detail or "") for one in waiting.gates if one.gate == "online"):
        return "OUT OF SERVICE and the sender waits for it"
    return f"{status.upper() or 'OFFLINE'} and the sender waits for it"


def _to_do(reason: str, step: Step) -> str:
    if reason == "not_due" and not step.due_at:
        return (
            "see that the step was not sent, then give the row a next_trigger_time: it is never due without"
        )
    ids = {"device": step.device_id, "user": step.user_id, "sequence": step.sequence_id}
    return UNBLOCK[reason].format(**{name: str(one)[:8] for name, one in ids.items()})


def _answers(story: Story, clock: Clock) -> Iterator[_Answer]:
    """What there is to say beside the steps that wait."""
    waiting = {one.step.contact_id for one in story.waiting}
    for enrolment in story.enrolments:
        reached = [step for step in enrolment.steps if step.contact_id]
        for step in reached:
            place = _place(step.sequence_name, step.day)
            if step.message_status in _IN_FLIGHT and step.contact_id not in waiting:
                device = _device(step.message_device_id, step.message_device_name)
                since = f"{step.message_status}, {_when(step.message_at, clock)}"
                stands = f"{place}: QUEUED, NOT SENT ({since}) on {device}"
                if step.message_device_online:
                    yield _Answer(
                        f"{place}: queued, not sent ({since}) on {device}, online", "see the sender"
                    )
                elif step.message_device_gone:
                    lost = str(step.message_device_id)[:8]
                    yield _Answer(
                        Toned(f"{stands}, which is {_GONE}", Tone.CRITICAL),
                        f"seqdev repair device {lost} --spread --queue"
                        if step.message_status == "pending"
                        else "ask its sender whether it was sent: nobody else knows",
                    )
                else:
                    yield _Answer(
                        Toned(f"{stands}, which is OFFLINE", Tone.WARNING),
                        "bring the device back: the sender waits for it",
                    )
            elif step.status == "failed" or step.message_status == "failed":
                why = step.last_error or step.message_error or "no reason given"
                yield _Answer(
                    Toned(f"{place}: the send FAILED: {why}", Tone.CRITICAL),
                    "correct the number, or ask the sender's log",
                )
            elif step.status == "completed" and not step.message_id:
                yield _Answer(
                    f"{place}: completed, but no message of it is there",
                    "nothing: it may have been sent, and deleted since",
                )
        in_flight = any(step.message_status in _IN_FLIGHT for step in reached)
        if not in_flight and not waiting & {step.contact_id for step in reached}:
            errors = (step.last_error or "" for step in reached)
            ended = next((error for error in errors if error.startswith("ended")), "")
            never = 0 if ended else len(enrolment.steps) - len(reached)
            why = (
                f"though {counted(never, 'step')} {are(never, 'were')} never reached"
                if never
                else ended or "its end is reached"
            )
            name = called(enrolment.sequence_name, "sequence gone")
            yield _Answer(f"{name}: nothing waits, {why}", "seqdev audit contacts" if never else "nothing")
    for call in story.triggers:
        if call.verdict in ENROL:
            answer, to_do = ENROL[call.verdict]
            names = {"trigger": call.trigger, "sequence": call.sequence_name, "same_as": call.same_as}
            yield _Answer(answer.format(**names), to_do)
        elif call.verdict == "no_triggers" and not story.enrolments:
            yield _Answer("not enrolled: the lead's trigger list is empty", "give the lead a trigger")
    if not story.leads:
        yield _Answer("no lead of this user has the phone", "seqdev leads import, if it should be one")


def _steps(enrolment: Enrolment, clock: Clock) -> Iterator[_Step]:
    reached = [step for step in enrolment.steps if step.contact_id]
    if len(reached) > SHOWN_STEPS:
        note(f"{len(reached) - SHOWN_STEPS} earlier steps are not shown: --format json has all")
    for step in reached[-SHOWN_STEPS:]:
        message = "none"
        if step.message_id:
            message = f"{step.message_status} {_short(step.message_at, clock)}"
            if step.message_device_id != step.device_id:
                message += f" MISMATCH on {_device(step.message_device_id, step.message_device_name)}"
            if step.message_by != "seqdev":
                message += " by another processor"
            if step.message_error:
                message += f": {step.message_error}"
            message += f": {_begun(step.preview)}" if step.preview else ""
        whose = "lead's " if step.device_from == "lead" else ""
        device = Named(whose + called(step.device_name), step.device_id) if step.device_id else None
        status = f"{step.status}: {step.last_error}" if step.last_error else step.status
        if (step.last_error or "").startswith(f"{step.status}:"):
            status = step.last_error or ""
        yield _Step(_place(step.sequence_name, step.day), status, message, step.due_at, device)
    further = len(enrolment.steps) - len(reached)
    if further:
        name = called(enrolment.sequence_name, "sequence gone")
        yield _Step(f"{name}, {further} more", "not_reached", "", None, None)


def _begun(preview: str | None) -> str | None:
    """The beginning of a text as one, where it is as long as beginnings are."""
    return f"{preview}..." if preview and len(preview) == _PREVIEW else preview


def _names(story: Story) -> str:
    names = dict.fromkeys([lead.name for lead in story.leads] + [one.name for one in story.enrolments])
    written = dict.fromkeys(
        [lead.phone for lead in story.leads]
        + [one.phone for one in story.enrolments]
        + [message.phone for message in story.messages]
    )
    two = f" ({len(written)} spellings of one phone)" if len(written) > 1 else ""
    return f"{', '.join(name for name in names if name) or 'nameless'} {', '.join(written)}{two}"


def _place(sequence: str | None, day: int | None) -> str:
    return f"{called(sequence, 'sequence gone')} day {'?' if day is None else day}"


def _device(device: UUID | None, name: str | None) -> str:
    """A device by name, and by as much of its id as commands take."""
    if device is None:
        return "none"
    return f"{name} [{str(device)[:8]}]" if name else f"[{str(device)[:8]}]"


def _short(at: datetime | None, clock: Clock) -> str:
    return clock.short(at) if at else ""


def _when(at: datetime | None, clock: Clock) -> str:
    return "unknown" if at is None else f"{clock.short(at)} ({ago(at, clock.now())})"


def masked(value: T, phones: Iterable[str]) -> T:
    """``value`` with its phones hidden, also where one of ``phones`` stands in a free text."""
    if isinstance(value, str):
        text: str = value
        for phone in phones:
            text = text.replace(phone, mask(phone))
        return text  # type: ignore[return-value]
    if isinstance(value, list):
        return [masked(item, phones) for item in value]  # type: ignore[return-value]
    if not is_dataclass(value) or isinstance(value, type):
        return value
    hints = get_type_hints(type(value))
    changes: dict[str, object] = {}
    for field in fields(value):
        inner = getattr(value, field.name)
        changes[field.name] = mask(inner) if hints[field.name] is Phone else masked(inner, phones)
    return replace(value, **changes)
