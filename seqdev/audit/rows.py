"""The rows of the audits, and the files below ``sql/audit/`` that they come from."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID

from seqdev.output.text import Phone
from seqdev.postgres.queries import Query


@dataclass(frozen=True)
class Audited:
    """A row that people read. ``brief`` names the columns of their table, the important ones first."""

    brief: ClassVar[tuple[str, ...]]


@dataclass(frozen=True)
class Mismatch(Audited):
    """A row of ``audit/mismatches.sql``: a message, and the device that was assigned."""

    brief = (
        "phone",
        "cause",
        "state",
        "assigned_device",
        "used_device",
        "at",
        "sequence",
        "step",
        "writer",
        "verdict",
    )

    verdict: str
    cause: str | None
    state: str | None
    at: datetime | None
    phone: Phone
    sequence: str
    sequence_id: UUID
    step: int | None
    step_id: UUID | None
    assigned_device: str | None
    assigned_device_id: UUID | None
    used_device: str | None
    used_device_id: UUID
    writer: str
    contact_id: UUID
    message_id: UUID
    repair: str | None
    total: int
    found: dict[str, Any]
    summary: dict[str, Any] | None


@dataclass(frozen=True)
class DeviceState(Audited):
    """A row of ``audit/devices.sql``: a device, its work and its trouble."""

    brief = (
        *("device", "trouble", "due", "in_flight", "drain", "oldest_due", "room", "sent_hour", "sent_day"),
        *("assigned_contacts", "availability", "status", "last_seen", "pause"),
    )

    device: str
    device_id: UUID
    status: str
    availability: str
    assigned_contacts: int
    trouble: str | None
    due: int
    in_flight: int
    sent_hour: int
    sent_day: int
    room: int
    new_room: int | None
    oldest_due: datetime | None
    drain: timedelta | None
    last_seen: datetime | None
    pause: str | None
    user_id: UUID
    repair: str | None
    total: int
    found: dict[str, Any]


@dataclass(frozen=True)
class IfLost:
    """The row of ``audit/if_lost.sql``: what would be lost with a device."""

    device: str
    device_id: UUID
    status: str
    people: int
    enrolments: int
    in_flight: int
    due_1h: int
    due_24h: int
    other_devices: int
    room_1h: int
    room_24h: int
    restricted_devices: int
    new_chats: int | None
    fits: bool


@dataclass(frozen=True)
class ContactFinding(Audited):
    """A row of ``audit/contacts.sql``: somebody's row, and what is wrong with it."""

    brief = ("phone", "finding", "at", "assigned_device", "sequence", "step", "status", "reason", "state")

    finding: str
    phone: Phone | None
    sequence: str | None
    sequence_id: UUID
    step: int | None
    step_id: UUID | None
    state: str
    status: str | None
    reason: str | None
    assigned_device: str | None
    assigned_device_id: UUID | None
    at: datetime | None
    contact_id: UUID
    repair: str
    total: int
    found: dict[str, Any]
    summary: dict[str, Any] | None


@dataclass(frozen=True)
class SequenceFinding(Audited):
    """A row of ``audit/sequences.sql``: a sequence or a step, and what is wrong with it."""

    brief = ("sequence", "finding", "step", "detail", "people")

    finding: str
    sequence: str
    sequence_id: UUID
    step: int | None
    step_id: UUID | None
    detail: str | None
    people: int | None
    user_id: UUID
    repair: str
    total: int
    found: dict[str, Any]


@dataclass(frozen=True)
class LeadFinding(Audited):
    """A row of ``audit/leads.sql``: a lead, and what is wrong with it."""

    brief = ("phone", "finding", "name", "device", "detail")

    finding: str
    phone: Phone
    name: str | None
    detail: str | None
    device: str | None
    device_id: UUID | None
    lead_id: UUID
    user_id: UUID
    repair: str
    total: int
    found: dict[str, Any]


@dataclass(frozen=True)
class Collision(Audited):
    """A row of ``audit/collisions.sql``: somebody with two devices."""

    brief = ("phone", "finding", "devices", "messages", "due", "last_at", "state")

    finding: str
    state: str
    phone: Phone
    devices: str
    device_ids: str
    messages: int
    due: int
    last_at: datetime | None
    user_id: UUID
    repair: str
    total: int
    found: dict[str, Any]
    summary: dict[str, Any] | None


@dataclass(frozen=True)
class FailedMessages(Audited):
    """A row of ``audit/failed.sql``: messages of one step that one device did not send, of one cause."""

    brief = ("finding", "messages", "device", "sequence", "step", "last_at", "example")

    finding: str
    state: str
    messages: int
    people: int
    device: str | None
    device_id: UUID
    sequence: str | None
    sequence_id: UUID
    step: int | None
    step_id: UUID | None
    first_at: datetime | None
    last_at: datetime | None
    example: str | None
    user_id: UUID
    repair: str
    total: int
    found: dict[str, Any]
    summary: dict[str, Any] | None


@dataclass(frozen=True)
class ForeignMessage(Audited):
    """A row of ``audit/writers.sql``: a message of a sequence that seqdev did not make."""

    brief = ("phone", "finding", "at", "device", "sequence", "step", "state", "status")

    finding: str
    at: datetime | None
    phone: Phone
    sequence: str | None
    sequence_id: UUID
    step: int | None
    step_id: UUID | None
    device: str | None
    device_id: UUID
    state: str
    status: str
    message_id: UUID
    user_id: UUID
    repair: str
    total: int
    found: dict[str, Any]
    summary: dict[str, Any] | None


@dataclass(frozen=True)
class Asked:
    """The row of ``audit/settings.sql``: how many settings were made."""

    settings: int


@dataclass(frozen=True)
class Health(Audited):
    """The row of ``audit/health.sql``: how far behind the service is."""

    backlog: int
    on_pause: int
    oldest_due: datetime | None
    oldest_age: timedelta | None
    last_tick: datetime | None
    tick_age: timedelta | None
    paused_at: datetime | None
    paused_by: str | None
    paused_why: str | None


@dataclass(frozen=True)
class Session:
    """A row of ``audit/sessions.sql``: sessions of another program that may write messages."""

    application: str
    role: str
    client: str | None
    sessions: int
    at_work: int
    since: datetime | None
    hidden: bool


SETTINGS = Query("audit/settings.sql", Asked)
MISMATCHES = Query("audit/mismatches.sql", Mismatch)
DEVICES = Query("audit/devices.sql", DeviceState)
CONTACTS = Query("audit/contacts.sql", ContactFinding)
SEQUENCES = Query("audit/sequences.sql", SequenceFinding)
LEADS = Query("audit/leads.sql", LeadFinding)
COLLISIONS = Query("audit/collisions.sql", Collision)
WRITERS = Query("audit/writers.sql", ForeignMessage)
FAILED = Query("audit/failed.sql", FailedMessages)
IF_LOST = Query("audit/if_lost.sql", IfLost)
HEALTH = Query("audit/health.sql", Health)
SESSIONS = Query("audit/sessions.sql", Session)
