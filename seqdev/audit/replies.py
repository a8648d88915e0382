"""Who writes back: replies to what sequences have sent, by sequence, step and device."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from seqdev import replies
from seqdev.audit.audit import Criteria
from seqdev.audit.rows import Audited
from seqdev.output.columns import Aged, Share
from seqdev.phone import national
from seqdev.postgres import lookup
from seqdev.postgres.engine import Database
from seqdev.postgres.queries import Query
from seqdev.postgres.transaction import Transaction


@dataclass(frozen=True)
class Replies(Audited):
    """A row of ``audit/replies.sql``: messages of one step that one device has sent, and the replies."""

    brief = ("sequence", "step", "device", "messages", "replied", "rate", "last_reply")

    sequence: str | None
    sequence_id: UUID
    step: int | None
    step_id: UUID | None
    device: str | None
    device_id: UUID
    messages: int
    replied: int
    rate: Share
    last_reply: Aged | None
    user_id: UUID
    total: int


SINCE = timedelta(days=7)
"""Age of the messages that are looked at, unless somebody says another: as ``audit/replies.sql`` has it."""

REPLIES = Query("audit/replies.sql", Replies)


def find(database: Database, criteria: Criteria) -> Sequence[Replies]:
    """Replies to what was sent in ``criteria``, the most first.

    Raises SchemaError where the host keeps no inbound messages, or none that can be read.
    """

    def work(tx: Transaction) -> Sequence[Replies]:
        def named(kind: lookup.Kind, text: str | None, user: UUID | None = None) -> UUID | None:
            return lookup.resolve(tx, kind, text, user, beginning=True) if text is not None else None

        user = named(lookup.Kind.USER, criteria.user)
        sequence = named(lookup.Kind.SEQUENCE, criteria.sequence, user)
        device = named(lookup.Kind.DEVICE, criteria.device, user)
        kept = replies.inbox(tx, tx.settings)
        zone = criteria.window.zone
        now = criteria.at.gone_by(tx.now, zone) if criteria.at else tx.now
        window = criteria.window.given(now, REPLIES.statement.parameters["since"].default)
        # Up to now: to what was sent within the window, somebody may have replied after it.
        writers = replies.writers(tx, kept, criteria.window.begins(now, SINCE), each=True)
        return tx.rows(
            REPLIES,
            now=now,
            **window,
            at=now if criteria.at else "",
            user=user,
            sequence=sequence,
            device=device,
            failed=tx.settings.failed_statuses,
            digits=[one.digits for one in writers],
            users=[one.user_id for one in writers],
            ats=[one.at for one in writers],
            limit="" if criteria.limit is None else criteria.limit,
            **national(tx.settings.region),
        )

    return database.retry(work, read_only=True)
