"""An incident, as a report has to tell it: ticks with a gap, a pause, mismatches, failures, a repair."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from tests.world.command import Cli
from tests.world.host import Host

PHONE = "60187654321"
NAME = "Canary Winterbottom"
TEXT = "canary text about a shipment"
SCRIPT = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror=alert(2)>'
NUMBERED = "+60 12-345 67 89 spare"
"""What people call a device: its number."""


@dataclass(frozen=True)
class Incident:
    """The devices and the sequence of an incident, and the run that has repaired some of it."""

    alpha: UUID
    hostile: UUID
    numbered: UUID
    sequence: UUID
    repair: UUID


def incident(host: Host, seqdev: Cli, people: int = 12) -> Incident:
    """An incident of the last three hours: of ``people`` on each of two devices, some are repaired."""
    user = host.user()
    alpha, hostile, numbered = (host.device(user, name) for name in ("alpha", SCRIPT, NUMBERED))
    sequence, (step, later) = host.simple_sequence(user, steps=2)
    host.rows("update sequences set name = %s where id = %s", IMAGE, sequence)
    ticks(host)
    host.rows(
        "insert into seqdev.pause values (now() - interval '100 minutes', 'ann', 'web-1', 'postgres', %s,"
        " now() - interval '90 minutes', 'ann@web-1, postgres')",
        f"{NAME} {PHONE} {TEXT}",
    )
    # One is written to by another processor, the other's leads have a new owner.
    for number, (assigned, owner) in enumerate(((alpha, alpha), (numbered, hostile))):
        for one in range(people):
            phone = f"6012{number}{one:07}"
            host.lead(user, owner, phone)
            done = host.contact(sequence, step, phone, assigned, status="completed")
            host.contact(sequence, later, phone, assigned, timedelta(hours=20))
            message(host, done, hostile, f"{5 + 120 * one // people} minutes")
    for one in range(people // 2):
        phone = f"60129{one:07}"
        host.lead(user, alpha, phone)
        done = host.contact(sequence, step, phone, alpha, status="failed")
        message(host, done, alpha, f"{40 + one} minutes", "failed", "Device offline")
    ran = seqdev("repair", "assigned", "--since", "70m", "--yes")
    assert ran.code == 0, ran.err
    run = host.value("select id from seqdev.run where command = 'repair assigned'")
    return Incident(alpha, hostile, numbered, sequence, run)


def ticks(host: Host, since: str = "3 hours", until: str = "1 minute") -> None:
    """A tick a minute, but none for forty of them; one in fifty fails."""
    host.rows(
        "insert into seqdev.run (id, command, arguments, started_at, finished_at, version, os_user, database_user, host,"
        " exit_code) select gen_random_uuid(), 'tick', '', at, at + interval '2 seconds', '0.1.0', 'ann', 'postgres',"
        " 'web-1', case when extract(minute from at)::integer %% 50 = 7 then 13 else 0 end"
        " from generate_series(now() - %s::interval, now() - %s::interval, interval '1 minute') as at"
        " where at not between now() - interval '80 minutes' and now() - interval '40 minutes'",
        since,
        until,
    )


def message(
    host: Host, contact: UUID, device: UUID, ago: str, status: str = "sent", error: str | None = None
) -> None:
    """The message of a contact, written from ``device``."""
    host.rows(
        "insert into broadcast_messages (id, user_id, device_id, sequence_id, sequence_stepid, recipient_phone,"
        " content, media_url, recipient_name, status, error_message, scheduled_at, created_at)"
        " select gen_random_uuid(), s.user_id, %(device)s, sc.sequence_id, sc.sequence_stepid, sc.contact_phone,"
        " 'hello', '', '', %(status)s, %(error)s, t, t"
        " from sequence_contacts sc join sequences s on s.id = sc.sequence_id,"
        " (select now() at time zone 'UTC' - %(ago)s::interval as t) x where sc.id = %(contact)s",
        {"contact": contact, "device": device, "ago": ago, "status": status, "error": error},
    )


def plant_canaries(host: Host) -> None:
    """A phone, a name and a text wherever people or programs may have left one."""
    words = f"{NAME} {PHONE} {TEXT}"
    for table, column in (
        ("leads", "name"),
        ("leads", "niche"),
        ("sequence_contacts", "contact_name"),
        ("sequence_contacts", "last_error"),
        ("sequence_steps", "content"),
        ("sequence_steps", "media_url"),
        ("broadcast_messages", "recipient_name"),
        ("broadcast_messages", "content"),
        ("broadcast_messages", "media_url"),
        ("broadcast_messages", "error_message"),
        ("broadcast_messages", "group_id"),
        ("user_devices", "jid"),
        ("seqdev.run", "os_user"),
        ("seqdev.run", "database_user"),
        ("seqdev.run", "reason"),
        ("seqdev.change", "old_value"),
        ("seqdev.change", "new_value"),
        ("seqdev.pause", "os_user"),
        ("seqdev.pause", "why"),
    ):
        host.rows(f"update {table} set {column} = %s", words[:50] if column == "phone" else words)
    host.rows("update user_devices set phone = %s", PHONE)
    host.write_phone("broadcast_messages", PHONE, "status = 'failed'")
    host.rows(
        "insert into seqdev.blocked (id, digits, since, why, blocked_by) values (gen_random_uuid(), %s, now(), %s, %s)",
        *(PHONE, words, words),
    )
