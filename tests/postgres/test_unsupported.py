"""Tables on which the server runs none of seqdev's statements: said beforehand, and no command begins."""

import json

import pytest

from tests.world import citus
from tests.world.command import Cli
from tests.world.host import Host

COLLATION = (
    'create collation loose from "C";'
    "update pg_collation set collisdeterministic = false where collname = 'loose';"
)
GENERATED = "alter table {table} drop column {column}; alter table {table} add {column} text generated always as ('x') stored"
ID = "id, recipient_phone" if citus.URL else "id"
"""The key of messages: what is distributed by phone has it in every key."""

UNSUPPORTED = {
    "leads constraint late": (
        "alter table leads add constraint late unique (phone, user_id) deferrable initially deferred"
    ),
    "sequence_contacts constraint late": (
        "alter table sequence_contacts"
        " add constraint late unique (sequence_id, contact_phone, sequence_stepid) deferrable"
    ),
    "broadcast_messages constraint late": (
        "alter table broadcast_messages add constraint late unique (id) deferrable"
    ),
    "leads.phone collation": COLLATION + "alter table leads alter phone type varchar(50) collate loose",
    "leads.trigger collation": COLLATION + "alter table leads alter trigger type varchar(99) collate loose",
    "sequence_steps.trigger collation": (
        COLLATION + "alter table sequence_steps alter trigger type varchar(99) collate loose"
    ),
    "sequence_contacts.contact_phone collation": (
        COLLATION + "alter table sequence_contacts alter contact_phone type varchar(50) collate loose"
    ),
    "user_devices.platform collation": (
        COLLATION + "alter table user_devices alter platform type varchar(99) collate loose"
    ),
    "broadcast_messages.recipient_name": GENERATED.format(
        table="broadcast_messages", column="recipient_name"
    ),
    "sequence_contacts.current_trigger": GENERATED.format(
        table="sequence_contacts", column="current_trigger"
    ),
    "leads.niche": GENERATED.format(table="leads", column="niche"),
    "broadcast_messages rule copies": (
        "create rule copies as on insert to broadcast_messages do also notify copied"
    ),
    "sequence_contacts rule copies": (
        "create rule copies as on update to sequence_contacts do instead nothing"
    ),
    "leads rule copies": "create rule copies as on update to leads do also notify copied",
}


@pytest.mark.cases(3)
@pytest.mark.parametrize("item", UNSUPPORTED)
def test_what_the_server_cannot_do_is_said_before_anything_is_written(
    item: str, host: Host, seqdev: Cli
) -> None:
    user = host.user()
    device = host.device(user)
    host.simple_sequence(user)
    host.lead(user, device, "60123456789", "WARM")
    host.each(UNSUPPORTED[item])

    checked = seqdev("db", "check", "--format", "json")
    assert checked.code == 10
    (found,) = json.loads(checked.out)
    assert (found["item"], found["status"], found["remedy"]) == (item, "wrong", None)
    for command in (("enroll", "--yes"), ("tick",), ("repair", "stuck", "--yes")):
        ran = seqdev(*command)
        assert (ran.code, ran.out) == (10, "")
        assert f"seqdev cannot write here: {item} is wrong" in ran.err
        assert "seqdev db check" in ran.err
    upgraded = seqdev("db", "upgrade", "--yes")
    assert upgraded.code == 10
    assert item in upgraded.err
    assert host.value("select count(*) from seqdev.run where command not like 'db%%'") == 0


@pytest.mark.cases(2)
@pytest.mark.parametrize(
    "statement",
    [
        "create rule kept as on delete to leads do instead nothing",
        "create rule off as on insert to leads do instead nothing; alter table leads disable rule off",
        "alter table broadcast_messages add about text generated always as (left(content, 10)) stored",
        "alter table leads add constraint late unique (id, phone) deferrable",
        COLLATION + "alter table leads alter name type varchar(255) collate loose",
    ],
)
def test_what_only_looks_like_it_keeps_nobody_back(statement: str, host: Host, seqdev: Cli) -> None:
    user = host.user()
    host.simple_sequence(user)
    host.lead(user, host.device(user), "60123456789", "WARM")
    host.each(statement)
    assert seqdev("db", "check").code == 0
    assert seqdev("enroll", "--yes").code == 0
    ran = seqdev("tick", "--format", "json")
    assert (ran.code, json.loads(ran.out)["queued"]) == (0, 1)


def test_on_partitioned_messages_everything_works_and_no_index_is_promised(host: Host, seqdev: Cli) -> None:
    user = host.user()
    host.simple_sequence(user)
    host.lead(user, host.device(user), "60123456789", "WARM")
    host.each(
        "alter table broadcast_messages rename to whole;"
        f"create table broadcast_messages (like whole including defaults, primary key ({ID})) partition by hash (id);"
        "create table part partition of broadcast_messages for values with (modulus 1, remainder 0);"
        "drop table whole"
    )
    host.distribute("broadcast_messages", "recipient_phone")
    checked = seqdev("db", "check", "--format", "json")
    assert checked.code == 3
    missing = json.loads(checked.out)
    assert {one["remedy"] for one in missing} == {None}
    assert all("the table is partitioned" in one["why"] for one in missing)
    assert seqdev("db", "upgrade", "--yes").code == 0
    assert seqdev("enroll", "--yes").code == 0
    ran = seqdev("tick", "--format", "json")
    assert (ran.code, json.loads(ran.out)["queued"]) == (0, 1)
    # As it is advised: on each partition, then on the table.
    host.rows("create index concurrently on part (created_at)")
    host.rows("create index seqdev_messages_created on broadcast_messages (created_at)")
    left = json.loads(seqdev("db", "check", "--format", "json").out)
    assert {one["item"] for one in missing} - {one["item"] for one in left} == {
        "index seqdev_messages_created"
    }


def test_partitions_whose_key_has_more_columns_are_refused(host: Host, seqdev: Cli) -> None:
    host.each(
        "alter table broadcast_messages rename to whole;"
        f"create table broadcast_messages (like whole including defaults, primary key ({ID}, created_at))"
        " partition by range (created_at); drop table whole"
    )
    host.distribute("broadcast_messages", "recipient_phone")
    assert seqdev("db", "check").code == 10
    assert seqdev("db", "upgrade", "--yes").code == 10
    ran = seqdev("tick")
    assert (ran.code, ran.out) == (10, "")
    assert f"broadcast_messages unique ({ID}) is missing" in ran.err
