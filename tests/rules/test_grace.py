"""The rules grace and return_home: when a device counts as lost, and who comes back to it."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.world.command import Cli
from tests.world.host import Connect, Host

AGO = "(now() - %s::interval) at time zone 'UTC'"


@pytest.fixture
def lost(host: Host) -> UUID:
    """A device that is not online, with three people due; another of its user is."""
    host.rule("policy", "reassign")
    host.rule("grace", "2h")
    user = host.user()
    lost = host.device(user, "lost", "offline")
    host.device(user, "other")
    sequence, (first, _) = host.simple_sequence(user, steps=2)
    for number in range(3):
        host.contact(sequence, first, f"6012000000{number}", lost)
    return lost


def seen(host: Host, device: UUID, ago: timedelta | None) -> None:
    host.rows(f"update user_devices set last_seen = {AGO} where id = %s", ago, device)


def sends(host: Host, device: UUID, ago: timedelta) -> None:
    host.rows(
        "insert into broadcast_messages (id, user_id, device_id, recipient_phone, status, sent_at)"
        f" select %s, user_id, id, '6019', 'sent', {AGO} from user_devices where id = %s",
        *(uuid4(), ago, device),
    )


def tick(seqdev: Cli, *options: str) -> Any:
    ran = seqdev("tick", "--format", "json", *options)
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


def hours(number: float) -> timedelta:
    return timedelta(hours=number)


WAITS = {"device_away": 3}


@pytest.mark.parametrize("policy", ["fallback", "reassign"])
def test_people_wait_for_a_device_that_has_not_been_away_for_long(
    host: Host, seqdev: Cli, lost: UUID, policy: str
) -> None:
    host.rule("policy", policy)
    seen(host, lost, hours(1))
    for options in (["--dry-run"], []):
        found = tick(seqdev, *options)
        assert (found["moved"], found["waiting"]) == (0, WAITS)
    seen(host, lost, hours(2.1))
    for options in (["--dry-run"], []):
        found = tick(seqdev, *options)
        assert (found["moved"], found["waiting"]) == (3, {})


def test_the_last_message_is_a_sign_of_life_too(host: Host, seqdev: Cli, lost: UUID) -> None:
    sends(host, lost, hours(1))
    assert tick(seqdev, "--dry-run")["waiting"] == WAITS
    host.rows("alter table user_devices drop column last_seen")
    assert tick(seqdev, "--dry-run")["waiting"] == WAITS
    host.rows("update broadcast_messages set sent_at = sent_at - interval '2 hours'")
    assert tick(seqdev, "--dry-run")["moved"] == 3


@pytest.mark.parametrize("value", [None, "infinity", "-infinity"])
def test_without_a_sign_of_life_the_status_decides_at_once(
    host: Host, seqdev: Cli, lost: UUID, value: str | None
) -> None:
    host.rows("update user_devices set last_seen = %s::timestamp where id = %s", value, lost)
    assert tick(seqdev, "--dry-run")["moved"] == 3


def test_a_device_that_is_gone_or_out_of_service_is_lost_at_once(host: Host, seqdev: Cli, lost: UUID) -> None:
    seen(host, lost, hours(0))
    host.rows("update user_devices set status = 'banned' where id = %s", lost)
    assert tick(seqdev, "--dry-run")["moved"] == 3
    host.rows("update user_devices set status = 'online' where id = %s", lost)
    host.rows("insert into device_load_balance (device_id, is_available) values (%s, false)", lost)
    assert tick(seqdev, "--dry-run")["moved"] == 3


@pytest.mark.parametrize(("policy", "waiting"), [("strict", {"device_offline": 3}), ("queue", {})])
def test_other_policies_know_no_grace(
    host: Host, seqdev: Cli, lost: UUID, policy: str, waiting: dict[str, int]
) -> None:
    host.rule("policy", policy)
    seen(host, lost, hours(1))
    assert tick(seqdev, "--dry-run")["waiting"] == waiting


def test_the_most_specific_grace_holds_and_explain_says_until_when(
    host: Host, seqdev: Cli, lost: UUID
) -> None:
    seen(host, lost, hours(1))
    host.rule("grace", "30m", user=host.value("select user_id from user_devices limit 1"))
    assert tick(seqdev, "--dry-run")["moved"] == 3
    host.rule("grace", "3h", device=lost)
    assert tick(seqdev, "--dry-run")["waiting"] == WAITS
    (story,) = json.loads(seqdev("explain", "60120000000", "--format", "json").out)["stories"]
    waiting = story["waiting"][0]
    assert (waiting["reason"], waiting["stopped_by"]) == ("device_away", "grace")
    assert waiting["eligible_at"]
    by_policy = {one["policy"]: one["decision"] for one in waiting["policies"]}
    assert by_policy == {
        "queue": "queue",
        "strict": "device_offline",
        "fallback": "device_away",
        "reassign": "device_away",
    }
    screen = seqdev("explain", "60120000000").out
    assert "device_away" in screen
    assert "reassign (policy for all)" in screen


# -- return_home


def assigned(host: Host) -> list[str]:
    rows = host.rows(
        "select d.device_name as name from sequence_contacts sc join user_devices d on d.id = sc.assigned_device_id"
        " where sc.status = 'active' order by contact_phone"
    )
    return [row.name for row in rows]


def sent_from(host: Host) -> list[str]:
    """The devices of the messages of the last step."""
    rows = host.rows(
        "select d.device_name as name from broadcast_messages m join user_devices d on d.id = m.device_id"
        " join sequence_steps st on st.id = m.sequence_stepid where st.day_number = 2"
    )
    return [row.name for row in rows]


@pytest.fixture
def moved(host: Host, seqdev: Cli, lost: UUID) -> UUID:
    """They are on the other device now, and the lost one is back."""
    assert tick(seqdev)["moved"] == 3
    assert assigned(host) == ["other"] * 3
    host.rows("update user_devices set status = 'online' where id = %s", lost)
    return lost


def time_passes(host: Host, by: timedelta) -> None:
    host.rows("update seqdev.change set changed_at = changed_at - %s", by)


def test_people_go_back_when_nobody_had_to_leave_for_as_long_as_grace(
    host: Host, seqdev: Cli, moved: UUID
) -> None:
    time_passes(host, hours(1.9))
    host.rule("return_home", "true")
    tick(seqdev)
    assert assigned(host) == ["other"] * 3
    time_passes(host, hours(0.2))
    dry = seqdev("tick", "--dry-run")
    assert "3 rows would first go back to their own devices" in dry.err
    phone = host.value("select min(contact_phone) from sequence_contacts")
    told = seqdev("explain", phone)
    assert "a tick would first give" in told.err
    assert "back to its own device, lost, by the rule return_home" in told.err
    ran = seqdev("tick")
    assert ran.code == 0
    assert "3 rows went back to their own devices" in ran.err
    assert assigned(host) == ["lost"] * 3
    run = ran.err.split("repair undo ")[1].split()[0]
    journal = host.rows("select old_value, new_value from seqdev.change where run_id = %s", UUID(run))
    assert len(journal) == 3
    assert {row.new_value for row in journal} == {str(moved)}
    assert "went back" not in seqdev("tick").err
    host.rule("return_home", None)
    assert seqdev("repair", "undo", run, "--yes").code == 0
    assert assigned(host) == ["other"] * 3
    assert not host.broken_promises()


def test_nobody_goes_back_without_the_rule_or_to_a_device_that_is_away(
    host: Host, seqdev: Cli, moved: UUID
) -> None:
    time_passes(host, hours(3))
    tick(seqdev)
    assert assigned(host) == ["other"] * 3
    host.rule("return_home", "true")
    host.rows("update user_devices set status = 'offline' where id = %s", moved)
    tick(seqdev)
    assert assigned(host) == ["other"] * 3
    host.rows("update user_devices set status = 'online' where id = %s", moved)
    host.rule("return_home", "false", user=host.value("select user_id from user_devices limit 1"))
    tick(seqdev)
    assert assigned(host) == ["other"] * 3


def test_whom_somebody_has_moved_since_stays_and_others_are_not_held_up(
    host: Host, seqdev: Cli, moved: UUID
) -> None:
    time_passes(host, hours(3))
    ran = seqdev("repair", "device", "other", "--to", "lost", "--max", "1", "--yes")
    assert ran.code == 0, ran.err
    ran = seqdev("repair", "device", "lost", "--to", "other", "--yes")
    assert ran.code == 0, ran.err
    assert assigned(host) == ["other"] * 3
    host.rule("return_home", "true", user=host.value("select user_id from user_devices limit 1"))
    tick(seqdev)
    assert sorted(assigned(host)) == ["lost", "lost", "other"]


def test_of_a_way_over_several_devices_they_go_back_to_the_first(
    host: Host, seqdev: Cli, moved: UUID
) -> None:
    user = host.value("select user_id from user_devices limit 1")
    host.rows("update user_devices set status = 'offline' where device_name in ('lost', 'other')")
    host.rows("update user_devices set last_seen = null")
    host.device(user, "third")
    host.make_all_due()
    host.rows(
        "insert into sequence_steps (id, sequence_id, day_number, trigger, next_trigger, content, is_entry_point)"
        " select gen_random_uuid(), id, 3, 'WARM_3', '', 'x', false from sequences"
    )
    host.rows("update sequence_steps set next_trigger = 'WARM_3' where trigger = 'WARM_2'")
    assert tick(seqdev)["moved"] == 3
    assert assigned(host) == ["third"] * 3
    host.rows("update user_devices set status = 'online'")
    time_passes(host, hours(3))
    host.rule("return_home", "true")
    tick(seqdev)
    assert assigned(host) == ["lost"] * 3


def test_a_paused_tick_brings_nobody_back(host: Host, seqdev: Cli, moved: UUID) -> None:
    time_passes(host, hours(3))
    host.rule("return_home", "true")
    assert seqdev("pause", "--why", "x").code == 0
    assert seqdev("tick").code != 0
    assert assigned(host) == ["other"] * 3


def test_whom_the_host_keeps_from_going_back_stays_and_everybody_is_sent_to(
    host: Host, seqdev: Cli, moved: UUID
) -> None:
    time_passes(host, hours(3))
    host.rule("return_home", "true")
    host.make_all_due()
    phone = host.value("select min(contact_phone) from sequence_contacts where status = 'active'")
    host.rows(
        "create function stay() returns trigger language plpgsql as $$ begin"
        f" if new.contact_phone = '{phone}' and new.assigned_device_id <> old.assigned_device_id then"
        " raise exception 'stays'; end if; return new; end $$"
    )
    host.rows("create trigger stay before update on sequence_contacts for each row execute function stay()")
    before = host.value("select count(*) from broadcast_messages")
    ran = seqdev("tick", "--format", "json")
    assert ran.code == 3, ran.err
    assert "2 rows went back to their own devices" in ran.err
    assert "1 row could not go back to their own devices: " in ran.err
    assert json.loads(ran.out)["queued"] == 3
    assert host.value("select count(*) from broadcast_messages") == before + 3
    assert sorted(sent_from(host)) == ["lost", "lost", "other"]


@pytest.mark.plain("no foreign key leads from a distributed table, so that nothing waits for the device")
def test_a_device_that_somebody_holds_keeps_nobody_from_being_sent_to(
    host: Host, seqdev: Cli, connect: Connect, moved: UUID
) -> None:
    time_passes(host, hours(3))
    host.rule("return_home", "true")
    host.rows(
        "alter table sequence_contacts add foreign key (assigned_device_id) references user_devices (id) not valid"
    )
    host.make_all_due()
    with connect(host.url) as other:
        other.autocommit = False
        other.execute("select from user_devices where id = %s for update", [moved])
        ran = seqdev("tick", "--format", "json")
        other.rollback()
    assert "3 rows could not go back to their own devices: " in ran.err
    assert (ran.code, json.loads(ran.out)["queued"]) == (3, 3)
    assert sent_from(host) == ["other"] * 3
