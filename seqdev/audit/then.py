"""The audits of an instant of the past: what they had found then, and what nothing tells of it."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from seqdev.audit.audit import AUDITS, Criteria, Line, Result, line_of, look, worst_first
from seqdev.audit.rows import (
    COLLISIONS,
    CONTACTS,
    DEVICES,
    FAILED,
    LEADS,
    MISMATCHES,
    SEQUENCES,
    WRITERS,
    Audited,
)
from seqdev.errors import UsageError
from seqdev.journal.past import BY_HAND, PAST_PAUSE, PAST_TICKS, Unknown, before, instant
from seqdev.moments import Moment
from seqdev.output.columns import Aged, Prose, Verdict
from seqdev.output.text import Phone
from seqdev.postgres.engine import Database
from seqdev.postgres.queries import Query
from seqdev.postgres.transaction import Transaction


@dataclass(frozen=True)
class PastMismatch(Audited):
    """A row of ``audit/then_mismatches.sql``: a message, and the device that was assigned at an instant."""

    brief = ("phone", "finding", "assigned_device", "used_device", "at", "sequence", "step", "writer")

    finding: Verdict | None
    at: datetime | None
    phone: Phone
    sequence: str
    sequence_id: UUID
    step: int | None
    step_id: UUID | None
    assigned_device: str | None
    assigned_device_id: UUID | None
    used_device: str | None
    used_device_id: UUID | None
    writer: str
    contact_id: UUID | None
    message_id: UUID
    total: int
    found: dict[str, Any]


@dataclass(frozen=True)
class PastContact(Audited):
    """A row of ``audit/then_contacts.sql``: somebody's row as it was, and what was wrong with it."""

    brief = ("phone", "finding", "status", "at", "assigned_device", "sequence", "step")

    finding: Verdict
    phone: Phone
    sequence: str | None
    sequence_id: UUID
    step: int | None
    step_id: UUID | None
    status: Verdict | None
    assigned_device: str | None
    assigned_device_id: UUID | None
    at: datetime | None
    contact_id: UUID
    total: int
    found: dict[str, Any]


@dataclass(frozen=True)
class PastCollision(Audited):
    """A row of ``audit/then_collisions.sql``: somebody to whom two devices had written by an instant."""

    brief = ("phone", "finding", "devices", "messages", "last_at")

    finding: Verdict
    phone: Phone
    devices: str
    device_ids: str
    messages: int
    last_at: datetime | None
    user_id: UUID
    total: int
    found: dict[str, Any]


@dataclass(frozen=True)
class PastFailedMessages(Audited):
    """A row of ``audit/then_failed.sql``: messages of one step that one device had not sent by an instant."""

    brief = ("finding", "messages", "people", "device", "last_at", "sequence", "step", "example")

    finding: Verdict
    messages: int
    people: int
    device: str | None
    device_id: UUID | None
    sequence: str | None
    sequence_id: UUID
    step: int | None
    step_id: UUID | None
    first_at: datetime | None
    last_at: datetime | None
    example: Prose | None
    user_id: UUID
    total: int
    found: dict[str, Any]


@dataclass(frozen=True)
class PastForeignMessage(Audited):
    """A row of ``audit/then_writers.sql``: a message that seqdev did not make, as it stood at an instant."""

    brief = ("phone", "finding", "at", "device", "sequence", "step")

    finding: Verdict
    at: datetime | None
    phone: Phone
    sequence: str | None
    sequence_id: UUID
    step: int | None
    step_id: UUID | None
    device: str | None
    device_id: UUID | None
    message_id: UUID
    user_id: UUID
    total: int
    found: dict[str, Any]


@dataclass(frozen=True)
class Standing:
    """How the service stood at an instant, as far as its runs tell."""

    at: datetime
    """The instant."""
    last_tick: Aged | None
    """When the last tick had begun; null: none had."""
    tick_age: timedelta | None
    """How long ago that was then."""
    exit_code: int | None
    """As it ended; null: it was cut off."""
    queued: int | None
    """Messages that it queued; null: it did not say."""
    waiting: dict[str, Any] | None
    """How many it left waiting, by reason; null: it did not say."""
    paused_at: datetime | None
    """Since when commands that write were paused; null: they were not."""
    paused_by: str | None
    """By whom."""
    paused_why: Prose | None
    """What for."""


THEN_MISMATCHES = Query("audit/then_mismatches.sql", PastMismatch)
THEN_CONTACTS = Query("audit/then_contacts.sql", PastContact)
THEN_WRITERS = Query("audit/then_writers.sql", PastForeignMessage)
THEN_COLLISIONS = Query("audit/then_collisions.sql", PastCollision)
THEN_FAILED = Query("audit/then_failed.sql", PastFailedMessages)

_THEN: Mapping[str, Query[Any]] = {
    MISMATCHES.path: THEN_MISMATCHES,
    CONTACTS.path: THEN_CONTACTS,
    WRITERS.path: THEN_WRITERS,
    COLLISIONS.path: THEN_COLLISIONS,
    FAILED.path: THEN_FAILED,
}
"""What stands in for an audit at an instant of the past."""

_NOT_KEPT = {
    DEVICES.path: (
        "the host keeps what status and room a device has as they are now",
        "what each had sent by then: seqdev stats --by device --until {at}",
    ),
    SEQUENCES.path: (
        "the host keeps sequences and steps as they are now",
        "how they are now: seqdev audit sequences; when rules for them were set: seqdev rules history",
    ),
    LEADS.path: (
        "the host keeps leads as they are now",
        "how they are now: seqdev audit leads; what repairs have changed since: seqdev repair list",
    ),
}
"""Why the others cannot say what they had found then, and what to type instead."""

_AS_NOW = "the host keeps them as they are now"
_UNKNOWN = {
    MISMATCHES.path: [
        Unknown(
            "the cause of a mismatch, such as a device that was offline",
            "the host keeps devices as they are now",
        )
    ],
    CONTACTS.path: [
        Unknown(
            "whether its sequence ran: what was overdue counts as if it did",
            "the host keeps sequences as they are now",
        ),
        Unknown(
            "no_lead, no_device, device_missing, other_users_device, step_gone, sequence_gone, "
            "next_step_missing, stranded, delay_changed: they are about leads, devices, steps and sequences",
            _AS_NOW,
        ),
        Unknown("stuck: what another processor had claimed", "the host keeps claims as they are now"),
    ],
    WRITERS.path: [Unknown("whose sessions it could have been", "the server shows who is connected now")],
    COLLISIONS.path: [
        Unknown(
            "who was due from another device than that which had written, or that of a repair",
            "whether a sequence ran, and from which device a lead was due, the host keeps as they are now",
        )
    ],
    FAILED.path: [
        Unknown(
            "of what has failed by now, whether it had failed then",
            "only updated_at of a message tells when it failed, or a repair that queued it again",
        )
    ],
}
"""What nothing tells of then, by audit."""


def stands_in(query: Query[Any], at: Moment) -> Query[Any]:
    """What stands in for the audit ``query`` at an instant. UsageError where nothing of then is known."""
    if query.path in _THEN:
        return _THEN[query.path]
    why, instead = _NOT_KEPT[query.path]
    raise UsageError(
        f"audit {Path(query.path).stem} cannot say how it stood at {at}: {why}",
        f"{instead.format(at=_typed(at))}; "
        f"how it stood with a person: seqdev explain PHONE --at {_typed(at)}",
    )


def find(database: Database, query: Query[Any], criteria: Criteria) -> tuple[Result[Any], list[Unknown]]:
    """What the audit ``query`` had found at the instant of ``criteria``, and what cannot be known of it."""
    assert criteria.at
    past = stands_in(query, criteria.at)

    def work(tx: Transaction) -> tuple[Result[Any], list[Unknown]]:
        return look(tx, past, criteria), [*_begins(tx, criteria), *_UNKNOWN[query.path], BY_HAND]

    return database.retry(work, snapshot=True)


def everything(database: Database, criteria: Criteria) -> tuple[list[Line], Standing, list[Unknown]]:
    """A line each audit that can answer, worst first; how the service stood; what cannot be known."""

    def work(tx: Transaction) -> tuple[list[Line], Standing, list[Unknown]]:
        found = [look(tx, query, replace(criteria, limit=1)) for query in _THEN.values()]
        unknown = [
            *_begins(tx, criteria),
            *(
                Unknown(f"audit {Path(query.path).stem}", _NOT_KEPT[query.path][0])
                for query in AUDITS
                if query.path in _NOT_KEPT
            ),
            *(one for path in _THEN for one in _UNKNOWN[path]),
            BY_HAND,
        ]
        return [line_of(one) for one in worst_first(found)], _standing(tx, _at(tx, criteria)), unknown

    return database.retry(work, snapshot=True)


def _at(tx: Transaction, criteria: Criteria) -> datetime:
    assert criteria.at
    return instant(tx, criteria.at, criteria.window.zone)


def _begins(tx: Transaction, criteria: Criteria) -> Iterator[Unknown]:
    at = _at(tx, criteria)
    yield from before(tx.one(PAST_PAUSE, at=at), at)


def _standing(tx: Transaction, at: datetime) -> Standing:
    pause = tx.one(PAST_PAUSE, at=at)
    ticks: Sequence[Any] = [one for one in tx.rows(PAST_TICKS, at=at) if one.tick == "before"]
    tick = ticks[0] if ticks else None
    # A tick that still ran then had said nothing.
    ended = tick is not None and tick.ended is not None and tick.ended <= at
    return Standing(
        at=at,
        last_tick=tick.started if tick else None,
        tick_age=at - tick.started if tick else None,
        exit_code=tick.exit_code if tick and ended else None,
        queued=tick.queued if tick and ended else None,
        waiting=tick.waiting if tick and ended else None,
        paused_at=pause.paused_at,
        paused_by=pause.paused_by,
        paused_why=pause.why,
    )


def _typed(at: Moment) -> str:
    return shlex.quote(at.text)
