"""What a person is asked before a command writes, and which answer it takes."""

import json
import re
from datetime import timedelta
from uuid import UUID

import pytest

from tests.world.command import Cli
from tests.world.host import Connect, Host
from tests.world.old_hosts import make
from tests.world.terminal import at_terminal

MANY = 1001


def crowd(host: Host, number: int) -> tuple[UUID, UUID]:
    """So many people of an offline device A, due for ten minutes; B is there, and has three who are due."""
    user = host.user()
    a, b = host.device(user, "A", "offline"), host.device(user, "B")
    sequence, (step,) = host.simple_sequence(user)
    for device, many, prefix in ((a, number, "60120"), (b, 3, "60130")):
        host.rows(
            "insert into sequence_contacts"
            " (sequence_id, sequence_stepid, contact_phone, assigned_device_id, status, next_trigger_time)"
            " select %s, %s, %s || lpad(g::text, 6, '0'), %s, 'active',"
            " now() at time zone 'UTC' - interval '10 minutes' from generate_series(1, %s) as g",
            *(sequence, step, prefix, device, many),
        )
    return a, b


def assigned(host: Host, device: UUID) -> int:
    found = host.value("select count(*) from sequence_contacts where assigned_device_id = %s", device)
    assert isinstance(found, int)
    return found


@pytest.mark.parametrize(("answer", "moved"), [("y", False), ("1000", False), ("1,001", True)])
def test_for_more_than_a_thousand_people_the_number_is_typed(host: Host, answer: str, moved: bool) -> None:
    a, b = crowd(host, MANY)
    ran = at_terminal(["repair", "device", "A", "--to", "B"], [answer])
    assert ran.code == 0
    above = ran.err[: ran.err.index("Change these")].splitlines()[-2:]
    assert above == [
        f"B {str(b)[:8]} gets 1,001 people; 3 are due there already; it may send 50 more now, 80 an hour",
        f"1,001 people, 1,001 rows; from A {str(a)[:8]} (1,001); to B {str(b)[:8]} (1,001); why: never_written (1,001)",
    ]
    assert "Change these 1,001 rows? To go on, type the number 1001:" in ran.err
    assert assigned(host, b) == (MANY + 3 if moved else 3)
    assert ("nothing was changed" in ran.err) is not moved


def test_for_fewer_a_yes_is_enough_and_yes_asks_nothing(host: Host, seqdev: Cli) -> None:
    _, b = crowd(host, 2)
    ran = at_terminal(["repair", "device", "A", "--to", "B"], ["y"])
    assert (ran.code, assigned(host, b)) == (0, 5)
    assert "Change these 2 rows? [y/N]:" in ran.err
    assert seqdev("repair", "device", "B", "--to", "A", "--yes").code == 0


def test_a_question_about_a_phone_counts_it_once_whosever_people_have_it(host: Host, seqdev: Cli) -> None:
    for user in (host.user(), host.user()):
        sequence, (step,) = host.simple_sequence(user)
        for phone in ("60123450001", "60123450002"):
            host.contact(sequence, step, phone, host.device(user, phone))
    ran = at_terminal(["block", "add", "60123450001", "--why", "x"], ["n"])
    assert "1 phone, 3 rows; why: " in ran.err
    block = ("block", "add", "60123450001", "60123450002", "60123450003", "--why", "x")
    assert "7 rows of 3 phones would change" in seqdev(*block, "--dry-run").err
    assert json.loads(seqdev(*block, "--yes", "--format", "json").out)["summary"]["people"] == 3
    # Nobody but the list has a phone apart from whose it is: of two users they are two people.
    assert seqdev("repair", "undo", "last", "--yes").code == 0
    stop = ("contacts", "stop", "60123450001", "--why", "x", "--dry-run")
    assert "2 rows of 2 people would change" in seqdev(*stop).err


@pytest.mark.thorough
def test_an_enrolment_into_many_sequences_says_first_that_nothing_takes_it_back(host: Host) -> None:
    user = host.user()
    device = host.device(user)
    for number in range(8):
        host.simple_sequence(user, f"WARM{number}")
        for lead in range(number + 1):
            host.lead(user, device, f"6012{number:03}{lead:04}", f"WARM{number}")
    ran = at_terminal(["enroll"], [""])
    above = ran.err[: ran.err.index("Enrol 36 people?")].splitlines()[-1]
    begin, into = above.split("; into ")
    assert begin == "36 people; their first step is due at once, and no command takes an enrolment back"
    assert [one.split()[-1] for one in into.removesuffix(" and 3 more").split(", ")] == [*"87654"]
    assert host.value("select count(*) from sequence_contacts") == 0


@pytest.mark.parametrize(
    ("hours", "options", "answers", "sent"),
    [(2, [], ["n"], 0), (2, [], ["y"], 1), (2, ["--yes"], [], 1), (0.9, [], [], 1)],
)
def test_a_tick_at_a_terminal_asks_where_somebody_is_due_for_more_than_an_hour(
    host: Host, hours: float, options: list[str], answers: list[str], sent: int
) -> None:
    user = host.user()
    sequence, (step,) = host.simple_sequence(user)
    host.contact(sequence, step, "6012000001", host.device(user), timedelta(hours=-hours))
    ran = at_terminal(["tick", *options], answers, stdout=True)
    assert ran.code == 0
    assert ("1 contact is due, the oldest for 2 h" in ran.err) is bool(answers)
    assert host.value("select count(*) from broadcast_messages") == sent


@pytest.mark.thorough
def test_a_tick_asks_nobody_where_its_report_goes_elsewhere(host: Host) -> None:
    user = host.user()
    sequence, (step,) = host.simple_sequence(user)
    host.contact(sequence, step, "6012000001", host.device(user), timedelta(days=-2))
    assert at_terminal(["tick"], []).code == 0
    assert host.value("select count(*) from broadcast_messages") == 1


def test_an_upgrade_says_what_breaks_first_and_wants_the_number_of_steps(
    empty_database: str, connect: Connect
) -> None:
    host = connect(empty_database)
    make(host, "one row per person", "timestamp")
    ran = at_terminal(["db", "upgrade"], ["y"])
    assert (ran.code, "nothing was changed" in ran.err) == (0, True)
    (steps,) = re.findall(r"Do these (\d+) steps\? To go on, type the number \1:", ran.err)
    names, _, first, *_ = ran.out.splitlines()
    assert names.split() == ["what", "breaks", "time", "locks", "size", "why", "step"]
    assert "sequence_contacts unique (sequence_id, contact_phone): wrong" in first
    assert "the table, a moment" in first
    assert len(ran.out.strip().splitlines()) == int(steps) + 2
    assert host.execute("select to_regnamespace('seqdev')").fetchone() == (None,)


@pytest.mark.thorough
def test_the_sql_of_an_upgrade_is_a_script_that_does_what_the_upgrade_does(
    empty_database: str, connect: Connect, seqdev: Cli
) -> None:
    host = connect(empty_database)
    make(host, "one row per person", "timestamp")
    script = seqdev("db", "upgrade", "--sql")
    assert script.code == 0
    assert "nothing was changed" in script.err
    for statement in script.out.replace("%", "%%").split(";\n"):
        if lines := [line for line in statement.splitlines() if not line.startswith("--")]:
            host.execute("\n".join(lines).encode())
    # What it has as a comment only seqdev does.
    assert "left" in script.err
    assert seqdev("db", "upgrade", "--yes").code == 0
    assert seqdev("tick").code == 0


def test_the_plan_in_json_has_what_it_costs_beside_what_it_does(host: Host, seqdev: Cli) -> None:
    host.rows("drop index seqdev_messages_created")
    (step,) = json.loads(seqdev("db", "upgrade", "--yes", "--format", "json").out)
    assert step["remedy"].startswith("create index concurrently")
    assert {"table_rows", "table_bytes", "seconds", "locks", "breaks", "is_final"} < step.keys()
    assert (step["seconds"], step["is_final"]) == (0, False)


@pytest.mark.parametrize(
    "command",
    [
        "enroll",
        "repair device A --to B",
        "rules set policy strict",
        "pause --device A",
        "db zone UTC",
        "tick",
    ],
)
def test_the_reason_is_in_the_journal_and_runs_shows_it(host: Host, seqdev: Cli, command: str) -> None:
    crowd(host, 1)
    yes = [] if command.startswith(("pause", "db")) else ["--yes"]
    assert seqdev(*command.split(), *yes, "--why", " the  phone is\nlost ").code == 0
    assert [row.why for row in host.rows("select why from seqdev.run")] == ["the phone is lost"]
    (run,) = json.loads(seqdev("runs", "--format", "json").out)
    assert run["why"] == "the phone is lost"
    assert "the phone is lost" in seqdev("runs").out


def test_the_reason_is_kept_of_a_run_that_does_not_come_to_its_end(host: Host, seqdev: Cli) -> None:
    crowd(host, 1)
    seqdev("pause", "--why", "all of it")
    assert seqdev("repair", "device", "A", "--to", "B", "--yes", "--why", "A is lost").code == 4
    assert [row.why for row in host.rows("select why from seqdev.run")] == ["A is lost"]


def test_a_reason_that_says_nothing_is_refused_before_anything_is_done(host: Host, seqdev: Cli) -> None:
    crowd(host, 1)
    ran = seqdev("repair", "device", "A", "--to", "B", "--yes", "--why", " ")
    assert (ran.code, "--why is empty" in ran.err) == (2, True)
    assert host.value("select count(*) from seqdev.run") == 0


@pytest.mark.parametrize("people", [1, 2])
def test_a_dry_run_of_an_enrolment_ends_with_how_many_it_is_about(
    host: Host, seqdev: Cli, people: int
) -> None:
    user = host.user()
    device = host.device(user)
    host.simple_sequence(user)
    assert "would be enrolled" not in seqdev("enroll", "--dry-run").err
    for number in range(people):
        host.lead(user, device, f"6012345678{number}", "WARM")
    counted = "1 person" if people == 1 else "2 people"
    assert (
        seqdev("enroll", "--dry-run").err.splitlines()[-1]
        == f"seqdev: {counted} would be enrolled, and no command takes that back"
    )
    assert "would be enrolled" not in seqdev("enroll", "--yes").err


@pytest.mark.thorough
@pytest.mark.cases(2)
@pytest.mark.parametrize("people", [MANY - 1, MANY])
def test_an_enrolment_of_many_names_the_way_to_begin_with_a_few(host: Host, people: int) -> None:
    user = host.user()
    device = host.device(user)
    host.simple_sequence(user)
    host.rows(
        "insert into leads (user_id, device_id, phone, name, trigger)"
        " select %s, %s, '60120' || lpad(g::text, 6, '0'), 'Ann', 'WARM' from generate_series(1, %s) as g",
        *(user, device, people),
    )
    ran = at_terminal(["enroll"], ["no"])
    assert (ran.code, host.value("select count(*) from sequence_contacts")) == (0, 0)
    assert f"{people:,} people; their first step is due at once" in ran.err
    assert ("; to begin with a few: --max; into warm" in ran.err) == (people > 1000)
