"""How it stood at an instant, as people read it: the answer first, what cannot be known last."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from uuid import UUID

from seqdev.explain.then_rows import Past, PastGate, PastStep
from seqdev.journal.past import PastRule
from seqdev.output.columns import Answer, Named, Prose, Verdict, called
from seqdev.output.render import Table, Writer, note
from seqdev.output.tones import Tone, Toned
from seqdev.output.words import Clock, ago, are, counted

SHOWN = 8
"""Steps of one sequence on the screen, the latest."""


@dataclass(frozen=True)
class _Then:
    at: str
    person: str
    all_paused: Verdict
    blocked: Verdict


@dataclass(frozen=True)
class _Answer:
    step: str
    answer: Answer
    device: Named | str


@dataclass(frozen=True)
class _Step:
    step: str
    then: Verdict
    message: Prose
    due: str
    device: Named | str
    now: str


@dataclass(frozen=True)
class _Tick:
    tick: str
    began: datetime
    end: Verdict
    queued: int | None
    left_waiting: Prose | None
    host: str | None


@dataclass(frozen=True)
class _Rule:
    rule: str
    whose: str
    then: str
    now: str


@dataclass(frozen=True)
class _Unknown:
    cannot_be_known: Prose
    why: Prose


def write_screen(writer: Writer, found: Past) -> None:
    """Write ``found`` as tables for people."""
    clock = replace(writer.clock, now=lambda: found.now)
    shown = [step for one in _sequences(found) for step in one[-SHOWN:]]
    if (left := len(found.steps) - len(shown)) > 0:
        note(f"{counted(left, 'earlier step')} {are(left)} not shown: --format json has all")
    tables = [
        Table("then", _Then, [_then(found, clock)], single=True),
        Table("answers", _Answer, list(_answers(found, clock))),
        Table("steps", _Step, [_step(step, clock) for step in shown]),
        Table("ticks", _Tick, list(_ticks(found, clock))),
        Table("rules", _Rule, [_rule(rule) for rule in found.rules]),
        Table("unknown", _Unknown, [_Unknown(one.what, one.why) for one in found.cannot_be_known]),
    ]
    writer.write(*(table for table in tables if table.rows))


def _sequences(found: Past) -> Iterator[list[PastStep]]:
    for _, own in groupby(found.steps, key=lambda step: (step.user_id, step.sequence_id, step.phone)):
        yield list(own)


def _then(found: Past, clock: Clock) -> _Then:
    pause = found.pause
    paused = Toned("no", Tone.OK)
    if pause.paused_at:
        until = f" until {clock.short(pause.resumed_at)}" if pause.resumed_at else ", and still"
        paused = Toned(
            f"since {clock.short(pause.paused_at)}{until}, by {pause.paused_by}: {pause.why}", Tone.CRITICAL
        )
    blocked = Toned("no", Tone.OK)
    for one in found.blocked:
        whose = f"for user {one.user_id}" if one.user_id else "for everybody"
        blocked = Toned(f"{whose} since {clock.short(one.since)}: {one.why}", Tone.CRITICAL)
    return _Then(
        f"{clock.said(found.at)}, {ago(found.at, found.now)}",
        ", ".join(dict.fromkeys(step.phone for step in found.steps)) or str(found.phone),
        paused,
        blocked,
    )


def _answers(found: Past, clock: Clock) -> Iterator[_Answer]:
    gates = {contact: list(own) for contact, own in groupby(found.gates, key=lambda gate: gate.contact_id)}
    for own in _sequences(found):
        waited = [step for step in own if step.state == "waiting"]
        for step in waited:
            yield _Answer(
                _place(step), _waited(step, gates.get(step.contact_id, []), found, clock), _device(step)
            )
        unsure = [step for step in own if step.state is None]
        if unsure and not waited:
            step = unsure[0]
            yield _Answer(
                _place(step), Toned("NOT KNOWN whether it waited then", Tone.WARNING), _device(step)
            )
        done = [step for step in own if step.state == "done"]
        if not waited and not unsure:
            if done:
                yield _Answer(
                    _place(done[-1]), "nothing waited: this was the last that was done", _device(done[-1])
                )
            else:
                yield _Answer(_place(own[0]), "nothing of this sequence was there or waited", "")


def _waited(step: PastStep, gates: list[PastGate], found: Past, clock: Clock) -> Toned:
    if step.message in ("queued", "sent"):
        return Toned(f"its message was {step.message} already", Tone.OK)
    shut = next((gate for gate in gates if gate.open is False), None)
    if shut and shut.gate == "due":
        return Toned(
            f"WAITED: not due before {clock.short(step.due_at) if step.due_at else 'nobody knows'}", Tone.OK
        )
    due = f", due since {clock.short(step.due_at)}" if step.due_at else ""
    if shut:
        opens = f", until {clock.short(shut.opens_at)}" if shut.opens_at else ""
        return Toned(f"STOPPED{due}: {shut.reason}{opens} ({shut.detail})", Tone.CRITICAL)
    unsure = [gate.gate for gate in gates if gate.open is None]
    if unsure:
        return Toned(f"WAITED{due}: not known: {', '.join(unsure)}", Tone.WARNING)
    before = next((one for one in found.ticks if one.tick == "before"), None)
    if step.due_at and (before is None or before.started < step.due_at):
        after = next((one for one in found.ticks if one.tick == "after"), None)
        then = f"the next began {clock.short(after.started)}" if after else "none has begun since"
        return Toned(f"WAITED{due}: no tick had begun since; {then}", Tone.WARNING)
    return Toned(
        f"WAITED{due}: nothing that is known stopped it; not known is the device's status and room",
        Tone.WARNING,
    )


def _device(step: PastStep) -> Named | str:
    if step.state == "not_there":
        return "none"
    if "device_id" in step.unknown:
        return "not known"
    return Named(step.device_name, step.device_id) if step.device_id else "none"


def _step(step: PastStep, clock: Clock) -> _Step:
    then = step.state or "not known"
    if step.status and step.status not in ("active", "completed"):
        then += f": {step.status}"
    message = step.message or "not known"
    if step.message in ("queued", "sent"):
        instant = step.sent_at or step.queued_at
        message += f" {clock.short(instant)}" if instant else ""
        if step.message_device_id and step.message_device_id != step.device_id:
            message += f" MISMATCH on {Named(step.message_device_name, step.message_device_id)}"
        if step.message_by != "seqdev":
            message += " by another processor"
    due = clock.short(step.due_at) if step.due_at else "not known" if "due_at" in step.unknown else ""
    now = step.status_now or "empty"
    if step.message_status_now:
        now += f", message {step.message_status_now}"
    if step.device_id and step.device_from == "assigned" and step.device_id_now != step.device_id:
        now += f", assigned to {str(step.device_id_now)[:8] if step.device_id_now else 'none'}"
    return _Step(_place(step), then, message, due, _device(step), now)


def _ticks(found: Past, clock: Clock) -> Iterator[_Tick]:
    for one in found.ticks:
        end = (
            "cut off, or running" if one.ended is None else f"exit {one.exit_code}, {clock.short(one.ended)}"
        )
        if one.reason:
            end += f": {one.reason}"
        left = ", ".join(f"{reason} {number}" for reason, number in (one.waiting or {}).items())
        yield _Tick(
            "last before" if one.tick == "before" else "first after",
            one.started,
            Toned(end, Tone.OK if one.exit_code == 0 else Tone.WARNING),
            one.queued,
            left or ("none" if one.waiting == {} else None),
            one.host,
        )
    if not any(one.tick == "after" for one in found.ticks):
        note("no tick has begun since")


def _rule(rule: PastRule) -> _Rule:
    then = rule.value if rule.is_known else "not known"
    if rule.name == "paused" and rule.value and not rule.is_on:
        then = f"{rule.value} (over)"
    return _Rule(
        rule.name,
        _whose(rule.scope, rule.scope_name, rule.scope_id),
        then or "not set",
        rule.value_now or "not set",
    )


def _whose(scope: str, name: str | None, one: UUID | None) -> str:
    return scope if one is None else f"{scope} {Named(name, one)}"


def _place(step: PastStep) -> str:
    return f"{called(step.sequence_name, 'sequence gone')} day {'?' if step.day is None else step.day}"
