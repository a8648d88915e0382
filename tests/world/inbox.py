"""What people write back, as hosts store it: the table in the shapes of the field."""

from datetime import timedelta
from uuid import UUID

from tests.world.host import Host

SHAPES = {
    "flagged": "id uuid primary key default gen_random_uuid(), device_id uuid not null, chat_jid varchar(255) not null,"
    " message_id varchar(255), sender_jid varchar(255), is_from_me boolean default false, timestamp timestamp not null",
    "sent": "id serial primary key, device_id varchar(255) not null, chat_jid varchar(255) not null,"
    " message_id varchar(255), sender_jid varchar(255), is_sent boolean default false, timestamp timestamptz not null",
    "epoch": "id serial primary key, device_id text not null, chat_jid text not null, message_id text,"
    " sender_jid text not null, timestamp bigint not null",
    "milliseconds": "id serial primary key, device_id text not null, chat_jid text not null, message_id text,"
    " sender_jid text not null, timestamp bigint not null",
}
"""The columns of whatsapp_messages."""


class Inbox:
    """The table of one shape, and what is written to devices and from them."""

    def __init__(self, host: Host, shape: str = "flagged") -> None:
        self.host = host
        self.shape = shape
        host.rows(f"create table whatsapp_messages ({SHAPES[shape]}, unique (device_id, message_id))")
        host.rows("create index on whatsapp_messages (timestamp desc)")

    def receives(self, device: UUID, chat: str, ago: timedelta = timedelta(0)) -> None:
        """The person of ``chat`` writes to the device."""
        self._store(device, chat, chat, False, ago)

    def sends(self, device: UUID, chat: str, ago: timedelta = timedelta(0)) -> None:
        """The device writes to the person of ``chat``."""
        self._store(device, chat, "60199999999:7@s.whatsapp.net", True, ago)

    def _store(self, device: UUID, chat: str, sender: str, from_me: bool, ago: timedelta) -> None:
        at = {
            "flagged": "(now() - %s) at time zone 'UTC'",
            "sent": "now() - %s",
            "epoch": "extract(epoch from now() - %s)::bigint",
            "milliseconds": "(extract(epoch from now() - %s) * 1000)::bigint",
        }[self.shape]
        flag = {"flagged": "is_from_me", "sent": "is_sent"}.get(self.shape)
        self.host.rows(
            f"insert into whatsapp_messages (device_id, chat_jid, sender_jid, timestamp{f', {flag}' if flag else ''})"
            f" values (%s, %s, %s, {at}{', %s' if flag else ''})",
            *(device, chat, sender, ago, *([from_me] if flag else [])),
        )
