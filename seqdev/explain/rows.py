"""What an explanation is made of: the rows of its statements, and the story that they are put together to."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from seqdev.output.text import Phone
from seqdev.postgres.queries import Query


@dataclass(frozen=True)
class Lead:
    """A row of ``explain/leads.sql``."""

    user_id: UUID
    lead_id: UUID
    phone: Phone
    name: str | None
    status: str | None
    triggers: list[str]
    device_id: UUID | None
    device_name: str | None
    device: str


@dataclass(frozen=True)
class Call:
    """A row of ``explain/triggers.sql``: a trigger of a lead, and what an enrolment would say to it."""

    user_id: UUID
    lead_id: UUID
    trigger: str | None
    sequence_id: UUID | None
    sequence_name: str | None
    verdict: str


@dataclass(frozen=True)
class Step:
    """A row of ``explain/steps.sql``."""

    user_id: UUID | None
    sequence_id: UUID
    sequence_name: str | None
    sequence_active: bool
    phone: Phone
    contact_id: UUID | None
    contact_name: str | None
    step_id: UUID | None
    day: int | None
    trigger: str | None
    status: str
    due_at: datetime | None
    completed_at: datetime | None
    last_error: str | None
    device_id: UUID | None
    device_name: str | None
    device_from: str | None
    message_id: UUID | None
    message_by: str | None
    message_status: str | None
    message_at: datetime | None
    message_error: str | None
    message_device_id: UUID | None
    message_device_name: str | None
    message_device_online: bool | None
    preview: str | None


@dataclass(frozen=True)
class Gate:
    """A row of ``explain/gates.sql``: a gate of a waiting step. ``open``: None where it cannot be asked."""

    contact_id: UUID
    gate: str
    reason: str
    open: bool | None
    since: datetime | None
    eligible_at: datetime | None
    detail: str | None


@dataclass(frozen=True)
class Candidate:
    """A row of ``explain/candidates.sql``: a device that fallback and reassign would go to."""

    user_id: UUID
    device_id: UUID
    device_name: str | None
    room: int


@dataclass(frozen=True)
class Message:
    """A row of ``explain/messages.sql``: a message that no row of sequence_contacts has made."""

    user_id: UUID
    message_id: UUID
    phone: Phone
    written_by: str
    sequence_id: UUID | None
    sequence_name: str | None
    day: int | None
    device_id: UUID
    device_name: str | None
    status: str
    at: datetime | None
    error: str | None
    preview: str | None
    total: int


@dataclass(frozen=True)
class Near:
    """A row of ``explain/near.sql``: a phone that ends in the same digits."""

    phone: Phone
    user_id: UUID | None


LEADS = Query("explain/leads.sql", Lead)
TRIGGERS = Query("explain/triggers.sql", Call)
STEPS = Query("explain/steps.sql", Step)
GATES = Query("explain/gates.sql", Gate)
CANDIDATES = Query("explain/candidates.sql", Candidate)
MESSAGES = Query("explain/messages.sql", Message)
NEAR = Query("explain/near.sql", Near)


@dataclass(frozen=True)
class Outcome:
    """What a policy would do with a waiting step: ``queue``, or the reason to wait.

    ``decision`` is the one of a tick now; ``when_eligible`` the one when nothing but the device counts, as
    the devices stand now. ``device_id`` is where it would be queued, then.
    """

    policy: str
    decision: str
    when_eligible: str
    device_id: UUID | None
    device_name: str | None
    reassigns: bool


@dataclass(frozen=True)
class Waiting:
    """A step that waits. ``stopped_by`` is the first shut gate that the configured policy asks."""

    step: Step
    already_queued: bool
    """Its message exists: the tick only completes the row."""
    stopped_by: str | None
    reason: str | None
    since: datetime | None
    eligible_at: datetime | None
    gates: list[Gate]
    policies: list[Outcome]


@dataclass(frozen=True)
class Enrolment:
    """A person in a sequence, and its steps."""

    sequence_id: UUID
    sequence_name: str | None
    sequence_active: bool
    phone: Phone
    name: str | None
    steps: list[Step]


@dataclass(frozen=True)
class Story:
    """What is known of a phone with one user. ``messages`` are those of others, the latest first."""

    user_id: UUID | None
    leads: list[Lead]
    triggers: list[Call]
    enrolments: list[Enrolment]
    waiting: list[Waiting]
    messages: list[Message]
    messages_total: int


@dataclass(frozen=True)
class Explanation:
    """The answer: a story for each user who knows the phone; else the phones that are near it."""

    phone: Phone
    now: datetime
    policy: str
    """The configured policy."""
    known: bool
    stories: list[Story]
    near: list[Near]
