"""Limits of the server that a smaller batch stays below, and names that procedures make up."""

import json
from itertools import product
from typing import Any
from uuid import UUID

import pytest

from tests.world.command import Cli
from tests.world.host import Host


def people(host: Host, number: int) -> UUID:
    """``number`` people who are due on one device: the device."""
    user = host.user()
    device = host.device(user)
    sequence, (step, _) = host.simple_sequence(user, steps=2)
    host.rows(
        "insert into leads (user_id, device_id, phone, name) select %s, %s, '6012' || lpad(i::text, 7, '0'),"
        " 'Somebody' from generate_series(1, %s::int) as i",
        *(user, device, number),
    )
    host.rows(
        "insert into sequence_contacts (sequence_id, sequence_stepid, contact_phone, assigned_device_id,"
        " status, next_trigger_time) select %s, %s, '6012' || lpad(i::text, 7, '0'), %s, 'active',"
        " now() at time zone 'UTC' - interval '1 hour' from generate_series(1, %s::int) as i",
        *(sequence, step, device, number),
    )
    return device


def tick(seqdev: Cli, *options: str, code: int = 0) -> tuple[Any, str]:
    ran = seqdev("tick", "--format", "json", *options)
    assert ran.code == code, ran
    return json.loads(ran.out), ran.err


@pytest.mark.plain("whoever is due comes from the shards before a batch is cut: its size changes nothing")
def test_a_batch_that_needs_more_temporary_files_than_allowed_is_halved(host: Host, seqdev: Cli) -> None:
    people(host, 2000)
    database = host.value("select current_database()")
    host.rows(f"alter database {database} set temp_file_limit = 0")
    host.rows(f"alter database {database} set work_mem = '64kB'")
    summary, err = tick(seqdev)
    assert (summary["queued"], summary["waiting"], err) == (2000, {}, "")
    assert host.value("select count(distinct created_at) from broadcast_messages") > 1, "it was one batch"
    assert not host.broken_promises()


def test_a_batch_that_runs_out_of_locks_is_halved_and_the_limit_named_where_that_does_not_help(
    host: Host, seqdev: Cli
) -> None:
    people(host, 40)
    # As a host does it whose triggers take a lock for each row.
    host.rows(
        "create function too_many() returns trigger language plpgsql as $$ begin"
        " if (select count(*) from added) > 10 then"
        " raise exception 'out of shared memory' using errcode = '53200'; end if; return null; end $$"
    )
    host.rows(
        "create trigger too_many after insert on broadcast_messages referencing new table as added"
        " for each statement execute function too_many()"
    )
    assert tick(seqdev)[0]["queued"] == 40
    host.make_all_due()
    host.rows(
        "update sequence_contacts set next_trigger_time = now() at time zone 'UTC' where status = 'active'"
    )
    host.rows(
        "create or replace function too_many() returns trigger language plpgsql as $$ begin"
        " raise exception 'out of shared memory' using errcode = '53200'; end $$"
    )
    ran = seqdev("tick")
    assert ran.code == 13
    assert "out of memory or locks: see max_locks_per_transaction" in ran.err
    assert not host.broken_promises()


@pytest.mark.cases(3)
@pytest.mark.parametrize(
    ("state", "kind"),
    [
        *product(
            ["23514", "P0001"],
            ["constraint", "column", "table", "datatype", "schema", "message", "detail", "hint"],
        ),
        # A tick comes back for these until its patience is over: seconds each.
        ("XX000", "constraint"),
        ("55P03", "table"),
    ],
)
def test_what_a_procedure_calls_a_name_is_shown_nowhere(
    host: Host, seqdev: Cli, kind: str, state: str
) -> None:
    people(host, 3)
    host.rows(
        "create function name_it() returns trigger language plpgsql as $$ begin"
        f" raise exception using errcode = '{state}', {kind} = 'new.' || new.recipient_phone; end $$"
    )
    host.rows(
        "create trigger name_it before insert on broadcast_messages for each row"
        " when (new.recipient_phone = '60120000002') execute function name_it()"
    )
    ran = seqdev("--debug", "tick")
    assert "60120000002" not in ran.out + ran.err
    written = host.rows("select last_error, to_jsonb(r)::text from sequence_contacts, seqdev.run as r")
    assert "60120000002" not in str(written)
    if state in ("23514", "P0001"):
        assert f"1 contact quarantined: SQLSTATE {state}, raised by function name_it" in ran.err
