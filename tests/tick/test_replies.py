"""People who write back leave the sequences that stop on a reply, before a tick claims anything."""

import json
from datetime import timedelta
from typing import Any

import pytest

from tests.world.command import Cli
from tests.world.host import Host
from tests.world.inbox import CHAT, PHONE, SHAPES, Inbox, Scene

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


def tick(seqdev: Cli, *options: str, code: int = 0) -> Any:
    ran = seqdev("tick", *options, "--format", "json")
    assert ran.code == code, ran.err
    return json.loads(ran.out)


@pytest.mark.parametrize("shape", SHAPES)
def test_who_has_replied_leaves_that_sequence_and_is_brought_back_byte_for_byte(
    host: Host, seqdev: Cli, shape: str
) -> None:
    scene, inbox = Scene(host), Inbox(host, shape)
    ran = seqdev("rules", "set", "stop_on_reply", "yes", "--sequence", "warm", "--yes")
    assert ran.code == 0, ran.err
    inbox.receives(scene.device, CHAT, MINUTE)
    inbox.sends(scene.device, "60173527173@s.whatsapp.net", MINUTE)
    before = scene.row(scene.to_come)
    dry = seqdev("tick", "--dry-run", "--format", "json")
    assert (json.loads(dry.out)["replied"], "1 row is of people who have replied" in dry.err) == (1, True)
    told = seqdev("explain", PHONE)
    assert "STOPPED: replied (they have written back: the next tick stops the step)" in told.out
    assert "warm day 2" in told.out
    done = tick(seqdev)
    assert (done["replied"], done["queued"]) == (1, 2)
    assert scene.status(scene.to_come) == "replied"
    assert str(scene.row(scene.to_come)["last_error"]).startswith("replied: at 20")
    assert [scene.status(one) for one in (scene.elsewhere, scene.neighbour)] == ["completed"] * 2
    assert tick(seqdev)["replied"] == 0
    shown = seqdev("explain", PHONE)
    assert "replied" in shown.out
    assert seqdev("audit", "contacts").code in (0, 3)
    ran = seqdev("contacts", "resume", PHONE, "--yes")
    assert ran.code == 0, ran.err
    assert scene.row(scene.to_come) == before
    # They wrote before they were brought back: they go on.
    assert tick(seqdev)["queued"] == 1
    assert not host.broken_promises()


@pytest.mark.cases(3)
@pytest.mark.parametrize("written", [f"+{PHONE}", "+60 17-352 7172", f"{PHONE}:12@s.whatsapp.net"])
@pytest.mark.parametrize("chat", [CHAT, f"{PHONE}@c.us", PHONE])
def test_every_spelling_of_a_phone_is_the_same(host: Host, seqdev: Cli, written: str, chat: str) -> None:
    scene, inbox = Scene(host, written), Inbox(host)
    host.rule("stop_on_reply", "true")
    inbox.receives(scene.device, chat)
    assert tick(seqdev)["replied"] == 2


def test_who_wrote_before_the_sequence_did_or_to_another_user_or_in_a_group_goes_on(
    host: Host, seqdev: Cli
) -> None:
    scene, inbox = Scene(host), Inbox(host)
    host.rule("stop_on_reply", "true")
    inbox.receives(scene.device, CHAT, 2 * HOUR)
    inbox.receives(host.device(host.user()), CHAT)
    for chat in (
        "120363@g.us",
        f"{PHONE}-1500000000@g.us",
        f"{PHONE}@lid",
        "status@broadcast",
        "",
        PHONE + "0" * 9,
    ):
        inbox.receives(scene.device, chat)
    inbox.sends(scene.device, CHAT)
    assert tick(seqdev)["replied"] == 0
    assert scene.status(scene.to_come) == "completed"


def test_to_whom_the_sequence_has_not_written_yet_it_writes(host: Host, seqdev: Cli) -> None:
    scene, inbox = Scene(host), Inbox(host)
    host.rule("stop_on_reply", "true")
    host.rows("delete from broadcast_messages")
    inbox.receives(scene.device, CHAT)
    assert tick(seqdev)["replied"] == 0


def test_a_reply_to_another_device_of_the_user_counts(host: Host, seqdev: Cli) -> None:
    scene, inbox = Scene(host), Inbox(host)
    host.rule("stop_on_reply", "true", user=scene.user)
    host.rule("stop_on_reply", "false", sequence=scene.cold)
    inbox.receives(scene.second, CHAT)
    assert tick(seqdev)["replied"] == 1
    assert [scene.status(one) for one in (scene.to_come, scene.elsewhere)] == ["replied", "completed"]


def test_rows_that_wait_and_messages_in_the_queue_are_stopped_as_well(host: Host, seqdev: Cli) -> None:
    scene, inbox = Scene(host), Inbox(host)
    host.rule("stop_on_reply", "true", sequence=scene.sequence)
    waits = host.contact(scene.sequence, scene.steps[2], PHONE, scene.device, HOUR, status="pending")
    host.rows("update sequence_contacts set status = 'completed' where id = %s", scene.to_come)
    queued = scene.message(scene.to_come, "pending", MINUTE)
    inbox.receives(scene.device, CHAT, 30 * MINUTE)
    everything = (
        "select jsonb_build_array((select jsonb_agg(t order by id) from sequence_contacts t),"
        " (select jsonb_agg(m order by id) from broadcast_messages m where id = %s))"
    )
    before = host.value(everything, queued)
    host.rule("policy", "strict")
    host.rows("update user_devices set status = 'offline'")
    assert tick(seqdev)["replied"] == 1
    assert scene.status(waits) == "replied"
    assert host.value("select status from broadcast_messages where id = %s", queued) == "cancelled"
    assert seqdev("contacts", "resume", PHONE, "--yes").code == 0
    assert host.value(everything, queued) == before


def test_what_a_device_brings_late_is_seen(host: Host, seqdev: Cli) -> None:
    scene, inbox = Scene(host), Inbox(host)
    host.rows("update broadcast_messages set sent_at = sent_at - interval '1 day'")
    host.rows(
        "update sequence_contacts set next_trigger_time = next_trigger_time + interval '1 hour' where status = 'active'"
    )
    host.rule("stop_on_reply", "true")
    assert tick(seqdev)["replied"] == 0
    inbox.receives(scene.device, CHAT, 59 * MINUTE)
    assert tick(seqdev)["replied"] == 2
    inbox.receives(scene.device, "60173527173@s.whatsapp.net", 20 * HOUR)
    # The first tick of an hour looks further back.
    host.rows("update seqdev.run set started_at = started_at - interval '1 hour'")
    assert tick(seqdev)["replied"] == 1


@pytest.mark.parametrize("columns", [None, "id int", "chat_jid text, device_id text, timestamp text"])
def test_without_such_a_table_those_wait_who_may_have_replied_and_nobody_else(
    host: Host, seqdev: Cli, columns: str | None
) -> None:
    scene = Scene(host)
    if columns:
        host.rows(f"create table whatsapp_messages ({columns})")
    host.rule("stop_on_reply", "true", sequence=scene.sequence)
    said = "there is no table whatsapp_messages with the columns"
    dry = seqdev("tick", "--dry-run", "--format", "json")
    ran = seqdev("tick", "--format", "json")
    assert (dry.code, ran.code) == (0, 3)
    for one in (dry, ran):
        found = json.loads(one.out)
        assert (found["replied"], found["queued"], found["waiting"]) == (None, 1, {"replies_unread": 2})
        assert said in one.err
        assert "seqdev rules set replies_from NAME" in one.err
    assert [scene.status(one) for one in (scene.to_come, scene.elsewhere)] == ["active", "completed"]
    told = seqdev("explain", PHONE)
    assert (told.code, "STOPPED: replies_unread" in told.out, said in told.out) == (0, True, True)
    assert said in seqdev("db", "check", "--no-probe").out
    # Nobody leaves a sequence on a reply: nobody needs to be known.
    host.rule("stop_on_reply", None, sequence=scene.sequence)
    assert tick(seqdev)["queued"] == 2


def test_a_host_that_refuses_the_status_is_named_and_the_others_go(host: Host, seqdev: Cli) -> None:
    scene, inbox = Scene(host), Inbox(host)
    host.rule("stop_on_reply", "true")
    host.rows(
        "alter table sequence_contacts add constraint known check (status in ('active', 'completed', 'pending'))"
    )
    inbox.receives(scene.device, CHAT)
    host.lead(scene.user, scene.device, "60173527179", "WARM")
    foreseen = seqdev("db", "check")
    assert "a tick cannot stop people here who have replied: they go on: " in foreseen.out
    assert host.value("select count(*) from sequence_contacts where status = 'replied'") == 0
    ran = seqdev("tick", "--format", "json")
    assert (ran.code, json.loads(ran.out)["replied"]) == (3, 0)
    assert "2 rows of people who have replied could not be stopped: SQLSTATE 23514" in ran.err
    assert scene.status(scene.neighbour) == "completed"


@pytest.mark.parametrize("value", ["maybe", "", "on"])
def test_what_psql_has_written_badly_stops_nobody(host: Host, seqdev: Cli, value: str) -> None:
    scene, inbox = Scene(host), Inbox(host)
    host.rule("stop_on_reply", value, sequence=scene.sequence)
    inbox.receives(scene.device, CHAT)
    assert tick(seqdev)["replied"] is None
    assert scene.status(scene.to_come) == "completed"


def test_an_audit_counts_replies_by_sequence_step_and_device(host: Host, seqdev: Cli) -> None:
    scene, inbox = Scene(host), Inbox(host, "epoch")
    inbox.receives(scene.device, "60173527173@s.whatsapp.net", MINUTE)
    inbox.receives(scene.device, "60173527173@s.whatsapp.net", 2 * MINUTE)
    inbox.receives(scene.device, CHAT, 2 * HOUR)
    ran = seqdev("audit", "replies", "--format", "json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert [
        (one["sequence"], one["step"], one["messages"], one["replied"], one["rate"]) for one in found
    ] == [
        ("warm", 1, 2, 1, 50.0),
        ("cold", 1, 1, 0, 0.0),
    ]
    assert found[0]["last_reply"]
    assert len(json.loads(seqdev("audit", "replies", "--sequence", "cold", "--format", "json").out)) == 1
    assert "50" in seqdev("audit", "replies", "--since", "2d").out
    assert json.loads(seqdev("audit", "replies", "--since", "1m", "--format", "json").out) == []


def test_an_audit_of_replies_without_the_table_says_so(host: Host, seqdev: Cli) -> None:
    ran = seqdev("audit", "replies")
    assert (ran.code, "there is no table whatsapp_messages" in ran.err) == (10, True)


def test_who_begins_the_sequence_again_after_they_wrote_gets_it(host: Host, seqdev: Cli) -> None:
    scene, inbox = Scene(host), Inbox(host)
    host.rule("stop_on_reply", "true", sequence=scene.sequence)
    inbox.receives(scene.device, CHAT)
    assert tick(seqdev)["replied"] == 1
    ran = seqdev("contacts", "restart", PHONE, "--sequence", "warm", "--why", "agreed", "--yes")
    assert ran.code == 0, ran.err
    assert (tick(seqdev)["replied"], scene.host.value("select count(*) from broadcast_messages")) == (0, 6)
    # Then the row of the next step is new, and what was queued has not left yet.
    host.make_all_due()
    assert tick(seqdev)["replied"] == 0
    queued = host.rows("select id, status from broadcast_messages order by id")
    assert tick(seqdev)["replied"] == 0
    assert host.rows("select id, status from broadcast_messages order by id") == queued


@pytest.mark.parametrize("assigned", [True, False])
def test_who_has_replied_stands_before_nobody(host: Host, seqdev: Cli, assigned: bool) -> None:
    scene, inbox = Scene(host), Inbox(host)
    host.rule("policy", "strict")
    host.rule("max_in_flight", 1)
    host.rule("stop_on_reply", "true", sequence=scene.sequence)
    host.rows("delete from sequence_contacts where id = %s", scene.elsewhere)
    host.rows(
        "update sequence_contacts set next_trigger_time = next_trigger_time - interval '1 hour' where id = %s",
        scene.to_come,
    )
    if not assigned:
        host.rows("update sequence_contacts set assigned_device_id = null where status = 'active'")
        host.rows("update leads set device_id = %s", scene.device)
    explain = ("explain", "60173527173", "--format", "json")
    (story,) = json.loads(seqdev(*explain).out)["stories"]
    assert [waiting["reason"] for waiting in story["waiting"]] == ["device_full"]
    inbox.receives(scene.device, CHAT)
    (story,) = json.loads(seqdev(*explain).out)["stories"]
    assert [waiting["reason"] for waiting in story["waiting"]] == [None]
    done = tick(seqdev)
    assert (done["replied"], done["queued"], scene.status(scene.neighbour)) == (1, 1, "completed")
