"""Many due contacts, and what must have become of each; or a few on each device."""

import random
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID, uuid4

from tests.world.host import MESSAGE_ID, Host


@dataclass
class Contact:
    """A due contact, and what must become of it: from one of ``devices`` of ``user``."""

    id: UUID
    user: UUID
    lead: UUID
    assigned: UUID | None
    devices: frozenset[UUID]
    wanders: bool


@dataclass
class Crowd:
    """What was put into the host's tables."""

    rng: random.Random
    contacts: dict[UUID, Contact] = field(default_factory=dict)
    triggers: dict[UUID, str] = field(default_factory=dict)
    """What each lead's list must be in the end."""
    devices: list[UUID] = field(default_factory=list)


@dataclass(frozen=True)
class Size:
    """How many contacts of all users, how many devices of each, and what share of those is offline."""

    contacts: int
    users: int
    devices: int
    offline: float = 0.3


def populate(host: Host, seed: int, size: Size) -> Crowd:
    """About ``size.contacts`` due contacts: half of the people in a sequence of two steps without delay, half of
    them at the end of two sequences at once, one of which chains on. All users have the same phones.

    A seventh has no assigned device; some are moved between two devices by the host while ticks run.
    """
    crowd = Crowd(random.Random(seed))
    rng = crowd.rng
    leads, rows = [], []
    for _ in range(size.users):
        user = host.user()
        own = [
            host.device(user, status="offline" if rng.random() < size.offline else "online")
            for _ in range(size.devices)
        ]
        crowd.devices += own
        twice = host.sequence(user)
        first = host.step(twice, 1, "TWICE", "TWICE_2")
        host.step(twice, 2, "TWICE_2", "", trigger_delay_hours=0)
        left, right, then = (host.sequence(user) for _ in range(3))
        left_step = host.step(left, 1, "LEFT", "")
        right_step = host.step(right, 1, "RIGHT", "NEXT")
        host.step(then, 1, "NEXT", "")
        remaining, number = size.contacts // size.users, 0
        while remaining > 0:
            number += 1
            lead, lead_device = uuid4(), rng.choice(own)
            if rng.random() < 0.5:
                steps, before, after = [(twice, first)], "TWICE,KEEP", "KEEP"
            else:
                steps = [(left, left_step), (right, right_step)]
                before, after = "LEFT,KEEP,RIGHT", "KEEP,NEXT"
            phone = f"6012{number:07}"
            leads.append((lead, user, lead_device, phone, before))
            crowd.triggers[lead] = after
            wanders = rng.random() < 0.1
            for sequence, step in steps:
                assigned = rng.choice(own) if rng.random() < 0.85 else None
                contact = Contact(
                    uuid4(),
                    user,
                    lead,
                    assigned,
                    frozenset(own if wanders else [assigned or lead_device]),
                    wanders,
                )
                crowd.contacts[contact.id] = contact
                due = timedelta(seconds=rng.uniform(60, 3 * 86_400))
                rows.append((contact.id, sequence, step, phone, assigned, due))
            remaining -= len(steps)
    rng.shuffle(rows)
    connection = host.connection
    with connection.cursor() as cursor:
        with cursor.copy("copy leads (id, user_id, device_id, phone, trigger) from stdin") as copy:
            for row in leads:
                copy.write_row(row)
        now = host.value("select now() at time zone 'UTC'")
        with cursor.copy(
            "copy sequence_contacts"
            " (id, sequence_id, sequence_stepid, contact_phone, assigned_device_id, next_trigger_time)"
            " from stdin"
        ) as copy:
            for *columns, due in rows:
                copy.write_row([*columns, now - due])
    # Whether the planner knows the tables is not the question here; test_starvation.py asks it.
    host.rows("analyze")
    return crowd


def reconcile(host: Host, crowd: Crowd) -> int:
    """Hold every row against what must have become of it; the number of contacts not done yet.

    Every done contact has one message, with its own id, from the right device and user, and there is no
    other message; what is not done has none. Every ended person's trigger list has lost what it must lose.
    """
    assert host.broken_promises() == []
    messages = {
        message.id: message
        for message in host.rows("select id, user_id, device_id, status from broadcast_messages")
    }
    rows = host.rows(
        f"select sc.*, {MESSAGE_ID} as message_id, st.next_trigger, st.day_number, s.user_id as owner, l.id as lead"
        " from sequence_contacts as sc join sequence_steps as st on st.id = sc.sequence_stepid"
        " join sequences as s on s.id = sc.sequence_id"
        " join leads as l on l.user_id = s.user_id and l.phone = sc.contact_phone"
    )
    done = {row.message_id: row for row in rows if row.status in ("completed", "failed")}
    assert set(done) == set(messages), "messages and done contacts are not the same"
    for identity, row in done.items():
        message, expected = messages[identity], crowd.contacts.get(row.id)
        assert message.user_id == row.owner
        assert row.processing_device_id == message.device_id
        if row.assigned_device_id:
            assert message.device_id == row.assigned_device_id, "not the device the contact is assigned to"
        if expected:
            assert message.user_id == expected.user
            assert message.device_id in expected.devices, "not the device of the contact"
            assert expected.wanders or row.assigned_device_id == expected.assigned, "the assignment changed"
    made = [row for row in rows if row.id not in crowd.contacts]
    assert len(rows) - len(made) == len(crowd.contacts), "contacts are gone"
    first_steps = {
        (row.sequence_id, row.contact_phone): row for row in done.values() if row.next_trigger == "TWICE_2"
    }
    assert len(made) == len(first_steps), "not one next step for every first step done"
    for row in made:
        before = first_steps[row.sequence_id, row.contact_phone]
        assert row.day_number == 2
        assert row.next_trigger_time == before.completed_at, "a delay of 0 is no delay"
        moved = before.id in crowd.contacts and crowd.contacts[before.id].wanders
        assert moved or row.assigned_device_id == before.assigned_device_id
    # A lead whose contacts are all done shows it, whatever other tick changed it at the same moment.
    unfinished = {row.lead for row in rows if row.status not in ("completed", "failed")}
    wrong = [
        (lead.trigger, crowd.triggers[lead.id])
        for lead in host.rows("select id, trigger from leads")
        if lead.id not in unfinished and lead.trigger != crowd.triggers[lead.id]
    ]
    assert not wrong, "trigger lists are not what the ended sequences leave"
    return len(rows) - len(done)


def nothing_due_was_left(host: Host) -> None:
    """Nothing is active that was due when the last run began."""
    assert (
        host.value(
            "select count(*) from sequence_contacts where status = 'active' and next_trigger_time"
            " <= (select max(started_at) from seqdev.run) at time zone 'UTC'"
        )
        == 0
    )


@dataclass(frozen=True)
class Small:
    """A user with a sequence of one step, and devices with some due contacts each."""

    user: UUID
    sequence: UUID
    step: UUID
    devices: list[UUID]
    leads: list[UUID]


def small(host: Host, devices: int, contacts: int) -> Small:
    user = host.user()
    sequence, (step,) = host.simple_sequence(user)
    own = [host.device(user) for _ in range(devices)]
    leads = []
    for place, device in enumerate(own):
        for number in range(contacts):
            phone = f"6012{place:03}{number:04}"
            leads.append(host.lead(user, device, phone, "WARM"))
            host.contact(sequence, step, phone, device)
    return Small(user, sequence, step, own, leads)


def due_people(host: Host, user: UUID, device: UUID | None, number: int, **columns: object) -> UUID:
    """So many due people of a new sequence of one step, which is returned; the first is due the longest."""
    sequence = host.sequence(user, "", **columns)
    step = host.step(sequence, 1, f"T{uuid4().hex}", "")
    for person in range(number):
        phone = f"6012{uuid4().int % 10**8:08}"
        host.lead(user, device, phone)
        host.contact(sequence, step, phone, device, -timedelta(minutes=number - person))
    return sequence
