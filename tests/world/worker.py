"""The host's broadcast worker, as far as it reads the queue: what it cannot read it passes over, at every turn.

Rebuilt from what the public sources of the host do; docs/hosts.md has the facts.
"""

from collections.abc import Callable
from typing import Any
from uuid import UUID

Rows = Callable[..., list[Any]]
"""Runs a statement; its rows as named tuples."""

PLAIN = {
    "id": UUID,
    "device_id": UUID,
    "recipient_phone": str,
    "recipient_name": str,
    "message_type": str,
    "content": str,
    "media_url": str,
    "min_delay": int,
    "max_delay": int,
}
"""What it reads into variables that hold no NULL, and their types."""

QUEUE = """
    select m.id, m.user_id, m.device_id, m.campaign_id, m.sequence_id, m.recipient_phone, m.recipient_name,
        m.message_type, m.content, m.media_url, m.scheduled_at, m.group_id, m.group_order,
        coalesce(s.min_delay_seconds, 10) as min_delay, coalesce(s.max_delay_seconds, 30) as max_delay
    from broadcast_messages as m left join sequences as s on s.id = m.sequence_id
    where m.device_id = %s and m.status = 'pending' and m.scheduled_at <= timezone('UTC', now())
    order by m.group_id nulls last, m.group_order nulls last, m.created_at
    limit %s
"""
PASSED_OVER = """
    select m.id, m.recipient_phone, m.recipient_name, m.message_type, m.content, m.media_url, m.scheduled_at
    from broadcast_messages as m
    where m.status = 'pending' and num_nulls(m.device_id, m.recipient_phone, m.recipient_name, m.message_type,
            m.content, m.media_url, m.scheduled_at) > 0
        and m.id in (select md5('seqdev message ' || sc.id)::uuid from sequence_contacts as sc)
"""


def read(rows: Rows, device: UUID, limit: int = 1000) -> list[Any]:
    """What it sends from a device next, in its order."""
    return [row for row in rows(QUEUE, device, limit) if is_readable(row)]


def is_readable(row: Any) -> bool:
    return all(isinstance(getattr(row, column), kind) for column, kind in PLAIN.items())


def passed_over(rows: Rows) -> list[Any]:
    """What seqdev has queued and the worker will never read."""
    return rows(PASSED_OVER)
