"""The way back: undo restores what nobody has changed since, whatever happens in between."""

import random
from uuid import uuid4

import pytest

from tests.world.command import Cli
from tests.world.host import Host
from tests.world.repairs import (
    Person,
    assert_journal_leads_back,
    only,
    people_of,
    repair,
    run,
    run_of,
    setting,
    snapshot,
)


def test_undo_brings_everything_back_and_a_second_one_does_nothing(host: Host, seqdev: Cli) -> None:
    a, b, first, second = setting(host)
    before = snapshot(host)
    done = run_of(repair(seqdev, "device", "A", "--to", "B"))
    with only(host, {(first, "assigned_device_id"): a, (second, "assigned_device_id"): a}):
        undo = repair(seqdev, "undo", done[:8])
    assert snapshot(host) == before
    with only(host, {}):
        assert repair(seqdev, "undo", done)["summary"]["planned"] == 0
    # The undo is a run, and can be undone; then the first is in effect again.
    repair(seqdev, "undo", run_of(undo))
    assert {row.assigned_device_id for row in host.rows("select * from sequence_contacts")} == {b}
    with only(host, {}):
        repair(seqdev, "undo", run_of(undo))
    assert repair(seqdev, "undo", done)["summary"]["changed"] == 2
    assert snapshot(host) == before
    # Done again by another run: the first stays undone.
    repair(seqdev, "device", "A", "--to", "B")
    with only(host, {}):
        repair(seqdev, "undo", done)


def test_rows_changed_since_are_listed_and_kept(host: Host, seqdev: Cli) -> None:
    a, _, first, second = setting(host)
    done = run_of(repair(seqdev, "device", "A", "--to", "B"))
    host.rows("update sequence_contacts set assigned_device_id = %s where id = %s", uuid4(), first)
    host.rows("update sequence_contacts set contact_name = 'no matter' where id = %s", second)
    with only(host, {(second, "assigned_device_id"): a}):
        result = repair(seqdev, "undo", done, code=3)
    assert [(row["row_id"], row["refused"]) for row in result["refused"]] == [(str(first), "changed_since")]
    host.rows("delete from sequence_contacts where id = %s", first)
    with only(host, {}):
        result = repair(seqdev, "undo", done, code=3)
    assert result["summary"]["reasons"] == {"row_gone": 1}


def test_what_a_later_run_has_changed_is_kept_until_that_one_is_undone(host: Host, seqdev: Cli) -> None:
    a, b, first, second = setting(host)
    host.device(host.value("select id from users"), "C")
    before = snapshot(host)
    one = run_of(repair(seqdev, "device", "A", "--to", "B"))
    two = run_of(repair(seqdev, "device", "B", "--to", "C", "--max", 1))
    with only(host, {(second, "assigned_device_id"): a}):
        assert repair(seqdev, "undo", one, code=3)["summary"]["reasons"] == {"changed_since": 1}
    with only(host, {(first, "assigned_device_id"): b}):
        repair(seqdev, "undo", two)
    with only(host, {(first, "assigned_device_id"): a}):
        repair(seqdev, "undo", one)
    assert snapshot(host) == before


def test_repair_tick_undo(host: Host, seqdev: Cli) -> None:
    user = host.user()
    a, _ = host.device(user, "A", "offline"), host.device(user, "B")
    sequence, (first, _) = host.simple_sequence(user, steps=2)
    people_of(host, user, a, 10, sequence, first)
    host.rows(
        "update sequence_contacts set next_trigger_time = now() + interval '1 day' where contact_phone > '6012000004'"
    )
    before = snapshot(host)
    done = run_of(repair(seqdev, "device", "A", "--to", "B"))
    assert run(seqdev, "tick")["queued"] == 5
    ticked = snapshot(host)

    result = repair(seqdev, "undo", done, code=3)

    assert result["summary"]["reasons"] == {"done_since": 5}
    assert {row["phone"] for row in result["refused"]} == {f"601200000{i}" for i in range(5)}
    after = snapshot(host)
    for table in ("leads", "sequence_contacts"):
        for key, row in after[table].items():
            phone = row.get("contact_phone") or row["phone"]
            kept = table == "sequence_contacts" and phone <= "6012000004"
            assert row == (ticked if kept else before)[table][key]
    assert after["broadcast_messages"] == ticked["broadcast_messages"]
    assert not host.broken_promises()
    with only(host, {}):
        repair(seqdev, "undo", done, code=3)


def test_undo_also_takes_back_a_history_repair(host: Host, seqdev: Cli) -> None:
    user = host.user()
    a, b = host.device(user, "A"), host.device(user, "B")
    sequence, steps = host.simple_sequence(user, steps=2)
    person = Person(host, "6012000001", sequence, steps, a, b)
    host.rows(
        "update sequence_contacts set completed_at = now() at time zone 'UTC' - interval '5 minutes' where status = 'completed'"
    )
    before = snapshot(host)
    done = run_of(repair(seqdev, "assigned", "--history"))
    with only(host, {(person.past, "assigned_device_id"): a}):
        repair(seqdev, "undo", done)
    assert snapshot(host) == before
    with only(host, {(person.past, "assigned_device_id"): b}):
        repair(seqdev, "assigned", "--history")


def test_timestamps_come_back_to_the_microsecond_in_any_zone(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user)
    sequence, (step,) = host.simple_sequence(user)
    # The second does not exist in that zone, the third exists twice.
    moments = ("2026-01-01 01:02:03.000001", "2026-03-29 02:30:00", "2026-10-25 02:30:00.5")
    for number, moment in enumerate(moments):
        host.contact(
            sequence,
            step,
            f"601200000{number}",
            device,
            processing_device_id=device,
            processing_started_at=moment,
        )
    for kind in ("timestamp", "timestamptz"):
        host.rows(f"alter table sequence_contacts alter processing_started_at type {kind}")
        before = snapshot(host)
        done = run_of(run(seqdev, "--timezone", "Europe/Berlin", "repair", "stuck", "--yes"))
        undo = run(seqdev, "--timezone", "Asia/Jakarta", "repair", "undo", done, "--yes")
        assert undo["summary"]["changed"] == 3
        assert snapshot(host) == before
        again = run(seqdev, "--timezone", "UTC", "repair", "undo", run_of(undo), "--yes")
        assert again["summary"]["changed"] == 3
        run(seqdev, "--timezone", "Asia/Jakarta", "repair", "undo", done, "--yes")
        assert snapshot(host) == before


def test_list_names_the_runs_newest_first_and_what_was_undone(host: Host, seqdev: Cli) -> None:
    setting(host)
    repair(seqdev, "missing")  # changes nothing
    one = run_of(repair(seqdev, "device", "A", "--to", "B"))
    two = run_of(repair(seqdev, "device", "B", "--to", "A", "--max", 1))
    three = run_of(repair(seqdev, "undo", two))
    listed = run(seqdev, "repair", "list")
    assert [(row["run_id"], row["changes"], row["undone"], row["state"]) for row in listed] == [
        (three, 1, 0, "in effect"),
        (two, 1, 1, "undone"),
        (one, 2, 0, "in effect"),
    ]
    (change,) = run(seqdev, "repair", "show", three)
    assert (change["old_device"], change["new_device"]) == ("A", "B")
    assert "repair undo " + two[:8] in seqdev("repair", "list").out


# Random repairs, and everything back


def fill(host: Host, contacts: int) -> None:
    """Two users with ten devices each, leads with and without device, people at two steps of a sequence."""
    users = [host.user(), host.user()]
    for user in users:
        for number in range(10):
            host.device(user, f"{str(user)[:8]}-{number}", "online" if number % 3 else "offline")
        host.simple_sequence(user, steps=2)
    host.rows(
        """
        with numbered as (
            select u.id as user_id, s.id as sequence_id, array_agg(distinct d.id) as devices,
                array_agg(distinct st.id order by st.id) as steps
            from users u join user_devices d on d.user_id = u.id join sequences s on s.user_id = u.id
            join sequence_steps st on st.sequence_id = s.id group by u.id, s.id
        ),
        person as (
            -- r: from 0 to 1, spread like a random number, but the same in every run
            select n.*, '6012' || lpad(i::text, 8, '0') as phone, i,
                ('x' || left(md5(i::text), 7))::bit(28)::int / 268435456.0 as r
            from numbered n cross join generate_series(1, %(contacts)s / 2) as i
        ),
        lead as (
            insert into leads (user_id, device_id, phone)
            select user_id, case when r > 0.1 then devices[1 + (r * 1000)::int %% 10] end, phone from person
        ),
        contact as (
            insert into sequence_contacts (sequence_id, contact_phone, sequence_stepid, status, assigned_device_id,
                processing_device_id, processing_started_at, next_trigger_time)
            select sequence_id, phone, steps[1 + i %% 2], 'active',
                case when r < 0.05 then null when r < 0.07 then gen_random_uuid() else devices[1 + (r * 1000)::int %% 10] end,
                case when r > 0.9 then devices[1] end, case when r > 0.9 then now() - interval '1 hour' end,
                now() + interval '1 day'
            from person
        )
        insert into broadcast_messages (user_id, device_id, sequence_id, sequence_stepid, recipient_phone, status, created_at)
        select user_id, devices[1 + (r * 3000)::int %% 10], sequence_id, steps[1 + i %% 2], phone, 'sent', now()
        from person where r between 0.2 and 0.6
        """,
        {"contacts": contacts},
    )


def random_repair(chance: random.Random, host: Host, seqdev: Cli) -> list[str]:
    """One random repair on the data: its argument list."""
    devices = host.rows("select id, user_id from user_devices order by id")
    old = chance.choice(devices)
    new = chance.choice(
        [device for device in devices if device.user_id == old.user_id and device.id != old.id]
    )
    maximum = ["--max", str(chance.randrange(1, 2000))] if chance.random() < 0.5 else []
    back = ["--until-back"] if chance.random() < 0.5 else []
    return chance.choice(
        [
            ["repair", "assigned"],
            ["repair", "missing"],
            ["repair", "stuck"],
            ["repair", "home"],
            ["repair", "device", str(old.id), "--to", str(new.id), *maximum, *back],
            ["repair", "device", str(old.id), "--to", str(new.id), *maximum, *back],
            ["repair", "device", str(old.id), "--spread", *maximum, *back],
            ["leads", "assign", "--distribute"],
            ["leads", "assign", "--distribute", "--rebalance"],
        ]
    )


def all_undone(host: Host, seqdev: Cli, seed: int, contacts: int, repairs: int) -> int:
    """Random repairs and some undos, then all of them undone, newest first; the number of changes made."""
    chance = random.Random(seed)
    fill(host, contacts)
    before = snapshot(host)
    for number in range(repairs):
        argv = random_repair(chance, host, seqdev) if number else ["repair", "assigned"]
        ran = seqdev(*argv, "--yes", "--batch-size", chance.choice(("100", "5000")))
        assert ran.code in (0, 3), ran.err
        if chance.random() < 0.3 and (runs := run(seqdev, "repair", "list")):
            assert seqdev("repair", "undo", runs[0]["run_id"], "--yes").code in (0, 3)
    changed = host.value("select count(*) from seqdev.change")
    while todo := [
        row
        for row in run(seqdev, "repair", "list", "--all")
        if row["state"] != "undone" and not row["command"].startswith("repair undo")
    ]:
        assert repair(seqdev, "undo", todo[0]["run_id"])["summary"]["changed"] > 0
    assert snapshot(host) == before
    assert_journal_leads_back(host, before)
    return int(changed)


@pytest.mark.thorough
def test_random_repairs_and_undos_leave_no_trace(host: Host, seqdev: Cli, seed: int) -> None:
    assert all_undone(host, seqdev, seed, contacts=3000, repairs=8) > 100


@pytest.mark.load
def test_a_hundred_thousand_random_repairs_undone(host: Host, seqdev: Cli, seed: int) -> None:
    made = all_undone(host, seqdev, seed, contacts=80_000, repairs=25)
    print(f"{made} changes")
    assert made > 100_000


def test_undo_last_takes_back_one_run_after_the_other_and_says_which(host: Host, seqdev: Cli) -> None:
    a, b, first, second = setting(host)
    host.device(host.value("select id from users"), "C")
    one = run_of(repair(seqdev, "device", "A", "--to", "B", "--why", "A is lost"))
    two = run_of(repair(seqdev, "device", "B", "--to", "C"))
    with only(host, {(first, "assigned_device_id"): b, (second, "assigned_device_id"): b}):
        ran = seqdev("repair", "undo", "last", "--yes")
    assert f"run {two[:8]}: repair device" in ran.err
    with only(host, {(first, "assigned_device_id"): a, (second, "assigned_device_id"): a}):
        ran = seqdev("repair", "undo", "last", "--yes")
    assert f"run {one[:8]}: repair device" in ran.err
    assert ": A is lost" in ran.err
    ran = seqdev("repair", "undo", "last", "--yes")
    assert (ran.code, "no run is in effect that could be undone" in ran.err) == (2, True)


def test_last_is_the_same_run_to_look_at_and_to_undo(host: Host, seqdev: Cli) -> None:
    setting(host)
    assert "no run is in effect" in seqdev("repair", "show", "last").err
    first = run_of(repair(seqdev, "device", "A", "--to", "B"))
    second = run_of(repair(seqdev, "device", "B", "--to", "A"))
    assert f"run {second}:" in seqdev("repair", "show", "last").err
    repair(seqdev, "undo", "last")
    ran = seqdev("repair", "show", "last")
    assert (ran.code, f"run {first}:" in ran.err) == (0, True), ran.err


def test_a_second_undo_says_which_run_has_undone_it_and_when(host: Host, seqdev: Cli) -> None:
    setting(host)
    done = run_of(repair(seqdev, "device", "A", "--to", "B"))
    undo = run_of(repair(seqdev, "undo", done))
    host.rows("update seqdev.run set started_at = now() - interval '400 days 1 minute' where id = %s", undo)
    ran = seqdev("--zone", "Asia/Kolkata", "repair", "undo", done, "--yes")
    at = host.value("select started_at + interval '5 hours 30 minutes' from seqdev.run where id = %s", undo)
    assert ran.code == 0
    assert f"undone by run {undo[:8]}, {at:%Y-%m-%d %H:%M} UTC+5:30, 400 d ago" in ran.err
    # Once the undo is undone, the run is in effect again: nobody has undone it.
    repair(seqdev, "undo", undo)
    assert "undone by" not in seqdev("repair", "undo", done, "--yes").err
