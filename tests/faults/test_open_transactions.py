"""Transactions of others that hold rows: left open, and deletes that cascade into what ticks claim."""

import json
from collections.abc import Callable
from uuid import UUID

import psycopg

from tests.faults.processes import ended, start
from tests.faults.record import Held, fault
from tests.faults.world import World, wait
from tests.world.sessions import TICKING

Worlds = Callable[..., World]

OPEN = {
    "lead": (
        "update leads set name = 'Ana' where id = md5('lead 16')::uuid",
        "contact_phone = '601990000006' and sequence_id = md5('solo1')::uuid",
    ),
    "device": (
        "select from user_devices where id = md5('device 12')::uuid for update",
        "coalesce(assigned_device_id, (select l.device_id from leads l where l.phone = contact_phone"
        " and l.user_id = sequence_contacts.user_id)) = md5('device 12')::uuid",
    ),
    "sequence": (
        "select from sequences where id = md5('warm1')::uuid for update",
        "sequence_id = md5('warm1')::uuid",
    ),
    "user": (
        "select from users where id = md5('user 1')::uuid for update",
        "user_id = md5('user 1')::uuid",
    ),
}
"""What a session locks and leaves open, and the contacts that depend on it."""


@fault("a transaction left open on a row", what=list(OPEN))
def test_only_those_who_depend_on_an_open_transaction_wait(
    make_world: Worlds, held: Held, expected: list[str], what: str
) -> None:
    lock, depend = OPEN[what]
    undisturbed, world = make_world(), make_world()
    undisturbed.ok("tick")
    sent = done(undisturbed, "true")
    dependent = sent & done(undisturbed, depend)
    with psycopg.connect(world.url) as other:
        other.execute(lock.encode())
        ran = world.run("tick", "--format", "json", SEQDEV_LOCK_TIMEOUT="1s")
        assert ran.code == 0, ran
        # Of a sequence that is held, those too who would wait for another reason.
        assert json.loads(ran.out)["waiting"]["locked_by_other"] >= len(dependent) > 0
        assert "locked_by_other: a row of " in ran.err
        assert done(world, "true") == sent - dependent
        other.rollback()
    world.account(expected)
    held.tries += len(sent)


def done(world: World, condition: str) -> set[UUID]:
    """The contacts that a tick has done, of those for whom ``condition`` is true."""
    rows = world.host.rows(
        f"select id from sequence_contacts where status = 'completed' and contact_phone ~ '^601990' and ({condition})"
    )
    return {row.id for row in rows}


USERS, PEOPLE = 10, 1000


@fault("the host deletes what ticks are sending for", table=["users", "sequences"])
def test_deletes_that_cascade_never_end_in_a_deadlock(make_world: Worlds, held: Held, table: str) -> None:
    world = make_world()
    for statement in CROWD:
        world.host.rows(statement, {"users": USERS, "people": PEOPLE})
    ticks = [start(world.url, "tick") for _ in range(2)]
    wait(lambda: world.host.value(TICKING + " and query like '%claim.sql%' and state = 'active'"))
    for number in range(1, USERS + 1):
        # A deadlock ends the delete, and would raise here.
        world.host.rows(f"delete from {table} where id = md5('{table} ' || %s::int)::uuid", number)
        held.tries += 1
    for tick in ticks:
        ran = ended(tick)
        world.look(ran)
        assert ran.code == 0, ran
    world.nothing_left_behind()
    assert not (found := world.host.broken_promises()), found[:3]


CROWD = (
    "insert into users (id) select md5('users ' || u)::uuid from generate_series(1, %(users)s::int) u",
    "insert into user_devices (id, user_id, device_name, status)"
    " select md5('user_devices ' || u)::uuid, md5('users ' || u)::uuid, 'more ' || u, 'online'"
    " from generate_series(1, %(users)s::int) u",
    "insert into sequences (id, user_id, name)"
    " select md5('sequences ' || u)::uuid, md5('users ' || u)::uuid, 'more ' || u"
    " from generate_series(1, %(users)s::int) u",
    "insert into sequence_steps (id, sequence_id, day_number, trigger, next_trigger, is_entry_point, content)"
    " select md5('steps ' || u || day)::uuid, md5('sequences ' || u)::uuid, day, 'M' || day,"
    " case day when 1 then 'M2' else '' end, day = 1, 'CANARY-TEXT'"
    " from generate_series(1, %(users)s::int) u, generate_series(1, 2) day",
    "insert into leads (user_id, device_id, phone, name, trigger)"
    " select md5('users ' || u)::uuid, md5('user_devices ' || u)::uuid, '60199' || lpad(p::text, 7, '0'),"
    " 'CANARY-NAME', 'M1' from generate_series(1, %(users)s::int) u, generate_series(1, %(people)s::int) p",
    "insert into sequence_contacts (sequence_id, sequence_stepid, contact_phone, assigned_device_id, user_id,"
    " status, next_trigger_time)"
    " select md5('sequences ' || u)::uuid, md5('steps ' || u || 1 + p %% 2)::uuid, '60199' || lpad(p::text, 7, '0'),"
    " md5('user_devices ' || u)::uuid, md5('users ' || u)::uuid, 'active',"
    " now() at time zone 'UTC' - interval '1 hour' + (p * 100 + u) * interval '1 ms'"
    " from generate_series(1, %(users)s::int) u, generate_series(1, %(people)s::int) p",
)
"""Users with a device, a sequence of two steps and people of their own, of whom every second is at the last step."""
