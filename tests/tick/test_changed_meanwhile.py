"""On Citus a claim is several statements: what another session does between them is judged as it is then."""

import json
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import pytest

from seqdev.postgres.queries import Statement
from seqdev.postgres.transaction import Transaction
from tests.world import citus
from tests.world.command import Cli
from tests.world.host import MESSAGE_ID, Connect, Host

pytestmark = pytest.mark.skipif(not citus.URL, reason="NOT TESTED: SEQDEV_TEST_CITUS_URL names no Citus")

CHANGES = {
    "taken": ("update sequence_contacts set status = 'taken' where contact_phone = %(phone)s", 9),
    "not due any more": (
        "update sequence_contacts set next_trigger_time = now() + interval '1 day' where contact_phone = %(phone)s",
        9,
    ),
    "at another step": (
        "update sequence_contacts set sequence_stepid = (select id from sequence_steps where day_number = 2)"
        " where contact_phone = %(phone)s",
        10,
    ),
    "on another device": (
        "update sequence_contacts set assigned_device_id = %(other)s where contact_phone = %(phone)s",
        10,
    ),
}
"""What becomes of one of ten, and how many get a message then."""


def people(host: Host, device: UUID) -> list[str]:
    """Ten people who are due on ``device``; their phones."""
    user = host.value("select user_id from user_devices where id = %s", device)
    sequence, (step, _) = host.simple_sequence(user, steps=2)
    host.rows(
        "insert into sequence_contacts (sequence_id, sequence_stepid, contact_phone, assigned_device_id, status,"
        " next_trigger_time) select %s, %s, '601200000' || i, %s, 'active', now() at time zone 'UTC' - interval '1 hour'"
        " from generate_series(10, 19) as i",
        *(sequence, step, device),
    )
    host.make_leads()
    return [f"601200000{i}" for i in range(10, 20)]


def tick(seqdev: Cli) -> Any:
    """The summary of a tick."""
    ran = seqdev("tick", "--format", "json")
    assert ran.code == 0, ran
    return json.loads(ran.out)


def after_the_messages(monkeypatch: pytest.MonkeyPatch, do: Callable[[], object]) -> list[str]:
    """``do`` once, when the first statement of a claim has run; the claims."""
    claims: list[str] = []
    run = Transaction._before

    def before(one: Transaction, statement: Statement, binds: Mapping[str, str | None]) -> None:
        if statement.path != "tick/claim_distributed.sql":
            run(one, statement, binds)
            return
        claims.append(statement.path)
        for text in statement.before:
            one._connection.exec_driver_sql(text, dict(binds))
            if len(claims) == 1 and text is statement.before[0]:
                do()

    monkeypatch.setattr(Transaction, "_before", before)
    return claims


@pytest.mark.parametrize("change", CHANGES)
def test_a_contact_that_changes_after_its_message_was_made_is_judged_as_it_is_then(
    host: Host, seqdev: Cli, connect: Connect, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    user = host.user()
    device, other = host.device(user), host.device(user)
    phones = people(host, device)
    statement, queued = CHANGES[change]
    session = Host(connect(host.url))
    given: dict[str, Any] = {"phone": phones[4], "other": other}
    claims = after_the_messages(monkeypatch, lambda: session.connection.execute(statement.encode(), given))
    summary = tick(seqdev)
    assert (summary["queued"], summary["quarantined"]) == (queued, 0)
    assert len(claims) > 1
    assert host.value("select count(*) from broadcast_messages") == queued
    # Each has the message of the very step that is done, on its device.
    assert queued == host.value(
        "select count(*) from broadcast_messages as m join sequence_contacts as sc"
        f" on m.recipient_phone = sc.contact_phone and m.id = {MESSAGE_ID}"
        " where sc.status = 'completed' and m.sequence_stepid = sc.sequence_stepid"
        " and m.device_id = sc.assigned_device_id"
    )
    assert host.broken_promises() == []


def test_who_is_made_due_after_the_messages_were_made_has_one_in_the_next_batch(
    host: Host, seqdev: Cli, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = host.device(host.user())
    people(host, device)
    host.rows("update sequence_contacts set status = 'paused' where contact_phone like '%%5'")
    session = Host(connect(host.url))
    after_the_messages(
        monkeypatch,
        lambda: session.connection.execute(
            "update sequence_contacts set status = 'active' where status = 'paused'"
        ),
    )
    summary = tick(seqdev)
    assert host.value("select count(*) from broadcast_messages") == summary["queued"]
    assert summary["queued"] in (9, 10)
    assert host.broken_promises() == []
