"""Replies: who has written back to a device, where the host keeps what people write."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from seqdev.postgres.queries import Query
from seqdev.settings import Settings

if TYPE_CHECKING:
    from seqdev.postgres.transaction import Transaction


@dataclass(frozen=True)
class StopsOnReply:
    """The row of ``tick/replies_stop.sql``."""

    sequences: list[UUID]
    kind: str | None
    readable: bool
    looked_at: datetime | None

    @property
    def trouble(self) -> str | None:
        """Why nobody can be found who has written back, in words; None: there is nothing in the way."""
        if self.kind is None:
            return "there is no table whatsapp_messages with the columns device_id, chat_jid and timestamp"
        if not self.readable:
            return "this role may not read whatsapp_messages; give it the right: seqdev db grants"
        return None


@dataclass(frozen=True)
class Writer:
    """A row of ``tick/replies.sql``: a person who has written to a device of a user."""

    digits: str
    user_id: UUID
    at: datetime


STOPS = Query("tick/replies_stop.sql", StopsOnReply)
WRITTEN = Query("tick/replies.sql", Writer)
WRITTEN_EPOCH = Query("tick/replies_epoch.sql", Writer)


def stops_on_reply(transaction: "Transaction", settings: Settings) -> StopsOnReply:
    """Which sequences people leave when they write back, and where the host keeps what they write."""
    return transaction.one(STOPS, stop_on_reply=settings.stop_on_reply)


def writers(
    transaction: "Transaction", kept: StopsOnReply, since: datetime, *, each: bool = False
) -> list[Writer]:
    """Who has written ``since``, and when the last time, or ``each`` time. No ``kept.trouble``."""
    query = WRITTEN if kept.kind == "instant" else WRITTEN_EPOCH
    return transaction.rows(query, since=since, until=transaction.now, each=each)
