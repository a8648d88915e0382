"""An explanation as people read it: what stops whom, and what to do about it, in one screen."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import TypeVar, get_type_hints
from uuid import UUID

from seqdev.explain.advice import ENROL, OPENS, UNBLOCK
from seqdev.explain.rows import Enrolment, Explanation, Near, PolicyOutcome, Step, Story, Waiting
from seqdev.output.render import Table, Writer, note
from seqdev.output.text import Phone, mask

_STATE = {True: "ok", False: "shut", None: "not asked"}

SHOWN_STEPS = 8
"""Steps of one enrolment on the screen, the latest."""

_IN_FLIGHT = ("pending", "queued", "processing")

T = TypeVar("T")


@dataclass(frozen=True)
class _Person:
    person: str
    user: UUID | None
    policy: str


@dataclass(frozen=True)
class _Blocked:
    blocked: str
    since: str
    why: str | None
    by: str | None
    to_do: str


@dataclass(frozen=True)
class _Stop:
    answer: str
    to_do: str
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
    answer: str
    to_do: str


@dataclass(frozen=True)
class _Lead:
    lead: str | None
    phone: Phone
    status: str | None
    device: str
    triggers: str


@dataclass(frozen=True)
class _Step:
    step: str
    status: str
    due: str
    device: str
    message: str


@dataclass(frozen=True)
class _Message:
    other_message: str
    at: str
    device: str
    status: str
    preview: str | None


def write_screen(writer: Writer, found: Explanation) -> None:
    """Write ``found`` as tables for people: what waits and is stopped first."""
    if found.near:
        writer.write(Table("near", Near, found.near))
    if found.blocked:
        blocked = [
            _Blocked(
                f"for user {one.user_id}" if one.user_id else "for everybody",
                _when(one.since, found.now),
                one.why,
                one.blocked_by,
                "nothing is sent; if that is over: seqdev block remove PHONE, seqdev contacts resume PHONE",
            )
            for one in found.blocked
        ]
        writer.write(Table("blocked", _Blocked, blocked))
    for story in found.stories:
        waits = sorted(story.waiting, key=_goes)
        stops = [Table("waiting", _Stop, [_stop(one, found)], single=True) for one in waits]
        stopped = sum(not _goes(one) for one in waits)
        writer.write(
            Table("person", _Person, [_person(story)], single=True),
            *stops[:stopped],
            Table("answers", _Answer, list(_answers(story, found.now))),
            *stops[stopped:],
            Table(
                "leads",
                _Lead,
                [
                    _Lead(
                        lead.name,
                        lead.phone,
                        lead.status,
                        f"{_device(lead.device_id, lead.device_name)} ({lead.device})"
                        if lead.device_id
                        else "none",
                        ", ".join(lead.triggers) or "none",
                    )
                    for lead in story.leads
                ],
            ),
            Table("steps", _Step, [row for one in story.enrolments for row in _steps(one)]),
            Table(
                "messages of others",
                _Message,
                [
                    _Message(
                        one.written_by
                        + (f" {_place(one.sequence_name, one.day)}" if one.sequence_id else ""),
                        _time(one.at),
                        _device(one.device_id, one.device_name),
                        one.status + (f": {one.error}" if one.error else ""),
                        one.preview,
                    )
                    for one in story.messages
                ],
            ),
        )
        if story.messages_total > len(story.messages):
            note(f"{story.messages_total} messages of others, the last {len(story.messages)} of them listed")


def _person(story: Story) -> _Person:
    whose = "of the user" if story.policy_by == "user" else "for all"
    return _Person(_names(story), story.user_id, f"{story.policy} (policy {whose})")


def _stop(waiting: Waiting, found: Explanation) -> _Stop:
    step, reason = waiting.step, waiting.reason
    gate = next((one for one in waiting.gates if one.gate == waiting.stopped_by), None)
    if gate is None or reason is None:
        answer = f"nothing stops it: the next tick queues it on {_device(step.device_id, step.device_name)}"
        if waiting.already_queued:
            answer = f"its message exists ({step.message_status}): the next tick only completes the row"
        to_do, opens = "nothing; if it stays, does seqdev tick run?", "now"
        if _offline(waiting) and not waiting.already_queued:
            answer += f", but that is {_away(step.device_gone)}"
            to_do = _to_do("device_gone" if step.device_gone else "device_offline", step)
    else:
        detail = f" ({gate.detail})" if gate.detail else ""
        of_device = reason.startswith("device_") and f": {_device(step.device_id, step.device_name)}"
        answer = f"{'WAITS' if _goes(waiting) else 'STOPPED'}: {reason}{of_device or ''}{detail}"
        to_do = _to_do(reason, step)
        opens = OPENS.get(reason, "unknown: when it is repaired")
        if reason == "device_gone":
            answer += f", which is {_away(gone=True)}"
        if waiting.eligible_at:
            earliest = ", at the earliest" if reason == "device_full" else ""
            opens = _when(waiting.eligible_at, found.now) + earliest
    return _Stop(
        answer,
        to_do,
        f"{_place(step.sequence_name, step.day)}, due {_when(step.due_at, found.now)}",
        _when(waiting.since, found.now) if reason not in (None, "not_due") else "not stopped",
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
        queues += (
            ", gone: nobody sends it" if waiting.step.device_gone else ", offline: the sender waits for it"
        )
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


def _away(gone: bool) -> str:
    """What to call a device that is not online."""
    return "GONE: it does not come back" if gone else "OFFLINE and the sender waits for it"


def _to_do(reason: str, step: Step) -> str:
    if reason == "not_due" and not step.due_at:
        return (
            "see that the step was not sent, then give the row a next_trigger_time: it is never due without"
        )
    ids = {"device": step.device_id, "user": step.user_id, "sequence": step.sequence_id}
    return UNBLOCK[reason].format(**{name: str(one)[:8] for name, one in ids.items()})


def _answers(story: Story, now: datetime) -> Iterator[_Answer]:
    """What there is to say beside the steps that wait."""
    waiting = {one.step.contact_id for one in story.waiting}
    for enrolment in story.enrolments:
        reached = [step for step in enrolment.steps if step.contact_id]
        for step in reached:
            place = _place(step.sequence_name, step.day)
            if step.message_status in _IN_FLIGHT and step.contact_id not in waiting:
                device = _device(step.message_device_id, step.message_device_name)
                since = f"{step.message_status}, {_when(step.message_at, now)}"
                if step.message_device_online:
                    yield _Answer(
                        f"{place}: queued, not sent ({since}) on {device}, online", "see the sender"
                    )
                elif step.message_device_gone:
                    lost = str(step.message_device_id)[:8]
                    yield _Answer(
                        f"{place}: QUEUED, NOT SENT ({since}) on {device}, which is {_away(gone=True)}",
                        f"seqdev repair device {lost} --spread --queue"
                        if step.message_status == "pending"
                        else "ask its sender whether it was sent: nobody else knows",
                    )
                else:
                    yield _Answer(
                        f"{place}: QUEUED, NOT SENT ({since}) on {device}, which is OFFLINE",
                        "bring the device back: the sender waits for it",
                    )
            elif step.status == "failed" or step.message_status == "failed":
                why = step.last_error or step.message_error or "no reason given"
                yield _Answer(
                    f"{place}: the send FAILED: {why}", "correct the number, or ask the sender's log"
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
            why = f"though {never} steps were never reached" if never else ended or "its end is reached"
            name = enrolment.sequence_name or "sequence gone"
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


def _steps(enrolment: Enrolment) -> Iterator[_Step]:
    reached = [step for step in enrolment.steps if step.contact_id]
    if len(reached) > SHOWN_STEPS:
        note(f"{len(reached) - SHOWN_STEPS} earlier steps are not shown: --format json has all")
    for step in reached[-SHOWN_STEPS:]:
        message = "none"
        if step.message_id:
            message = f"{step.message_status} {_time(step.message_at)}"
            if step.message_device_id != step.device_id:
                message += f" MISMATCH on {_device(step.message_device_id, step.message_device_name)}"
            if step.message_by != "seqdev":
                message += " by another processor"
            if step.message_error:
                message += f": {step.message_error}"
            message += f": {step.preview}" if step.preview else ""
        whose = "lead's " if step.device_from == "lead" else ""
        device = whose + _device(step.device_id, step.device_name)
        status = f"{step.status}: {step.last_error}" if step.last_error else step.status
        yield _Step(_place(step.sequence_name, step.day), status, _time(step.due_at), device, message)
    further = len(enrolment.steps) - len(reached)
    if further:
        name = enrolment.sequence_name or "sequence gone"
        yield _Step(f"{name}, {further} more", "not_reached", "", "", "")


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
    return f"{sequence or 'sequence gone'} day {'?' if day is None else day}"


def _device(device: UUID | None, name: str | None) -> str:
    """A device by name, and by as much of its id as commands take."""
    if device is None:
        return "none"
    return f"{name} [{str(device)[:8]}]" if name else f"[{str(device)[:8]}]"


def _time(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M}" if at else ""


def _when(at: datetime | None, now: datetime) -> str:
    if at is None:
        return "unknown"
    seconds = int(abs((now - at).total_seconds()))
    days, hours, minutes = seconds // 86400, seconds // 3600, seconds // 60
    count = f"{days} d" if days > 1 else f"{hours} h" if hours > 1 else f"{minutes} min"
    return f"{at:%Y-%m-%d %H:%M %Z} ({f'{count} ago' if at <= now else f'in {count}'})"


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
