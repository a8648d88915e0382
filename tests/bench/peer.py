"""The peer: one contact at a time with 50 connections, as the host application had it.

``python -m tests.bench.peer CONNINFO CONTACTS``: the dispatcher takes the oldest due contacts, 50 workers
each lock one, insert its message, complete it, insert the next step, and commit. It is generous to the host:
what belongs to sequences and steps is read once, before the clock starts, and so are the connections made.
Prints contacts and seconds.
"""

import sys
import threading
import time
from queue import Empty, SimpleQueue
from typing import Any
from uuid import UUID

import psycopg

WORKERS = 50

_STEPS = """
    select st.id, s.user_id, st.sequence_id, st.message_type, st.content, st.media_url,
           nx.id as next_id, nx.day_number, nx.trigger, nx.trigger_delay_hours
    from sequences s
    join sequence_steps st on st.sequence_id = s.id
    left join sequence_steps nx on nx.sequence_id = st.sequence_id and nx.trigger = st.next_trigger
"""
_DUE = """
    select id from sequence_contacts
    where status = 'active' and next_trigger_time <= now() and assigned_device_id is not null
    order by next_trigger_time limit %s
"""
_LOCK = """
    select contact_phone, contact_name, assigned_device_id, sequence_stepid
    from sequence_contacts where id = %s and status = 'active' for update skip locked
"""
_MESSAGE = """
    insert into broadcast_messages (id, user_id, device_id, sequence_id, sequence_stepid, recipient_phone,
        recipient_name, message_type, content, media_url, status, scheduled_at, created_at)
    values (md5('seqdev message ' || %s)::uuid, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'pending', now(), now())
"""
_COMPLETE = """
    update sequence_contacts set status = 'completed', completed_at = now(), processing_device_id = %s,
        processing_started_at = null, last_error = null
    where id = %s
"""
_NEXT = """
    insert into sequence_contacts (id, sequence_id, contact_phone, contact_name, current_step, status,
        current_trigger, next_trigger_time, retry_count, assigned_device_id, sequence_stepid, user_id)
    values (md5('seqdev contact ' || %s || ' ' || %s)::uuid, %s, %s, %s, %s, 'active', %s,
        now() + %s * interval '1 hour', 0, %s, %s, %s)
    on conflict (sequence_id, contact_phone, sequence_stepid) do nothing
"""

Step = tuple[Any, ...]


def process(connection: "psycopg.Connection[Any]", contact: UUID, steps: dict[UUID, Step]) -> bool:
    """One contact in a transaction of its own; False if somebody else has it."""
    with connection.transaction():
        row = connection.execute(_LOCK, (contact,)).fetchone()
        if row is None:
            return False
        phone, name, device, step = row
        _, user, sequence, kind, content, media, following, day, trigger, delay = steps[step]
        key = str(contact)
        connection.execute(_MESSAGE, (key, user, device, sequence, step, phone, name, kind, content, media))
        connection.execute(_COMPLETE, (device, contact))
        if following is not None:
            connection.execute(
                _NEXT,
                (key, str(following), sequence, phone, name, day, trigger, delay, device, following, user),
            )
    return True


def main(conninfo: str, contacts: int) -> None:
    connections = [psycopg.connect(conninfo, autocommit=True) for _ in range(WORKERS)]
    for connection in connections:
        connection.execute("set timezone = 'UTC'")
    steps = {row[0]: row for row in connections[0].execute(_STEPS).fetchall()}
    queue: SimpleQueue[UUID] = SimpleQueue()
    done: list[bool] = []

    def work(connection: "psycopg.Connection[Any]") -> None:
        while True:
            try:
                contact = queue.get_nowait()
            except Empty:
                return
            done.append(process(connection, contact, steps))

    started = time.monotonic()
    for (contact,) in connections[0].execute(_DUE, (contacts,)):
        queue.put(contact)
    threads = [threading.Thread(target=work, args=(connection,)) for connection in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(sum(done), time.monotonic() - started)
    for connection in connections:
        connection.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
