"""Rows that the database refuses: each is found, quarantined with its reason, and keeps nobody back."""

import json
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import pytest

from seqdev.enroll import enroll
from seqdev.errors import Refused
from seqdev.postgres.bisect import Found, search
from seqdev.tick import backlog
from seqdev.tick import backoff as pace
from seqdev.tick.batch import claim_batch
from seqdev.tick.work import Batch
from tests.world.command import Cli
from tests.world.host import Host
from tests.world.obstacles import slow

POLICIES = ("queue", "strict", "fallback", "reassign")


def tick(seqdev: Cli, *options: str, code: int = 0) -> tuple[Any, str]:
    """The summary of a tick, and what it said on stderr."""
    ran = seqdev("tick", "--format", "json", *options)
    assert ran.code == code, ran
    return json.loads(ran.out), ran.err


def one_of(column: str, phones: Iterable[str]) -> str:
    """A condition of a trigger: the new row is one of these people's."""
    return f"new.{column} in ({', '.join(repr(phone) for phone in phones)})"


def refuse(host: Host, table: str, when: str, event: str = "before insert") -> None:
    """A trigger of the host's that refuses the rows for which ``when`` is true, and says whose they are."""
    deferred = event.startswith("deferred")
    host.rows(
        f"create function refuse_{table}() returns trigger language plpgsql as"
        " $$ begin raise exception 'no: %', new; end $$"
    )
    host.rows(
        f"create {'constraint' if deferred else ''} trigger refuse {event.removeprefix('deferred ')} on {table}"
        f" {'deferrable initially deferred' if deferred else ''}"
        f" for each row when ({when}) execute function refuse_{table}()"
    )


def people(
    host: Host, number: int, device: UUID | None, first: int = 0, user: UUID | None = None
) -> list[str]:
    """``number`` people who are due on ``device``, the first the longest; their phones."""
    user = user or host.value("select user_id from user_devices where id = %s", device)
    sequence, (step, _) = host.simple_sequence(user, steps=2)
    host.rows(
        "insert into sequence_contacts (sequence_id, sequence_stepid, contact_phone, assigned_device_id,"
        " status, next_trigger_time) select %s, %s, '6012' || lpad(i::text, 7, '0'), %s, 'active',"
        " now() at time zone 'UTC' - interval '1 hour' + i * interval '1 ms'"
        " from generate_series(%s::int, %s::int) as i",
        *(sequence, step, device, first, first + number - 1),
    )
    host.make_leads()
    return [f"6012{i:07}" for i in range(first, first + number)]


def quarantined(host: Host) -> dict[str, str]:
    """The reason of each phone that is quarantined."""
    found = host.rows("select contact_phone, last_error from sequence_contacts where status = 'set_aside'")
    return {row.contact_phone: row.last_error for row in found}


@pytest.mark.parametrize("policy", POLICIES)
def test_rows_that_a_trigger_refuses_are_quarantined_and_all_others_go(
    host: Host, seqdev: Cli, policy: str
) -> None:
    user = host.user()
    here, there = host.device(user), host.device(user)
    phones = people(host, 40, here) + people(host, 20, there, 40)
    bad = {phones[0], phones[17], phones[39], phones[45]}
    refuse(host, "broadcast_messages", one_of("recipient_phone", bad))

    summary, err = tick(seqdev, "--policy", policy, code=3)

    assert (summary["due"], summary["queued"], summary["quarantined"], summary["waiting"]) == (60, 56, 4, {})
    reason = "SQLSTATE P0001, raised by function refuse_broadcast_messages"
    assert quarantined(host) == dict.fromkeys(bad, f"quarantined: {reason}")
    assert err == (
        f"seqdev: 4 contacts quarantined: {reason}\nseqdev: once the cause is corrected: seqdev repair quarantined\n"
    )
    assert not host.broken_promises()
    # They are no longer due: nobody tries them again.
    assert tick(seqdev, "--policy", policy)[0]["due"] == 0


def test_what_is_quarantined_is_in_the_journal_of_that_very_run(host: Host, seqdev: Cli) -> None:
    (phone,) = people(host, 1, host.device(host.user()))
    host.rows("update sequence_contacts set last_error = 'before'")
    refuse(host, "broadcast_messages", one_of("recipient_phone", [phone]))
    summary, _ = tick(seqdev, code=3)
    changes = host.rows(
        "select run_id::text, table_name, column_name, old_value, new_value from seqdev.change"
    )
    run, (reason,) = summary["run_id"], quarantined(host).values()
    assert sorted(changes) == [
        (run, "sequence_contacts", "last_error", "before", reason),
        (run, "sequence_contacts", "status", "active", "set_aside"),
    ]
    assert host.value("select counts ->> 'quarantined' from seqdev.run") == "1"


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        (
            "alter table broadcast_messages add constraint short check (length(recipient_phone) < 20)",
            'SQLSTATE 23514, check constraint "short" of broadcast_messages',
        ),
        pytest.param(
            "alter table broadcast_messages alter column recipient_phone type varchar(19)",
            "SQLSTATE 22001, a value is too long for its column",
            marks=pytest.mark.plain("the type of the column by which a table is distributed stays"),
        ),
        pytest.param(
            "create unique index person on broadcast_messages (left(recipient_phone, 10)) where"
            " length(recipient_phone) >= 20 or recipient_phone = '6012000000'",
            'SQLSTATE 23505, unique key "person" of broadcast_messages',
            marks=pytest.mark.plain("each unique key holds the whole phone"),
        ),
        (
            "alter table sequence_contacts add constraint done check"
            " (status <> 'completed' or length(contact_phone) < 20)",
            'SQLSTATE 23514, check constraint "done" of sequence_contacts',
        ),
    ],
)
def test_each_rule_of_the_host_is_named_as_the_reason_and_no_value(
    host: Host, seqdev: Cli, rule: str, reason: str
) -> None:
    device = host.device(host.user())
    people(host, 20, device)
    host.write_phone("sequence_contacts", "6012000000", "contact_phone = '60120000004'")
    host.write_phone("sequence_contacts", "6012000000" + "9" * 12, "contact_phone = '60120000013'")
    host.make_leads()
    host.rows(rule)
    summary, err = tick(seqdev, code=3)
    assert (summary["queued"], summary["quarantined"]) == (19, 1)
    assert list(quarantined(host).values()) == [f"quarantined: {reason}"]
    assert f"1 contact quarantined: {reason}\n" in err
    assert "6012" not in err
    assert not host.broken_promises()


def test_a_rule_that_is_checked_at_commit_only_is_found_too(host: Host, seqdev: Cli) -> None:
    phones = people(host, 20, host.device(host.user()))
    refuse(host, "broadcast_messages", one_of("recipient_phone", phones[5:7]), "deferred after insert")
    summary, _ = tick(seqdev, code=3)
    assert (summary["queued"], set(quarantined(host))) == (18, set(phones[5:7]))
    assert not host.broken_promises()


def test_a_lead_that_cannot_lose_its_trigger_is_quarantined_at_its_last_step(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user)
    sequence, (step,) = host.simple_sequence(user)
    for number in range(8):
        host.lead(user, device, f"601200000{number}", "WARM")
        host.contact(sequence, step, f"601200000{number}", device)
    refuse(host, "leads", one_of("phone", ["6012000003"]), "before update")
    summary, _ = tick(seqdev, code=3)
    assert (summary["queued"], summary["ended"], list(quarantined(host))) == (7, 7, ["6012000003"])
    assert not host.broken_promises()


@pytest.mark.parametrize("policy", ["fallback", "reassign"])
def test_rows_refused_on_their_way_to_another_device_are_quarantined_too(
    host: Host, seqdev: Cli, policy: str
) -> None:
    user = host.user()
    gone = host.device(user, status="offline")
    others = [host.device(user), host.device(user)]
    phones = people(host, 40, gone)
    refuse(host, "broadcast_messages", one_of("recipient_phone", phones[3:5]))
    summary, _ = tick(seqdev, "--policy", policy, code=3)
    assert (summary["queued"], summary["moved"], summary["quarantined"]) == (38, 38, 2)
    assert set(quarantined(host)) == set(phones[3:5])
    moved = host.rows(
        "select device_id, count(*) from broadcast_messages group by device_id order by device_id"
    )
    assert {row.device_id for row in moved} == set(others)
    # Of those refused nothing but the quarantine is in the journal.
    journaled = host.value("select count(*) from seqdev.change where column_name = 'assigned_device_id'")
    assert journaled == (38 if policy == "reassign" else 0)
    assert not host.broken_promises()


def test_the_room_of_a_device_goes_to_the_oldest_of_those_who_are_not_refused(
    host: Host, seqdev: Cli
) -> None:
    host.rule("max_in_flight", "10")
    phones = people(host, 40, host.device(host.user()))
    refuse(host, "broadcast_messages", one_of("recipient_phone", (phones[2], phones[30])))
    summary, _ = tick(seqdev, "--policy", "strict", code=3)
    assert (summary["queued"], summary["quarantined"], summary["waiting"]) == (10, 1, {"device_full": 29})
    sent = host.rows("select recipient_phone from broadcast_messages order by 1")
    assert [row[0] for row in sent] == [*phones[:2], *phones[3:11]]


def test_contacts_without_an_assigned_device_are_quarantined_as_well(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user)
    phones = people(host, 12, None, user=user)
    for phone in phones:
        host.lead(user, device, phone)
    refuse(host, "broadcast_messages", one_of("recipient_phone", phones[7:8]))
    summary, _ = tick(seqdev, code=3)
    assert (summary["queued"], list(quarantined(host))) == (11, [phones[7]])
    assert not host.broken_promises()


def test_a_row_that_cannot_even_be_quarantined_is_left_and_the_other_devices_go_on(
    host: Host, seqdev: Cli
) -> None:
    user = host.user()
    here, there = host.device(user), host.device(user)
    phones = people(host, 10, here) + people(host, 10, there, 10)
    host.rows("alter table sequence_contacts add check (status in ('active', 'completed', 'failed'))")
    refuse(host, "broadcast_messages", one_of("recipient_phone", [phones[0]]))
    summary, err = tick(seqdev, "--batch-size", "4", code=3)
    assert summary["quarantined"] == 0
    assert summary["waiting"].pop("refused_by_database") == 1
    assert summary["queued"] + summary["waiting"].get("next_tick", 0) == 19
    sent = {row[0] for row in host.rows("select recipient_phone from broadcast_messages")}
    assert set(phones[10:]) <= sent
    assert "1 contact refused, but not quarantined, because that was refused too: SQLSTATE P0001" in err
    assert host.value("select status from sequence_contacts where contact_phone = %s", phones[0]) == "active"
    assert not host.broken_promises()


@pytest.mark.cases(3)
@pytest.mark.parametrize(
    ("policy", "seconds"), [*((policy, pace.SEARCH_TIME) for policy in POLICIES), ("queue", 0)]
)
def test_a_database_that_refuses_everybody_sets_nobody_aside_however_slow_it_is(
    host: Host, seqdev: Cli, monkeypatch: pytest.MonkeyPatch, policy: str, seconds: float
) -> None:
    monkeypatch.setattr(pace, "SEARCH_TIME", seconds)
    people(host, 45, host.device(host.user()))
    refuse(host, "broadcast_messages", "true")
    summary, err = tick(seqdev, "--policy", policy, code=1)
    assert (summary["queued"], summary["quarantined"], summary["waiting"]) == (0, 0, {"next_tick": 45})
    assert quarantined(host) == {}
    assert host.value("select count(*) from seqdev.change") == 0
    assert f"the database refuses every contact, {pace.FEW} tried: SQLSTATE P0001" in err
    assert "none of these is quarantined: correct the cause" in err


def test_nor_does_it_a_few_at_a_time_run_after_run(host: Host, seqdev: Cli) -> None:
    device = host.device(host.user())
    refuse(host, "broadcast_messages", "true")
    for first, code, aside in ((0, 3, 4), (10, 3, 8), (20, 1, 8), (30, 1, 8)):
        people(host, 4, device, first)
        tick(seqdev, code=code)
        assert len(quarantined(host)) == aside
    host.rows("drop trigger refuse on broadcast_messages")
    assert tick(seqdev)[0]["queued"] == 8


def test_a_run_sets_so_many_aside_and_no_more(
    host: Host, seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "MANY", 15)
    phones = people(host, 200, host.device(host.user()))
    refuse(host, "broadcast_messages", one_of("recipient_phone", phones[::8]))
    summary, err = tick(seqdev, code=3)
    assert summary["quarantined"] == len(quarantined(host)) == 15
    assert "stopped: the database has refused 15 contacts" in err
    summary, err = tick(seqdev, code=3)
    assert (summary["quarantined"], "stopped" in err) == (10, False)
    assert host.value("select count(*) from broadcast_messages") == 175
    assert not host.broken_promises()


def test_a_run_that_is_refused_more_than_it_is_taken_stops(host: Host, seqdev: Cli) -> None:
    phones = people(host, 200, host.device(host.user()))
    good = phones[::7]
    refuse(host, "broadcast_messages", f"not ({one_of('recipient_phone', good)})")
    summary, err = tick(seqdev, code=3)
    assert pace.FEW <= summary["quarantined"] < 25
    assert 0 < summary["queued"] < summary["quarantined"]
    assert "stopped: the database has refused" in err
    assert not host.broken_promises()


def test_many_bad_rows_in_front_do_not_hide_the_good_ones_behind_them(host: Host, seqdev: Cli) -> None:
    phones = people(host, 300, host.device(host.user()))
    refuse(host, "broadcast_messages", one_of("recipient_phone", phones[:30]))
    summary, _ = tick(seqdev, code=3)
    assert (summary["queued"], summary["quarantined"]) == (270, 30)


@pytest.mark.thorough
def test_a_batch_whose_search_is_cut_short_is_followed_by_smaller_ones_until_somebody_gets_through(
    host: Host, seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One attempt of a batch that is not small takes longer than the search may.
    monkeypatch.setattr(pace, "SEARCH_TIME", 0.02)
    slow(host, "broadcast_messages", "insert", 0.003)
    tried: list[int] = []

    def claimed(*given: Any, **named: Any) -> Batch:
        tried.append(named["size"].contacts)
        return claim_batch(*given, **named)

    monkeypatch.setattr(backlog, "claim_batch", claimed)
    phones = people(host, 60, host.device(host.user()))
    bad = phones[9::20]
    refuse(host, "broadcast_messages", one_of("recipient_phone", bad))
    summary, _ = tick(seqdev, "--budget", "600s", code=3)
    assert (summary["queued"], summary["waiting"], set(quarantined(host))) == (57, {}, set(bad))
    # Not from the size that a batch may have: there are fewer people.
    assert tried[1] == 125
    assert not host.broken_promises()


@pytest.mark.load
def test_a_hundred_bad_rows_among_twenty_thousand_are_all_quarantined(host: Host, seqdev: Cli) -> None:
    phones = people(host, 20_000, host.device(host.user()))
    host.rows("analyze")
    bad = phones[7::200]
    refuse(host, "broadcast_messages", one_of("recipient_phone", bad))
    # Ten to fifteen seconds on two quiet cores.
    summary, _ = tick(seqdev, "--budget", "300s", code=3)
    assert summary["quarantined"] == pace.MANY
    # The search ends with the last of them: what it had not tried yet is the next run's.
    assert summary["queued"] + tick(seqdev)[0]["queued"] == 19_900
    assert set(quarantined(host)) == set(bad)
    assert not host.broken_promises()


def test_a_failed_send_that_cannot_be_shown_does_not_stop_the_tick(host: Host, seqdev: Cli) -> None:
    phones = people(host, 12, host.device(host.user()))
    tick(seqdev)
    host.rows("update broadcast_messages set status = 'failed', error_message = 'gone'")
    refuse(host, "sequence_contacts", one_of("contact_phone", [phones[4]]), "before update")
    people(host, 3, host.device(host.user()), 100)
    summary, err = tick(seqdev, code=3)
    assert (summary["failed_reflected"], summary["queued"]) == (11, 3)
    assert "1 failed send not shown on the contact's row: SQLSTATE P0001" in err
    failed = host.rows("select contact_phone from sequence_contacts where status = 'failed'")
    assert {row.contact_phone for row in failed} == {*phones} - {phones[4]}
    assert not host.broken_promises()


def test_a_reason_that_cannot_be_written_does_not_stop_the_tick(host: Host, seqdev: Cli) -> None:
    device = host.device(host.user())
    people(host, 3, device)
    host.write_phone("sequence_contacts", "", "contact_phone = '60120000001'")
    refuse(host, "sequence_contacts", "new.contact_phone = ''", "before update")
    summary, err = tick(seqdev, code=3)
    assert (summary["queued"], summary["waiting"]) == (2, {"bad_phone": 1})
    assert "why contacts wait was not written to last_error" in err


def test_once_the_cause_is_mended_repair_brings_them_back_and_undo_takes_them_away_again(
    host: Host, seqdev: Cli
) -> None:
    phones = people(host, 6, host.device(host.user()))
    refuse(host, "broadcast_messages", one_of("recipient_phone", phones[2:4]))
    tick(seqdev, code=3)
    before = quarantined(host)

    planned = seqdev("repair", "quarantined", "--dry-run")
    assert planned.code == 0
    assert "raised by function refuse_broadcast_messages" in planned.out
    assert quarantined(host) == before

    ran = seqdev("repair", "quarantined", "--yes", "--format", "json")
    assert (ran.code, json.loads(ran.out)["summary"]["changed"]) == (0, 2)
    assert quarantined(host) == {}
    run = json.loads(ran.out)["summary"]["run_id"]
    shown = seqdev("repair", "show", run)
    assert shown.code == 0
    assert "set_aside" in shown.out

    undone = seqdev("repair", "undo", run, "--yes", "--format", "json")
    assert undone.code == 0, undone
    assert quarantined(host) == before
    again = json.loads(undone.out)["summary"]["run_id"]
    assert seqdev("repair", "undo", again, "--yes").code == 0
    assert quarantined(host) == {}

    host.rows("drop trigger refuse on broadcast_messages")
    assert tick(seqdev)[0]["queued"] == 2
    assert not host.broken_promises()
    # Sent by now: nothing that an undo could take back.
    assert seqdev("repair", "undo", run, "--yes").code == 3
    assert not host.broken_promises()


def test_audit_and_explain_tell_what_was_quarantined_why_and_what_to_do(host: Host, seqdev: Cli) -> None:
    phones = people(host, 3, host.device(host.user()))
    refuse(host, "broadcast_messages", one_of("recipient_phone", phones[:1]))
    tick(seqdev, code=3)
    ran = seqdev("audit", "contacts", "--format", "json")
    assert ran.code == 3
    (found,) = (row for row in json.loads(ran.out)["contacts"] if row["finding"] == "quarantined")
    assert (found["phone"], found["status"]) == (phones[0], "set_aside")
    assert found["reason"] == "quarantined: SQLSTATE P0001, raised by function refuse_broadcast_messages"
    assert "seqdev repair quarantined" in found["repair"]
    screen = seqdev("explain", phones[0])
    assert "STOPPED: quarantined (quarantined: SQLSTATE P0001" in " ".join(screen.out.split())
    assert "seqdev repair quarantined" in screen.out


@pytest.mark.parametrize("rule", ["trigger", "too long"])
def test_a_lead_that_cannot_be_enrolled_is_refused_and_all_others_are_enrolled(
    host: Host, seqdev: Cli, rule: str
) -> None:
    user = host.user()
    device = host.device(user)
    host.simple_sequence(user)
    for number in range(30):
        host.lead(user, device, f"60120000{number:02}", "WARM", "Maximiliana" if number in (4, 29) else "Ann")
    if rule == "trigger":
        refuse(host, "sequence_contacts", "length(new.contact_name) > 5")
    else:
        host.rows("alter table sequence_contacts alter column contact_name type varchar(5)")
    ran = seqdev("enroll", "--yes", "--format", "json")
    assert ran.code == 3
    done = json.loads(ran.out)
    (sequence,) = done["sequences"]
    assert (sequence["matched"], sequence["enrolled"], sequence["refused"]) == (30, 28, 2)
    assert [
        (row["phone"], row["reason"]) for row in sorted(done["refused"], key=lambda row: row["phone"])
    ] == [
        ("6012000004", "refused_by_database"),
        ("6012000029", "refused_by_database"),
    ]
    assert "2 leads refused by the database: SQLSTATE " in ran.err
    assert "6012" not in ran.err
    again = seqdev("enroll", "--yes", "--format", "json")
    assert (again.code, json.loads(again.out)["sequences"][0]["already_in"]) == (3, 28)


def test_a_limit_of_people_holds_where_some_are_refused(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user)
    host.simple_sequence(user)
    for number in range(20):
        host.lead(user, device, f"60120000{number:02}", "WARM")
    first = host.value("select phone from leads order by id limit 1")
    refuse(host, "sequence_contacts", one_of("contact_phone", [first]))
    assert seqdev("enroll", "--yes", "--max", "7").code == 0
    assert host.value("select count(*) from sequence_contacts") == 7


def test_an_enrolment_that_the_database_refuses_throughout_ends(
    host: Host, seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enroll, "MANY", 5)
    user = host.user()
    device = host.device(user)
    host.simple_sequence(user)
    for number in range(40):
        host.lead(user, device, f"60120000{number:02}", "WARM")
    refuse(host, "sequence_contacts", "true")
    ran = seqdev("enroll", "--yes")
    assert ran.code == 3
    assert "stopped: the database has refused 5 leads, and taken 0" in ran.err


def _bisect(lot: Sequence[int], bad: set[int], most_refused: int = 10**9) -> tuple[Found[int, int], int]:
    """The search over numbers, of which some are bad; and how often it tried."""
    tried = 0

    def attempt(part: Sequence[int]) -> int:
        nonlocal tried
        tried += 1
        if bad & set(part):
            raise Refused("bad")
        return len(part)

    return search(lot, attempt, lambda found: len(found.refused) >= most_refused), tried


@pytest.mark.parametrize(
    ("size", "number", "most"), [(10_000, 1, 28), (10_000, 50, 700), (7, 7, 14), (1, 1, 1)]
)
def test_what_is_bad_is_found_after_few_tries(size: int, number: int, most: int) -> None:
    bad = set(range(0, size, max(1, size // number)))
    found, tried = _bisect(range(size), bad)
    assert ({one for one, _ in found.refused}, sum(found.done)) == (bad, size - len(bad))
    assert found.complete
    assert tried <= most


def test_most_goes_through_before_many_bad_ones_are_found() -> None:
    found, _ = _bisect(range(1023), set(range(12)), 10)
    assert sum(found.done) > 900


def test_that_all_is_bad_shows_after_few_tries() -> None:
    found, tried = _bisect(range(10_000), set(range(10_000)), 10)
    assert (len(found.refused), found.done, found.complete) == (10, [], False)
    assert tried < 100


@pytest.mark.parametrize(
    ("table", "column"), [("broadcast_messages", "recipient_phone"), ("sequence_contacts", "contact_phone")]
)
def test_a_row_that_a_trigger_swallows_without_a_word_is_quarantined_not_done(
    host: Host, seqdev: Cli, table: str, column: str
) -> None:
    phones = people(host, 20, host.device(host.user()))
    host.rows("create function swallow() returns trigger language plpgsql as $$ begin return null; end $$")
    host.rows(
        f"create trigger swallow before insert on {table} for each row"
        f" when ({one_of(column, phones[3:5])}) execute function swallow()"
    )
    summary, err = tick(seqdev, code=3)
    assert (summary["queued"], summary["already_queued"], summary["quarantined"]) == (18, 0, 2)
    assert quarantined(host).keys() == set(phones[3:5])
    assert "without an error" in err
    assert host.broken_promises() == []
