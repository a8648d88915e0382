"""What keeps ``seqdev db upgrade`` from its end is asked before its first change; what fails later leaves nothing behind."""

from typing import Any

import pytest

from seqdev.postgres import schema
from tests.world.command import Cli
from tests.world.host import Connect, Host
from tests.world.old_hosts import everything, make

OLD = "one row per person, column missing"

HOPELESS = {
    "serial ids": (
        "alter table leads drop column id, add column id serial primary key",
        "leads.id is wrong, and no upgrade can help: the people; it is integer, not uuid",
    ),
    "duplicate leads": (
        "alter table leads drop constraint leads_user_id_phone_key;"
        " insert into leads (user_id, phone) select user_id, phone from leads order by phone limit 3",
        "leads: one per user and phone is wrong, and no upgrade can help: 6 leads share user and phone with another."
        " To merge them: seqdev leads merge",
    ),
    "a key that another table refers to": (
        "create table note (sequence_id uuid, contact_phone varchar(50), foreign key (sequence_id, contact_phone)"
        " references sequence_contacts (sequence_id, contact_phone))",
        "sequence_contacts unique (sequence_id, contact_phone) is wrong, and no upgrade can help",
    ),
    "a key by which changes are published": (
        "alter table sequence_contacts alter sequence_id set not null, alter contact_phone set not null,"
        " replica identity using index sequence_contacts_sequence_id_contact_phone_key",
        "First take off the foreign key or the replica identity that rests on it",
    ),
}


@pytest.mark.parametrize("case", HOPELESS)
def test_nothing_is_changed_where_the_end_cannot_be_reached(
    case: str, empty_database: str, connect: Connect, seqdev: Cli
) -> None:
    statement, said = HOPELESS[case]
    host = connect(empty_database)
    make(host, OLD, "timestamp")
    host.execute(statement.encode())
    before = everything(host)
    ran = seqdev("db", "upgrade", "--yes")
    assert (ran.code, ran.out) == (10, "")
    assert said in ran.err
    assert "nothing was changed" in ran.err
    assert everything(host) == before
    checked = seqdev("db", "check")
    assert checked.code == 10


def test_two_rows_of_a_person_and_step_are_counted_and_keep_it_from_beginning(
    empty_database: str, connect: Connect, seqdev: Cli
) -> None:
    host = connect(empty_database)
    make(host, "no key at all", "timestamp")
    host.execute(
        "insert into sequence_contacts (sequence_id, contact_phone, sequence_stepid)"
        " select sequence_id, contact_phone, sequence_stepid from sequence_contacts"
    )
    before = everything(host)
    ran = seqdev("db", "upgrade", "--yes")
    assert ran.code == 10
    assert "one per person and step is wrong, and no upgrade can help: 8 rows" in ran.err
    assert everything(host) == before


def test_who_may_not_change_a_table_is_told_before_the_first_change(
    empty_database: str, connect: Connect, seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = connect(empty_database)
    make(host, OLD, "timestamp")
    host.execute("create role seqdev_half login")
    try:
        name = host.info.dbname
        host.execute(f"grant create on database {name} to seqdev_half".encode())
        host.execute("grant create, usage on schema public to seqdev_half")
        host.execute("grant select on all tables in schema public to seqdev_half")
        host.execute("alter table leads owner to seqdev_half")
        host.execute("alter table sequence_contacts owner to seqdev_half")
        before = everything(host)
        monkeypatch.setenv("SEQDEV_DATABASE_URL", empty_database.replace("user=postgres", "user=seqdev_half"))
        ran = seqdev("db", "upgrade", "--yes")
        assert ran.code == 12
        assert (
            "nothing was changed: the database role may not alter public.broadcast_messages of postgres"
            in ran.err
        )
        assert "seqdev db grants owner" in ran.err
        assert everything(host) == before
    finally:
        host.execute("reassign owned by seqdev_half to postgres")
        host.execute("drop owned by seqdev_half")
        host.execute("drop role seqdev_half")


def test_an_index_that_cannot_be_made_is_not_left_behind_invalid(
    host: Host, seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = host.user()
    constraint = host.value(
        "select conname from pg_constraint where conrelid = 'leads'::regclass and contype = 'u'"
    )
    host.rows(f"alter table leads drop constraint {constraint}")
    require_rights = schema.require_rights

    def meanwhile(*arguments: Any) -> None:
        """After the last question, and before the first change, the host writes a duplicate."""
        require_rights(*arguments)
        host.rows(
            "insert into leads (user_id, phone) values (%s, '60120000001'), (%s, '60120000001')", user, user
        )

    monkeypatch.setattr(schema, "require_rights", meanwhile)
    ran = seqdev("db", "upgrade", "--yes")
    assert ran.code == 1
    assert "60120000001" not in ran.err
    assert host.rows("select indexrelid::regclass from pg_index where not indisvalid") == []
