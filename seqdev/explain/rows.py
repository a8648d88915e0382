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
    same_as: Phone | None


@dataclass(frozen=True)
class Spelling:
    """A row of ``explain/spellings.sql``: how the host writes the person's phone."""

    phone: str


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
    device_gone: bool
    message_id: UUID | None
    message_by: str | None
    message_status: str | None
    message_at: datetime | None
    message_error: str | None
    message_device_id: UUID | None
    message_device_name: str | None
    message_device_online: bool | None
    message_device_gone: bool
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


@dataclass(frozen=True)
class Blocked:
    """A row of ``explain/blocked.sql``: the phone is never written to."""

    user_id: UUID | None
    since: datetime
    why: str | None
    blocked_by: str | None


@dataclass(frozen=True)
class OwnPolicy:
    """A row of ``explain/policies.sql``."""

    user_id: UUID
    policy: str


BLOCKED = Query("explain/blocked.sql", Blocked)
SPELLINGS = Query("explain/spellings.sql", Spelling)
POLICIES = Query("explain/policies.sql", OwnPolicy)
LEADS = Query("explain/leads.sql", Lead)
TRIGGERS = Query("explain/triggers.sql", Call)
STEPS = Query("explain/steps.sql", Step)
GATES = Query("explain/gates.sql", Gate)
CANDIDATES = Query("explain/candidates.sql", Candidate)
MESSAGES = Query("explain/messages.sql", Message)
NEAR = Query("explain/near.sql", Near)


@dataclass(frozen=True)
class PolicyOutcome:
    """What a policy would do with a waiting step."""

    policy: str
    """The policy."""
    decision: str
    """What a tick would do now: queue, or the reason to wait."""
    when_eligible: str
    """The same, once nothing but the device counts, as the devices stand now."""
    device_id: UUID | None
    """Where the message would be queued then."""
    device_name: str | None
    """Its name."""
    reassigns: bool
    """Whether the contact would be assigned to that device."""


@dataclass(frozen=True)
class Waiting:
    """A step that waits."""

    step: Step
    """The step."""
    already_queued: bool
    """Its message exists: the tick only completes the row."""
    stopped_by: str | None
    """The first shut gate that the policy asks; None where it may be sent."""
    reason: str | None
    """What the tick calls it."""
    since: datetime | None
    """Since when the gate is shut, as far as the database tells."""
    eligible_at: datetime | None
    """When the step may be sent, at the earliest; None where that is not known."""
    gates: list[Gate]
    """Every gate, in the order of the tick."""
    policies: list[PolicyOutcome]
    """What each policy would do."""


@dataclass(frozen=True)
class Enrolment:
    """A person in a sequence, and its steps."""

    sequence_id: UUID
    """The sequence."""
    sequence_name: str | None
    """Its name; None where it is gone."""
    sequence_active: bool
    """Whether it is active."""
    phone: Phone
    """As it is written there."""
    name: str | None
    """The person's name there."""
    steps: list[Step]
    """Its steps, those not reached too."""


@dataclass(frozen=True)
class Story:
    """What is known of a phone with one user."""

    user_id: UUID | None
    """The user; None where the sequence is gone and the row names nobody."""
    leads: list[Lead]
    """Their leads with this phone."""
    triggers: list[Call]
    """What an enrolment would say to each trigger of these leads."""
    policy: str
    """The device policy of the user."""
    policy_by: str
    """Whose rule that is: user, or all, which is the default where none is set."""
    enrolments: list[Enrolment]
    """The sequences that the person is in, or was."""
    waiting: list[Waiting]
    """The steps that wait, and what stops them."""
    messages: list[Message]
    """Messages that no step made: campaigns, other processors; the latest first."""
    messages_total: int
    """Such messages in all, listed or not."""


@dataclass(frozen=True)
class Explanation:
    """The answer: a story for each user who knows the phone; else the phones that are near it."""

    phone: Phone
    """The phone, as it was asked for."""
    now: datetime
    """The instant of the answer."""
    policy: str
    """The policy for all; a user may have another."""
    known: bool
    """Whether anything is known of the phone."""
    blocked: list[Blocked]
    """Where it is blocked: for everybody, or for which users."""
    stories: list[Story]
    """What is known of it, by user."""
    near: list[Near]
    """Where nothing is known: phones that end in the same digits."""
