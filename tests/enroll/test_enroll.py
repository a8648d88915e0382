"""What an enrolment promises: section 3.1 of the domain, one promise a test."""

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.world.command import Cli
from tests.world.host import Host


def enroll(seqdev: Cli, *options: str, code: int = 0) -> Any:
    ran = seqdev("enroll", "--yes", "--format", "json", *options)
    assert ran.code == code, ran.err
    return json.loads(ran.out)


def counts(result: Any) -> dict[str, tuple[int, ...]]:
    return {
        row["sequence"]: tuple(row[name] for name in ("matched", "enrolled", "already_in", "refused"))
        for row in result["sequences"]
    }


def test_one_row_for_the_entry_step_due_now_on_the_leads_device(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user)
    sequence, (first, _) = host.simple_sequence(user, steps=2)
    host.lead(user, device, "6012345678", "OTHER, WARM", name="Ana")
    assert counts(enroll(seqdev)) == {"warm": (1, 1, 0, 0)}
    (row,) = host.rows("select *, now() at time zone 'UTC' - next_trigger_time as age from sequence_contacts")
    assert (row.sequence_id, row.sequence_stepid, row.user_id) == (sequence, first, user)
    assert (row.contact_phone, row.contact_name, row.assigned_device_id) == ("6012345678", "Ana", device)
    assert (row.status, row.current_step, row.current_trigger) == ("active", 1, "WARM")
    assert 0 <= row.age.total_seconds() < 60


def test_again_and_again_nothing_more_happens(host: Host, seqdev: Cli) -> None:
    user = host.user()
    host.simple_sequence(user, steps=2)
    host.lead(user, host.device(user), "6012345678", "WARM")
    enroll(seqdev)
    assert counts(enroll(seqdev)) == {"warm": (1, 0, 1, 0)}
    seqdev("tick")
    assert counts(enroll(seqdev)) == {"warm": (1, 0, 1, 0)}
    assert host.value("select count(*) from sequence_contacts") == 2


def test_somebody_who_stands_at_a_later_step_only_is_already_in(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user)
    sequence, (_, second) = host.simple_sequence(user, steps=2)
    host.lead(user, device, "6012345678", "WARM")
    host.contact(sequence, second, "6012345678", device)
    assert counts(enroll(seqdev)) == {"warm": (1, 0, 1, 0)}


def test_a_trigger_matches_as_a_member_of_the_list_never_as_a_part(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user)
    host.simple_sequence(user)
    for number, (triggers, matches) in enumerate(
        [
            ("WARM", True),
            (" WARM ", True),
            ("A,WARM,B", True),
            ("WARM,WARM", True),
            (",,WARM,", True),
            ("WARMEXAMA", False),
            ("A WARM", False),
            ("warm", False),
            ("WARM;B", False),
            ("W,ARM", False),
            ("", False),
            (None, False),
        ]
    ):
        host.lead(user, device, f"6012{number:06}", triggers)
        expected = (1, 1, 0, 0) if matches else (0, 0, 0, 0)
        assert counts(enroll(seqdev)) == {"warm": expected}, triggers
        host.rows("delete from sequence_contacts")
        host.rows("delete from leads")


def test_wildcards_and_quotes_in_a_trigger_are_plain_characters(host: Host, seqdev: Cli) -> None:
    user = host.user()
    trigger = "50%_off'\\\"{x}"
    host.step(host.sequence(user, "sale"), 1, trigger)
    host.lead(user, host.device(user), "6012000001", trigger)
    host.lead(user, host.device(user), "6012000002", "50XYoff")
    assert counts(enroll(seqdev)) == {"sale": (1, 1, 0, 0)}


def test_only_leads_of_the_sequences_user_match_even_with_the_same_phone(host: Host, seqdev: Cli) -> None:
    expected = set()
    for _ in range(2):
        user = host.user()
        device = host.device(user)
        sequence, _ = host.simple_sequence(user)
        host.lead(user, device, "6012345678", "WARM")
        expected.add((sequence, device))
    enroll(seqdev)
    assert set(host.rows("select sequence_id, assigned_device_id from sequence_contacts")) == expected


@pytest.mark.plain("by whom a row is distributed is never null")
def test_who_cannot_be_written_to_is_refused_with_the_reason_and_exit_3(host: Host, seqdev: Cli) -> None:
    user, other = host.user(), host.user()
    device = host.device(user)
    host.simple_sequence(user)
    host.rows(
        "alter table leads drop constraint if exists leads_device_id_fkey, alter column phone drop not null"
    )
    host.lead(user, None, "6012000001", "WARM")
    host.lead(user, uuid4(), "6012000002", "WARM")
    host.lead(user, host.device(other), "6012000003", "WARM")
    host.lead(user, device, "call me", "WARM")
    host.lead(user, device, None, "WARM")  # type: ignore[arg-type]
    host.lead(user, device, "+60 12-000 (006)", "WARM")
    result = enroll(seqdev, code=3)
    assert counts(result) == {"warm": (6, 1, 0, 5)}
    reasons = {refusal["phone"]: refusal["reason"] for refusal in result["refused"]}
    assert reasons == {
        "6012000001": "no_device",
        "6012000002": "device_missing",
        "6012000003": "device_of_other_user",
        "call me": "bad_phone",
        None: "bad_phone",
    }


def test_twenty_refused_are_listed_and_all_with_all(host: Host, seqdev: Cli) -> None:
    user = host.user()
    host.simple_sequence(user)
    for number in range(30):
        host.lead(user, None, f"6012{number:06}", "WARM")
    ran = seqdev("enroll", "--yes", "--format", "json")
    assert (ran.code, len(json.loads(ran.out)["refused"])) == (3, 20)
    assert "30 refused, 20 of them listed" in ran.err
    assert len(enroll(seqdev, "--all", code=3)["refused"]) == 30


def test_with_several_entry_steps_any_trigger_enters_at_the_lowest_day(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user)
    sequence = host.sequence(user, "two doors")
    host.step(sequence, 5, "LATE", is_entry_point=True)
    lowest = host.step(sequence, 2, "EARLY", is_entry_point=True)
    host.lead(user, device, "6012000001", "LATE")
    host.lead(user, device, "6012000002", "EARLY,LATE")
    assert counts(enroll(seqdev)) == {"two doors": (2, 2, 0, 0)}
    assert host.rows("select distinct sequence_stepid from sequence_contacts") == [(lowest,)]


def test_inactive_sequences_take_nobody_and_asked_for_by_name_it_is_a_refusal(
    host: Host, seqdev: Cli
) -> None:
    user = host.user()
    sequence, _ = host.simple_sequence(user)
    host.lead(user, host.device(user), "6012345678", "WARM")
    host.rows("update sequences set status = 'paused'")
    assert counts(enroll(seqdev)) == {}
    ran = seqdev("enroll", "--yes", "--sequence", "warm")
    assert ran.code == 3
    assert "sequence warm is not active" in ran.err
    host.rows("update sequences set status = 'active', is_active = false")
    assert seqdev("enroll", "--yes", "--sequence", str(sequence)[:8]).code == 3
    assert host.value("select count(*) from sequence_contacts") == 0


def test_a_sequence_without_steps_is_named_and_stops_no_other(host: Host, seqdev: Cli) -> None:
    user = host.user()
    host.sequence(user, "empty")
    host.simple_sequence(user)
    host.lead(user, host.device(user), "6012345678", "WARM")
    ran = seqdev("enroll", "--yes", "--format", "json")
    assert ran.code == 0
    assert counts(json.loads(ran.out)) == {"empty": (0, 0, 0, 0), "warm": (1, 1, 0, 0)}
    assert "sequence empty has no entry step" in ran.err


def test_sequence_user_device_and_limit_narrow_it(host: Host, seqdev: Cli) -> None:
    users = [host.user(), host.user()]
    devices = [host.device(user, f"device {number}") for number, user in enumerate(users)]
    for number, user in enumerate(users):
        for trigger in ("WARM", "COLD"):
            host.simple_sequence(user, trigger)
        for lead in range(4):
            host.lead(user, devices[number], f"6012{number}0000{lead}", "WARM,COLD")
    sequences = host.rows("select id, name, user_id from sequences")
    warm = next(row for row in sequences if row.name == "warm" and row.user_id == users[0])
    assert counts(enroll(seqdev, "--sequence", str(warm.id), "--max", "3")) == {"warm": (4, 3, 0, 0)}
    assert counts(enroll(seqdev, "--sequence", str(warm.id))) == {"warm": (4, 1, 3, 0)}
    assert counts(enroll(seqdev, "--user", str(users[0]))) == {"warm": (4, 0, 4, 0), "cold": (4, 4, 0, 0)}
    enroll(seqdev, "--device", "device 1")
    assert host.value("select count(*) from sequence_contacts where assigned_device_id = %s", devices[1]) == 8


def test_an_ambiguous_name_lists_its_candidates(host: Host, seqdev: Cli) -> None:
    for _ in range(2):
        host.simple_sequence(host.user())
    ran = seqdev("enroll", "--yes", "--sequence", "warm")
    assert (ran.code, ran.out) == (2, "")
    for (sequence,) in host.rows("select id from sequences"):
        assert str(sequence) in ran.err
    assert seqdev("enroll", "--yes", "--sequence", "nothing").code == 3


def test_a_limit_that_cuts_is_announced(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user)
    host.simple_sequence(user)
    for number in range(5):
        host.lead(user, device, f"6012{number:06}", "WARM")
    ran = seqdev("enroll", "--yes", "--max", "2")
    assert ran.code == 0
    assert "--max 2" in ran.err
    assert host.value("select count(*) from sequence_contacts") == 2


def test_phones_from_a_file_or_stdin_in_any_writing(
    host: Host, seqdev: Cli, process: Cli, tmp_path: Path
) -> None:
    user = host.user()
    device = host.device(user)
    host.simple_sequence(user)
    for number in range(4):
        host.lead(user, device, f"601200000{number}", "WARM")
    file = tmp_path / "phones.txt"
    file.write_bytes("\ufeff+60 12-000 000\r\n\r\n6012000001\r\n6019999999\n".encode())
    ran = seqdev("enroll", "--yes", "--phones", str(file))
    assert ran.code == 3
    assert "1 of 3 phones given is no lead's" in ran.err
    assert process("enroll", "--yes", "--phones", "-", stdin="6012000002\n").code == 0
    assert host.rows("select contact_phone from sequence_contacts order by 1") == [
        ("6012000000",),
        ("6012000001",),
        ("6012000002",),
    ]
    assert seqdev("enroll", "--yes", "--phones", str(tmp_path / "none")).code == 2


def test_a_dry_run_says_the_same_and_changes_nothing(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user)
    host.simple_sequence(user)
    for number in range(5):
        host.lead(user, device if number else None, f"6012{number:06}", "WARM")
    name = host.value("select current_database()")
    host.rows(f"alter database {name} set default_transaction_read_only = on")
    dry = seqdev("enroll", "--dry-run", "--format", "json")
    host.rows(f"alter database {name} reset default_transaction_read_only")
    assert (dry.code, host.value("select count(*) from sequence_contacts")) == (3, 0)
    assert json.loads(dry.out) == enroll(seqdev, code=3)


def test_without_a_terminal_it_needs_yes(host: Host, process: Cli) -> None:
    user = host.user()
    host.simple_sequence(user)
    host.lead(user, host.device(user), "6012345678", "WARM")
    ran = process("enroll")
    assert ran.code == 2
    assert "--yes" in ran.err
    assert host.value("select count(*) from sequence_contacts") == 0


@pytest.mark.thorough
def test_more_leads_than_a_batch_are_all_taken_once(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user)
    host.simple_sequence(user)
    host.rows(
        "insert into leads (user_id, device_id, phone, trigger)"
        " select %s, %s, '6012' || i, 'WARM' from generate_series(1000000, 1024999) as i",
        user,
        device,
    )
    assert counts(enroll(seqdev)) == {"warm": (25_000, 25_000, 0, 0)}
    assert counts(enroll(seqdev)) == {"warm": (25_000, 0, 25_000, 0)}


def test_without_any_sequence_it_says_so(host: Host, seqdev: Cli) -> None:
    host.lead(host.user(), None, "601200000001", "WARM")
    ran = seqdev("enroll", "--yes")
    assert (ran.code, ran.err) == (0, "seqdev: there is no sequence that anybody could enter\n")
