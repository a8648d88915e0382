"""Contacts that cannot be sent hold back nobody: the ten thousand of dead devices, and the live thousand."""

import json
import os
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.world.command import Cli

pytestmark = pytest.mark.thorough

MakeDatabase = Callable[[str], str]

LIVE_DEVICES = 25
LIVE = 1_000
DEAD_DEVICES = 40
DEAD = 10_000
ATTEMPTS = 3

BOUND = float(os.environ.get("SEQDEV_TEST_TIME_BOUND", "1.5"))
"""How much longer the run with the dead contacts may take: 1 is no longer at all."""

SLACK = 0.15
"""Seconds that say nothing on a machine that does other things too."""

_WORLD = """
    insert into users (id) values ('00000000-0000-0000-0000-000000000001');
    insert into sequences (id, user_id, name)
        select id, id, 'drip' from users;
    insert into sequence_steps (id, sequence_id, day_number, trigger, next_trigger, is_entry_point, content)
        select id, id, 1, 'WARM', '', true, 'hello' from users;
"""

_CONTACTS = """
    with device as (
        insert into user_devices (user_id, device_name, status)
        select u.id, %(status)s || ' ' || i, %(status)s from users u, generate_series(1, %(devices)s) i
        returning id, user_id, device_name
    ), numbered as (
        select id, user_id, row_number() over (order by device_name) - 1 as place from device
    ), lead as (
        insert into leads (user_id, device_id, phone, trigger)
        select n.user_id, n.id, %(prefix)s || i, 'WARM'
        from generate_series(0, %(contacts)s - 1) i
        join numbered n on n.place = i %% %(devices)s
        returning user_id, device_id, phone
    )
    insert into sequence_contacts
        (sequence_id, sequence_stepid, contact_phone, assigned_device_id, next_trigger_time)
    select user_id, user_id, phone, case when %(assigned)s then device_id end,
        now() at time zone 'UTC' - %(age)s::interval
    from lead
"""


def _populate(
    database: str, *, dead: str | None, live: int = LIVE, assigned: bool = True, analyze: bool = True
) -> None:
    """The live contacts, due for a minute; and, unless ``dead`` is None, the dead ones, due for days."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(_WORLD.encode())
        if dead:
            connection.execute(
                _CONTACTS.encode(),
                {
                    "status": "offline",
                    "devices": DEAD_DEVICES,
                    "contacts": DEAD,
                    "prefix": "6019",
                    "age": "3 days",
                    "assigned": dead == "assigned",
                },
            )
        connection.execute(
            _CONTACTS.encode(),
            {
                "status": "online",
                "devices": LIVE_DEVICES,
                "contacts": live,
                "prefix": "6012",
                "age": "1 minute",
                "assigned": assigned,
            },
        )
        if analyze:
            connection.execute("vacuum analyze")


def _runs(make_database: MakeDatabase, process: Cli, source: str, bound: float = 0.0) -> list[Any]:
    """The summaries of first runs on copies of ``source``: as many as it takes to stay below ``bound``."""
    summaries: list[Any] = []
    name = psycopg.conninfo.conninfo_to_dict(source)["dbname"]
    while len(summaries) < ATTEMPTS and not any(summary["duration"] <= bound for summary in summaries):
        ran = process(
            "tick", "--policy", "strict", "--format", "json", SEQDEV_DATABASE_URL=make_database(str(name))
        )
        assert ran.code == 0, ran.err
        summaries.append(json.loads(ran.out))
    return summaries


@pytest.mark.parametrize(
    ("dead", "bound"),
    [
        ("assigned", BOUND),
        # Found through a join with the leads, these have a price; it must not grow with every batch.
        pytest.param("through the lead", 2 * BOUND, marks=pytest.mark.load),
    ],
)
def test_contacts_of_offline_devices_cost_the_live_ones_neither_their_run_nor_their_time(
    make_database: MakeDatabase, template: str, process: Cli, dead: str, bound: float
) -> None:
    alone, crowded = make_database(template), make_database(template)
    _populate(alone, dead=None)
    _populate(crowded, dead=dead)

    quickest_alone = min(summary["duration"] for summary in _runs(make_database, process, alone))
    allowed = bound * quickest_alone + SLACK
    summaries = _runs(make_database, process, crowded, bound=allowed)

    for summary in summaries:
        assert (summary["queued"], summary["waiting"]) == (LIVE, {"device_offline": DEAD})
    seconds = [summary["duration"] for summary in summaries]
    assert min(seconds) <= allowed, (
        f"{seconds} s with the {DEAD} contacts of dead devices, {quickest_alone} s without"
    )


def test_contacts_of_full_devices_hold_back_nobody(
    make_database: MakeDatabase, template: str, process: Cli
) -> None:
    # The same crowd, but online and at its limit: every one of its devices is asked, and has no room.
    database = make_database(template)
    _populate(database, dead="assigned")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "insert into broadcast_messages (user_id, device_id, recipient_phone, status, scheduled_at)"
            " select d.user_id, d.id, '6010' || i, 'queued', now() at time zone 'UTC'"
            " from user_devices d, generate_series(1, 50) i where d.status = 'offline'"
        )
        connection.execute("update user_devices set status = 'online'")
        ran = process("tick", "--policy", "strict", "--format", "json", SEQDEV_DATABASE_URL=database)
        assert ran.code == 0, ran.err
        summary = json.loads(ran.out)
        assert (summary["queued"], summary["waiting"]) == (LIVE, {"device_full": DEAD})
        assert connection.execute(
            "select max(messages) from (select count(*) as messages from broadcast_messages group by device_id) m"
        ).fetchone() == (50,)


def test_contacts_that_the_server_has_no_statistics_of_yet_cost_no_more(
    make_database: MakeDatabase, template: str, process: Cli
) -> None:
    # As after a large import or enrolment: autovacuum comes a minute later, and cron before it.
    durations = []
    for analyze in (True, False):
        database = make_database(template)
        _populate(database, dead=None, live=2_500, assigned=False, analyze=analyze)
        ran = process("tick", "--batch-size", "250", "--format", "json", SEQDEV_DATABASE_URL=database)
        assert ran.code == 0, ran.err
        summary = json.loads(ran.out)
        assert (summary["queued"], summary["waiting"]) == (2_500, {})
        durations.append(summary["duration"])
    known, unknown = durations
    assert unknown <= 3 * known + 1, f"{unknown} s without statistics, {known} s with"
