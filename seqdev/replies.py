"""Replies: who has written back to a device, where the host keeps what people write."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from seqdev.errors import Refused, SchemaError
from seqdev.phone import national
from seqdev.postgres.findings import Finding
from seqdev.postgres.queries import Query
from seqdev.settings import Settings

if TYPE_CHECKING:
    from seqdev.postgres.transaction import Transaction


@dataclass(frozen=True)
class StopsOnReply:
    """The row of ``tick/replies_stop.sql``."""

    sequences: list[UUID]
    looked_at: datetime | None


@dataclass(frozen=True)
class Inbox:
    """The row of ``tick/inbox.sql``: where the host keeps replies, and why nobody can read them."""

    kind: str | None
    named: str | None
    trouble: str | None


@dataclass(frozen=True)
class Writer:
    """A row of ``tick/replies.sql``: a person who has written to a device of a user."""

    digits: str
    user_id: UUID
    at: datetime


@dataclass(frozen=True)
class Reading:
    """The row of ``tick/replies_named.sql``: a statement, whose rows are ``Reply``."""

    statement: str | None


@dataclass(frozen=True)
class Reply:
    """A reply as the table or view of the rule ``replies_from`` has it."""

    phone: str
    device_id: str | None
    at: datetime


OVERLAP = timedelta(hours=1)
"""So long before the last tick that looked, messages are looked at again: they are stored when they are."""

FAR = timedelta(days=2)
"""So far the first tick of an hour looks back: a device that was away brings what was written meanwhile."""


@dataclass(frozen=True)
class RepliedRow:
    """A row of ``tick/find_replied.sql``."""

    table_name: str
    row_id: UUID
    at: datetime


STOPS = Query("tick/replies_stop.sql", StopsOnReply)
INBOX = Query("tick/inbox.sql", Inbox)
WRITTEN = Query("tick/replies.sql", Writer)
WRITTEN_EPOCH = Query("tick/replies_epoch.sql", Writer)
READING = Query("tick/replies_named.sql", Reading)
GIVEN = Query("tick/replies_given.sql", Writer)
FIND_REPLIED = Query("tick/find_replied.sql", RepliedRow)

_HELP = "put it right, or take the rule away: seqdev rules unset replies_from"
_HELP_OWN = "name the table or view that has them: seqdev rules set replies_from NAME; see docs/hosts.md"


def stops_on_reply(transaction: "Transaction", settings: Settings) -> StopsOnReply:
    """Which sequences people leave when they write back."""
    return transaction.one(STOPS, stop_on_reply=settings.stop_on_reply)


def stops(transaction: "Transaction") -> StopsOnReply | None:
    """The same; None: the rule ``stop_on_reply`` is set for no sequence."""
    settings = transaction.settings
    if not settings.rules_on("stop_on_reply"):
        return None
    found = stops_on_reply(transaction, settings)
    return found if found.sequences else None


def found(transaction: "Transaction", stopping: StopsOnReply, kept: Inbox) -> list[RepliedRow]:
    """Rows to come of people who have replied, as far back as a tick would look now."""
    settings = transaction.settings
    now, last = transaction.now.astimezone(UTC), stopping.looked_at
    far = last is None or (last.astimezone(UTC).hour, now - last > timedelta(hours=1)) != (now.hour, False)
    since = min(now, last or now) - (FAR if far else OVERLAP)
    writing = writers(transaction, kept, since)
    if not writing:
        return []
    return transaction.rows(
        FIND_REPLIED,
        # Of who is written with signs all are looked at, once an hour.
        due_by="infinity" if far else now,
        digits=[one.digits for one in writing],
        users=[one.user_id for one in writing],
        ats=[one.at for one in writing],
        sequences=stopping.sequences,
        waiting=settings.waiting_statuses,
        failed=settings.failed_statuses,
        **national(settings.region),
    )


def inbox(transaction: "Transaction", settings: Settings) -> Inbox:
    """Where the host keeps what people write.

    Raises SchemaError where it cannot be read: to go on without would be to write to people who have replied.
    """
    found = look(transaction, settings, settings.replies_from)
    if found.trouble:
        raise SchemaError(
            f"replies cannot be read: {found.trouble}", _HELP if settings.replies_from else _HELP_OWN
        )
    return found


def unread(transaction: "Transaction") -> frozenset[UUID]:
    """The sequences that people leave when they write back, where nobody can read what they write."""
    stopping = stops(transaction)
    if stopping and look(transaction, transaction.settings, transaction.settings.replies_from).trouble:
        return frozenset(stopping.sequences)
    return frozenset()


def look(transaction: "Transaction", settings: Settings, name: str) -> Inbox:
    """What there is of the table or view ``name``, as the rule ``replies_from`` would name it."""
    return transaction.one(INBOX, replies_from=name, schema=settings.schema)


def checked(transaction: "Transaction") -> list[Finding]:
    """Whether ticks can read replies, where the rule ``replies_from`` is set, or a sequence stops on them."""
    settings = transaction.settings
    stopping = stops(transaction)
    if not (settings.replies_from or stopping):
        return []
    trouble = look(transaction, settings, settings.replies_from).trouble
    why = f"ticks read replies in {settings.replies_from or 'whatsapp_messages'}"
    if trouble:
        why = f"{trouble}: a tick sends nothing of sequences that stop on replies; "
        why += _HELP if settings.replies_from else _HELP_OWN
    item = f"rule {'replies_from' if settings.replies_from else 'stop_on_reply'}"
    return [Finding(item, "advised" if trouble else "ok", why, None, None)]


def writers(transaction: "Transaction", kept: Inbox, since: datetime, *, each: bool = False) -> list[Writer]:
    """Who has written ``since``, and when the last time, or ``each`` time.

    Raises SchemaError where the table or view of the rule ``replies_from`` fails while it is read.
    """
    period = {"since": since, "until": transaction.now, "each": each}
    if kept.kind != "named":
        return transaction.rows(WRITTEN if kept.kind == "instant" else WRITTEN_EPOCH, **period)
    statement = transaction.one(READING, named=kept.named, **period).statement
    if statement is None:
        raise SchemaError(f"replies cannot be read: {kept.named} is gone", _HELP)
    try:
        found = transaction.made(statement, Reply)
    except Refused as error:
        raise SchemaError(
            f"replies cannot be read: {kept.named}, which the rule replies_from names, fails: {error.reason}",
            _HELP,
        ) from error
    return transaction.rows(
        GIVEN,
        phones=[one.phone for one in found],
        devices=[one.device_id for one in found],
        ats=[one.at for one in found],
        **national(transaction.settings.region),
    )
