"""What is known of a person at an instant of the past: rows, and what they are put together to."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from seqdev.explain.rows import Blocked
from seqdev.journal.past import PastPause, PastRule, PastTick, Unknown
from seqdev.output.text import Phone
from seqdev.postgres.queries import Query


@dataclass(frozen=True)
class PastStep:
    """A row of ``explain/then_steps.sql``."""

    user_id: UUID | None
    sequence_id: UUID
    sequence_name: str | None
    phone: Phone
    contact_id: UUID
    step_id: UUID | None
    day: int | None
    state: str | None
    status: str | None
    due_at: datetime | None
    completed_at: datetime | None
    device_id: UUID | None
    device_name: str | None
    device_from: str | None
    message: str | None
    message_id: UUID | None
    message_by: str | None
    queued_at: datetime | None
    sent_at: datetime | None
    message_device_id: UUID | None
    message_device_name: str | None
    status_now: str | None
    device_id_now: UUID | None
    message_status_now: str | None
    unknown: list[str]


@dataclass(frozen=True)
class PastWindow:
    """A row of ``explain/then_windows.sql``: whether a step was open by its hours."""

    step_id: UUID
    open: bool
    opens_at: datetime | None
    hours: str


PAST_STEPS = Query("explain/then_steps.sql", PastStep)
PAST_WINDOWS = Query("explain/then_windows.sql", PastWindow)


@dataclass(frozen=True)
class PastGate:
    """A gate as it was for a step that waited."""

    contact_id: UUID
    """The row of the person and step."""
    gate: str
    """due, pause, blocked, paused (by a rule) or window: those of which the past is known."""
    reason: str
    """What a tick called it when it was shut."""
    open: bool | None
    """Whether the step could pass then; None: not known."""
    opens_at: datetime | None
    """When it was to open by itself, as was known then; None: by nobody, or not known."""
    detail: str | None
    """What is known of it."""


@dataclass(frozen=True)
class Past:
    """How it stood with a person at an instant. What is of now alone has ``now`` in its name."""

    phone: Phone
    """The phone, as it was asked for."""
    at: datetime
    """The instant."""
    now: datetime
    """The instant of the answer."""
    known: bool
    """Whether anything of the person is known now."""
    pause: PastPause
    """Whether all was paused then."""
    blocked: list[Blocked]
    """Where the phone was blocked then."""
    steps: list[PastStep]
    """The steps of which there are rows now, as they stood then."""
    gates: list[PastGate]
    """For each step that waited then, what could have stopped it, as far as that is known."""
    rules: list[PastRule]
    """The rules for the person's user, sequences and devices, and for all, that held then or hold now."""
    ticks: list[PastTick]
    """The last tick that began by then, and the first after."""
    cannot_be_known: list[Unknown]
    """What nothing tells of then."""
