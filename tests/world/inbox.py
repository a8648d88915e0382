"""What people write back, as hosts store it: the table in the shapes of the field."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from tests.world.host import Host

PHONE = "60173527172"
CHAT = f"{PHONE}@s.whatsapp.net"

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


class Scene:
    """A person whose first step was sent an hour ago, and whose second is due; another sequence, another person."""

    def __init__(self, host: Host, phone: str = PHONE) -> None:
        self.host = host
        self.user = host.user()
        self.device, self.second = host.device(self.user, "A"), host.device(self.user, "B")
        self.sequence, self.steps = host.simple_sequence(self.user, steps=3)
        self.to_come = self.sent(self.sequence, self.steps, phone)
        self.cold, cold = host.simple_sequence(self.user, "COLD", steps=2)
        self.elsewhere = self.sent(self.cold, cold, phone)
        self.neighbour = self.sent(self.sequence, self.steps, "60173527173")

    def sent(
        self, sequence: UUID, steps: list[UUID], phone: str, ago: timedelta = timedelta(hours=1)
    ) -> UUID:
        done = self.host.contact(sequence, steps[0], phone, self.device, status="completed")
        self.message(done, "sent", ago)
        return self.host.contact(sequence, steps[1], phone, self.device)

    def message(self, contact: UUID, status: str, ago: timedelta) -> UUID:
        message: UUID = self.host.value(
            "insert into broadcast_messages (id, user_id, device_id, sequence_id, sequence_stepid, recipient_phone,"
            " recipient_name, message_type, content, media_url, status, scheduled_at, created_at, sent_at)"
            " select md5('seqdev message ' || sc.id)::uuid, %s, %s, sc.sequence_id, sc.sequence_stepid,"
            " sc.contact_phone, '', 'text', 'x', '', %s, t.at, t.at, case when %s = 'sent' then t.at end"
            " from sequence_contacts as sc cross join (select (now() - %s) at time zone 'UTC' as at) as t"
            " where sc.id = %s returning id",
            *(self.user, self.device, status, status, ago, contact),
        )
        return message

    def status(self, contact: UUID) -> str:
        return str(self.host.value("select status from sequence_contacts where id = %s", contact))

    def row(self, contact: UUID) -> Any:
        return self.host.value("select to_jsonb(sc) from sequence_contacts as sc where id = %s", contact)
