"""The rows of the audits, and the files below ``sql/audit/`` that they come from."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID

from seqdev.output.columns import Aged, Prose, Verdict
from seqdev.output.text import Phone
from seqdev.postgres.queries import Query


@dataclass(frozen=True)
class Audited:
    """A row that people read. ``brief`` names the columns of their table, the important ones first.

    ``usual``: what goes without saying, so that a column with nothing else is left out.
    """

    brief: ClassVar[tuple[str, ...]]
    usual: ClassVar[tuple[str, ...]] = ()


@dataclass(frozen=True)
class Mismatch(Audited):
    """A row of ``audit/mismatches.sql``: a message, and the device that was assigned."""

    brief = (
        *("phone", "verdict", "cause", "state", "assigned_device", "used_device", "at", "sequence", "step"),
        "writer",
    )
    usual = ("MISMATCH",)

    verdict: Verdict
    cause: Verdict | None
    state: Verdict | None
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
        *("device", "trouble", "status", "due", "in_flight", "oldest_due", "drain", "room", "sent_hour"),
        *("sent_day", "availability", "assigned_contacts", "last_seen", "pause"),
    )

    device: str
    device_id: UUID
    status: Verdict
    availability: str
    assigned_contacts: int
    trouble: Verdict | None
    due: int
    in_flight: int
    sent_hour: int
    sent_day: int
    room: int
    new_room: int | None
    oldest_due: Aged | None
    drain: timedelta | None
    last_seen: Aged | None
    pause: Prose | None
    user_id: UUID
    repair: str | None
    total: int
    found: dict[str, Any]


@dataclass(frozen=True)
class IfLost:
    """The row of ``audit/if_lost.sql``: what would be lost with a device."""

    brief: ClassVar[tuple[str, ...]] = (
        *("device", "status", "fits", "people", "enrolments", "in_flight", "due_1h", "due_24h"),
        *("other_devices", "room_1h", "room_24h", "restricted_devices", "new_chats"),
    )

    device: str
    device_id: UUID
    status: Verdict
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

    brief = ("phone", "finding", "status", "reason", "state", "at", "assigned_device", "sequence", "step")

    finding: Verdict
    phone: Phone | None
    sequence: str | None
    sequence_id: UUID
    step: int | None
    step_id: UUID | None
    state: Verdict
    status: Verdict | None
    reason: Verdict | None
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

    brief = ("sequence", "finding", "step", "people", "detail")

    finding: Verdict
    sequence: str
    sequence_id: UUID
    step: int | None
    step_id: UUID | None
    detail: Prose | None
    people: int | None
    user_id: UUID
    repair: str
    total: int
    found: dict[str, Any]


@dataclass(frozen=True)
class LeadFinding(Audited):
    """A row of ``audit/leads.sql``: a lead, and what is wrong with it."""

    brief = ("phone", "finding", "detail", "device", "name")

    finding: Verdict
    phone: Phone
    name: str | None
    detail: Prose | None
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

    finding: Verdict
    state: Verdict
    phone: Phone
    devices: str
    device_ids: str
    messages: int
    due: int
    last_at: Aged | None
    user_id: UUID
    repair: str
    total: int
    found: dict[str, Any]
    summary: dict[str, Any] | None


@dataclass(frozen=True)
class FailedMessages(Audited):
    """A row of ``audit/failed.sql``: messages of one step that one device did not send, of one cause."""

    brief = ("finding", "messages", "people", "device", "last_at", "sequence", "step", "example")

    finding: Verdict
    state: Verdict
    messages: int
    people: int
    device: str | None
    device_id: UUID
    sequence: str | None
    sequence_id: UUID
    step: int | None
    step_id: UUID | None
    first_at: datetime | None
    last_at: Aged | None
    example: Prose | None
    user_id: UUID
    repair: str
    total: int
    found: dict[str, Any]
    summary: dict[str, Any] | None


@dataclass(frozen=True)
class ForeignMessage(Audited):
    """A row of ``audit/writers.sql``: a message of a sequence that seqdev did not make."""

    brief = ("phone", "finding", "status", "state", "at", "device", "sequence", "step")

    finding: Verdict
    at: datetime | None
    phone: Phone
    sequence: str | None
    sequence_id: UUID
    step: int | None
    step_id: UUID | None
    device: str | None
    device_id: UUID
    state: Verdict
    status: Verdict
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
    oldest_due: Aged | None
    oldest_age: timedelta | None
    enrolled: bool
    last_tick: Aged | None
    tick_age: timedelta | None
    paused_at: Aged | None
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
