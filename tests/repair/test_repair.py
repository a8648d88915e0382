"""What repairs promise: each does what it says and nothing else, with a plan before and a journal after."""

import json
import stat
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from seqdev.repair.jobs import Cause
from tests.world.command import Cli
from tests.world.host import Host
from tests.world.repairs import Person, message, only, people_of, reasons, repair, run, setting, snapshot

EVERY = [word for cause in Cause for word in ("--cause", cause)]


def test_assigned_gives_the_rows_to_come_the_device_that_last_wrote(host: Host, seqdev: Cli) -> None:
    user, other = host.user(), host.user()
    a, b = host.device(user, "A"), host.device(user, "B")
    sequence, steps = host.simple_sequence(user, steps=2)
    wrong = Person(host, "6012000001", sequence, steps, a, b)
    Person(host, "6012000002", sequence, steps, a, a)  # nothing wrong
    none = Person(host, "6012000003", sequence, steps, None, b)
    Person(host, "6012000004", sequence, steps, a, host.device(other, "theirs"))
    gone = host.device(user, "gone")
    Person(host, "6012000005", sequence, steps, a, gone)
    host.rows("alter table broadcast_messages drop constraint if exists broadcast_messages_device_id_fkey")
    host.rows("delete from user_devices where id = %s", gone)
    old = Person(host, "6012000006", sequence, steps, a, b)
    host.rows(
        "update broadcast_messages set created_at = created_at - interval '2 hours' where recipient_phone = '6012000006'"
    )
    # Another sequence, where the person stands rightly; and the same phone of another user.
    second, second_steps = host.simple_sequence(user, "OTHER", steps=2)
    Person(host, "6012000001", second, second_steps, a, a)
    theirs, their_steps = host.simple_sequence(other, steps=2)
    c = host.device(other, "C")
    Person(host, "6012000001", theirs, their_steps, c, c)

    with only(host, {(wrong.next, "assigned_device_id"): b, (none.next, "assigned_device_id"): b}):
        result = repair(seqdev, "assigned", *EVERY, code=3)
    assert reasons(result) == {"6012000004": "device_of_other_user", "6012000005": "device_missing"}
    with only(host, {}):
        repair(seqdev, "assigned", *EVERY, code=3)
    with only(host, {(old.next, "assigned_device_id"): b}):
        repair(seqdev, "assigned", *EVERY, "--since", "1d", code=3)
    with only(
        host,
        {(person.past, "assigned_device_id"): b for person in (wrong, none, old)},
    ):
        repair(seqdev, "assigned", *EVERY, "--since", "1d", "--history", code=3)


def test_assigned_follows_the_last_message_and_leaves_alone_who_was_moved_rightly(
    host: Host, seqdev: Cli
) -> None:
    user = host.user()
    a, b, c = (host.device(user, name) for name in "ABC")
    sequence, (first, second, third) = host.simple_sequence(user, steps=3)
    # Written from B and later from A, the assigned one.
    phone = "6012000001"
    message(host, host.contact(sequence, first, phone, a, status="completed"), b, "30 minutes")
    message(host, host.contact(sequence, second, phone, a, status="completed"), a, "10 minutes")
    host.contact(sequence, third, phone, a)
    with only(host, {}):
        repair(seqdev, "assigned")
    # A wrote when A was assigned; the person was moved since: no mismatch of the past.
    waiting = host.rows("select id from sequence_contacts where status = 'active'")[0].id
    with only(host, {(waiting, "assigned_device_id"): c}):
        repair(seqdev, "device", "A", "--to", "C")
    with only(host, {}):
        repair(seqdev, "assigned")


def test_filters_narrow_a_repair(host: Host, seqdev: Cli) -> None:
    users = [host.user(), host.user()]
    people = []
    for number, user in enumerate(users):
        a, b = host.device(user, f"A{number}"), host.device(user, f"B{number}")
        for trigger in ("WARM", "COLD"):
            sequence, steps = host.simple_sequence(user, trigger, steps=2)
            people.append((sequence, Person(host, "6012000001", sequence, steps, a, b), b))
    for number, (sequence, person, device) in enumerate(people):
        plan = run(seqdev, "repair", "assigned", "--sequence", sequence, "--dry-run")
        assert [row["row_id"] for row in plan["rows"]] == [str(person.next)]
        if number % 2 == 0:
            for option in (
                ("--user", users[number // 2]),
                ("--device", f"A{number // 2}"),
                ("--device", device),
            ):
                plan = run(seqdev, "repair", "assigned", *option, "--dry-run")
                wanted = {str(one.next) for _, one, _ in people[number : number + 2]}
                assert {row["row_id"] for row in plan["rows"]} == wanted
    assert seqdev("repair", "assigned", "--device", "nothing", "--dry-run").code == 2


def test_missing_takes_the_device_of_the_lead_of_the_same_user(host: Host, seqdev: Cli) -> None:
    user, other = host.user(), host.user()
    a, b = host.device(user, "A"), host.device(user, "B")
    sequence, (first, second) = host.simple_sequence(user, steps=2)
    host.rows("alter table leads drop constraint if exists leads_device_id_fkey")

    def waits(phone: str, device: UUID | None, lead: bool = True, **columns: Any) -> UUID:
        if lead:
            host.lead(user, device, phone)
        return host.contact(sequence, second, phone, None, lead=False, **columns)

    empty = waits("6012000001", a)
    host.lead(other, host.device(other), "6012000001")
    waits("6012000002", None)
    waits("6012000003", a, lead=False)
    waits("6012000004", uuid4())
    waits("6012000005", host.device(other))
    waits("6012000006", a, status="completed")
    waits("6012000007", a)
    host.contact(sequence, first, "6012000007", b, status="completed")
    host.lead(user, b, "6012000008")
    host.contact(sequence, first, "6012000008", a)

    with only(host, {(empty, "assigned_device_id"): a}):
        result = repair(seqdev, "missing", code=3)
    assert reasons(result) == {
        "6012000002": "no_device",
        "6012000003": "no_lead",
        "6012000004": "device_missing",
        "6012000005": "device_of_other_user",
        "6012000007": "several_devices_fit",
    }
    assert result["summary"]["changed"] == 1
    assert (result["totals"][0]["to_device"], result["totals"][0]["why"]) == ("A", "lead_device")


def test_stuck_releases_old_claims_of_rows_to_come(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user, "A")
    sequence, (step,) = host.simple_sequence(user)
    claim: dict[str, Any] = {"processing_device_id": device}
    old = host.contact(sequence, step, "6012000001", device, **claim)
    host.contact(sequence, step, "6012000002", device, **claim)
    done = host.contact(sequence, step, "6012000003", device, status="completed", **claim)
    host.rows(
        "update sequence_contacts set processing_started_at = now() at time zone 'UTC' - interval '1 minute'"
    )
    host.rows(
        "update sequence_contacts set processing_started_at = now() at time zone 'UTC' - interval '6 minutes'"
        " where id in (%s, %s)",
        old,
        done,
    )
    before = snapshot(host)
    # The instant stays: who takes the row over looks for the message that its processor may have left.
    with only(host, {(old, "processing_device_id"): None}):
        result = repair(seqdev, "stuck")
    assert repair(seqdev, "undo", result["summary"]["run_id"])["summary"]["changed"] == 1
    assert snapshot(host) == before


def test_device_to_moves_leads_and_rows_to_come_never_written_first(host: Host, seqdev: Cli) -> None:
    user, other = host.user(), host.user()
    old, new = host.device(user, "OLD", "offline"), host.device(user, "NEW")
    host.device(other, "THEIRS")
    sequence, (first, second) = host.simple_sequence(user, steps=2)
    rows = people_of(host, user, old, 4, sequence, second)
    for phone in ("6012000000", "6012000002"):
        message(host, host.contact(sequence, first, phone, old, status="completed"), old, "2 days")
    theirs, (their_step,) = host.simple_sequence(other)
    stray = host.contact(theirs, their_step, "6012000009", old)

    for wrong in (("--to", "THEIRS"), ("--to", "OLD"), (), ("--to", "NEW", "--spread")):
        assert seqdev("repair", "device", "OLD", *wrong, "--yes").code == 2
    ran = seqdev("repair", "device", "OLD", "--to", "THEIRS", "--yes")
    assert "another user" in ran.err

    def moved(*phones: str) -> dict[tuple[UUID, str], Any]:
        leads = {row.id for row in host.rows("select id from leads")}
        return {
            (row, "device_id" if row in leads else "assigned_device_id"): new
            for phone in phones
            for row in rows[phone]
        }

    with only(host, moved("6012000001", "6012000003")):
        result = repair(seqdev, "device", "OLD", "--to", "NEW", "--max", 2, code=3)
    assert (result["summary"]["people"], result["summary"]["changed"]) == (2, 4)
    assert {total["why"] for total in result["totals"]} == {"never_written"}
    with only(host, moved("6012000000", "6012000002")):
        result = repair(seqdev, "device", "OLD", "--to", "NEW", code=3)
    assert [(row["row_id"], row["refused"]) for row in result["refused"]] == [
        (str(stray), "device_of_other_user")
    ]


def test_device_spread_is_even_by_what_the_devices_own(host: Host, seqdev: Cli) -> None:
    user, other = host.user(), host.user()
    old = host.device(user, "OLD", "offline")
    a, b, c = (host.device(user, name) for name in "ABC")
    host.device(user, "off", "offline")
    out = host.device(user, "out")
    host.rows("insert into device_load_balance (device_id, is_available) values (%s, false)", out)
    host.device(other)
    for number in range(4):
        host.lead(user, a, f"6013{number:06}")
    host.lead(user, b, "6013000009")
    sequence, (step,) = host.simple_sequence(user)
    rows = people_of(host, user, old, 8, sequence, step)
    # Whose lead belongs to one of the devices already goes there.
    orphan = host.contact(sequence, step, "6013000009", old)

    result = repair(seqdev, "device", "OLD", "--spread")
    assert result["summary"]["people"] == 9
    owned = dict(host.rows("select device_id, count(*) from leads group by 1"))
    assert sorted(owned.values()) == [4, 4, 5]
    assert owned.keys() == {a, b, c}
    assert host.value("select assigned_device_id from sequence_contacts where id = %s", orphan) == b
    for phone in rows:
        assert host.rows(
            "select 1 from leads l join sequence_contacts sc on sc.contact_phone = l.phone"
            " and sc.assigned_device_id = l.device_id where l.phone = %s",
            phone,
        )
    host.rows("update user_devices set status = 'offline'")
    with only(host, {}):
        result = repair(seqdev, "device", "A", "--spread", code=3)
    assert {row["refused"] for row in result["refused"]} == {"no_available_device"}


def test_a_deleted_device_is_named_by_its_whole_id(host: Host, seqdev: Cli) -> None:
    user = host.user()
    host.device(user, "A")
    gone = uuid4()
    sequence, (step,) = host.simple_sequence(user)
    contact = host.contact(sequence, step, "6012000001", gone)
    assert seqdev("repair", "device", str(gone)[:8], "--to", "A", "--yes").code == 2
    repair(seqdev, "device", gone, "--spread")
    assert (
        host.value(
            "select device_name from user_devices d join sequence_contacts sc on sc.assigned_device_id = d.id where sc.id = %s",
            contact,
        )
        == "A"
    )


@pytest.mark.thorough
def test_home_brings_back_who_left_for_a_time_when_the_device_is_online_again(
    host: Host, seqdev: Cli
) -> None:
    user = host.user()
    a, _, c = host.device(user, "A", "offline"), host.device(user, "B"), host.device(user, "C")
    sequence, (step, _) = host.simple_sequence(user, steps=2)
    people_of(host, user, a, 4, sequence, step)
    before = snapshot(host)
    repair(seqdev, "device", "A", "--to", "B", "--until-back")
    with only(host, {}):
        result = repair(seqdev, "home", code=3)
    assert result["summary"]["reasons"] == {"device_offline": 8}
    host.rows("update user_devices set status = 'online' where id = %s", a)
    before["user_devices"][str(a)]["status"] = "online"
    home = repair(seqdev, "home")
    assert home["summary"]["changed"] == 8
    assert snapshot(host) == before
    with only(host, {}):
        repair(seqdev, "home")
    # Undone, they are away again, and can come home again.
    repair(seqdev, "undo", home["summary"]["run_id"])
    assert repair(seqdev, "home")["summary"]["changed"] == 8
    assert snapshot(host) == before
    # Moved for good, nobody comes home, whatever the values look like.
    repair(seqdev, "device", "A", "--to", "B")
    with only(host, {}):
        repair(seqdev, "home")
    # For a time once more, and on again from there: home one by one.
    repair(seqdev, "device", "B", "--to", "A")
    assert snapshot(host) == before
    repair(seqdev, "device", "A", "--to", "B", "--until-back")
    repair(seqdev, "device", "B", "--to", "C", "--until-back")
    assert repair(seqdev, "home")["summary"]["changed"] == 8
    assert repair(seqdev, "home")["summary"]["changed"] == 8
    assert snapshot(host) == before
    # Moved on for good since, even if it is to where they were, they stay.
    for old, new in (("B", "C"), ("C", "B")):
        repair(seqdev, "device", "A", "--to", "B", *([] if old == "C" else ["--until-back"]))
        repair(seqdev, "device", old, "--to", new)
    with only(host, {}):
        repair(seqdev, "home")
    repair(seqdev, "device", "B", "--to", "A")
    assert snapshot(host) == before
    # Whose step is done, or who was moved on since, stays.
    repair(seqdev, "device", "A", "--to", "B", "--until-back")
    seqdev("tick")
    host.rows("update leads set device_id = %s where phone = '6012000000'", c)
    home = repair(seqdev, "home")["summary"]
    assert home["changed"] == 3  # leads: every row moved was sent
    assert not host.broken_promises()


def test_a_plan_file_is_private_and_does_exactly_what_it_says(
    host: Host, seqdev: Cli, tmp_path: Path
) -> None:
    _, b, first, second = setting(host)
    file = tmp_path / "plan.jsonl"
    name = host.value("select current_database()")
    host.rows(f"alter database {name} set default_transaction_read_only = on")
    with only(host, {}):
        dry = run(seqdev, "repair", "device", "A", "--to", "B", "--dry-run", "--plan", file)
    host.rows(f"alter database {name} reset default_transaction_read_only")
    assert (dry["summary"]["planned"], dry["summary"]["run_id"]) == (2, None)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    head, *lines = (json.loads(line) for line in file.read_text().splitlines())
    assert (head["command"], head["digest"][:7], len(lines)) == ("repair device", "sha256:", 2)
    assert {line["row_id"] for line in lines} == {str(first), str(second)}
    host.rows("update sequence_contacts set contact_name = 'no matter'")
    with only(host, {(first, "assigned_device_id"): b, (second, "assigned_device_id"): b}):
        result = repair(seqdev, "device", "A", "--to", "B", "--plan", file)
    assert (
        host.value("select counts ->> 'changed' from seqdev.run where id = %s", result["summary"]["run_id"])
        == "2"
    )


@pytest.mark.parametrize(
    "change",
    [
        "update sequence_contacts set assigned_device_id = '00000000-0000-4000-8000-000000000001' where id = %s",
        "update sequence_contacts set status = 'completed' where id = %s",
        "delete from sequence_contacts where id = %s",
    ],
)
def test_a_stale_plan_is_exit_14_and_nothing_is_changed(
    host: Host, seqdev: Cli, tmp_path: Path, change: str
) -> None:
    _, _, _, second = setting(host)
    file = tmp_path / "plan.jsonl"
    run(seqdev, "repair", "device", "A", "--to", "B", "--dry-run", "--plan", file)
    host.rows(change, second)
    for size in (1, 5000):
        with only(host, {}):
            ran = seqdev("repair", "device", "A", "--to", "B", "--plan", file, "--yes", "--batch-size", size)
        assert (ran.code, ran.out) == (14, "")
        assert "601200" not in ran.err
    assert host.value("select count(*) from seqdev.change") == 0
    assert host.rows("select command, exit_code from seqdev.run") == [("repair device", 14)] * 2


def test_a_plan_that_was_touched_or_is_of_something_else_is_refused(
    host: Host, seqdev: Cli, tmp_path: Path
) -> None:
    _, b, _, _ = setting(host)
    c = host.device(host.value("select id from users"), "C")
    file = tmp_path / "plan.jsonl"
    run(seqdev, "repair", "device", "A", "--to", "B", "--dry-run", "--plan", file)
    good = file.read_text()
    with only(host, {}):
        for argv in (("missing",), ("device", "A", "--to", "C"), ("device", "A", "--spread")):
            ran = seqdev("repair", *argv, "--plan", str(file), "--yes")
            assert (ran.code, ran.out) == (2, "")
        for bad in (
            good.replace(str(b), str(c)),
            good[:-20],
            good.splitlines()[0] + "\n",
            "",
            "x",
            "[]\n",
            "{}\n",
        ):
            file.write_text(bad)
            assert seqdev("repair", "device", "A", "--to", "B", "--plan", str(file), "--yes").code == 2
        assert seqdev("repair", "missing", "--plan", str(tmp_path / "none"), "--yes").code == 2
        assert seqdev("repair", "missing", "--dry-run", "--plan", "/proc/none/plan").code == 2


def test_without_a_terminal_it_needs_yes(host: Host, process: Cli) -> None:
    setting(host)
    with only(host, {}):
        ran = process("repair", "device", "A", "--to", "B")
    assert (ran.code, ran.out) == (2, "")
    assert "--yes" in ran.err
    assert "601200" not in ran.err


def test_phones_are_masked_and_never_on_stderr(host: Host, seqdev: Cli) -> None:
    setting(host)
    for output in ("table", "csv", "json", "jsonl", "markdown"):
        ran = seqdev("--mask", "repair", "device", "A", "--to", "B", "--dry-run", "--format", output)
        assert ran.code == 0
        assert "601****000" in ran.out
        assert "6012000" not in ran.out + ran.err
    ran = seqdev("repair", "device", "A", "--to", "B", "--yes")
    assert "6012000" not in ran.err
    run_id = host.value("select run_id::text from seqdev.change limit 1")
    ran = seqdev("--mask", "repair", "show", run_id)
    assert "601****000" in ran.out
    assert "6012000" not in ran.out + ran.err


def test_twenty_rows_are_shown_and_all_with_all(host: Host, seqdev: Cli) -> None:
    user = host.user()
    a = host.device(user, "A")
    host.device(user, "B")
    sequence, (step,) = host.simple_sequence(user)
    for i in range(30):
        host.contact(sequence, step, f"60120000{i:02}", a)
    ran = seqdev("repair", "device", "A", "--to", "B", "--dry-run")
    assert ran.out.count("never_written") == 21
    assert "30 rows of 30 people would change, 20 shown: --limit, or --all" in ran.err
    ran = seqdev("repair", "device", "A", "--to", "B", "--dry-run", "--all", "--format", "csv")
    assert len(ran.out.splitlines()) == 31
    run_id = repair(seqdev, "device", "A", "--to", "B")["summary"]["run_id"]
    ran = seqdev("repair", "show", run_id[:8])
    assert ran.out.count("assigned_device_id") == 20
    assert "30 changes, 20 shown" in ran.err
    assert len(run(seqdev, "repair", "show", run_id, "--all")) == 30
    assert seqdev("repair", "show", "0000").code == 2
