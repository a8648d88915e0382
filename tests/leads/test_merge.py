"""``leads merge``: of a person's leads one survives, the person goes on once, nothing is lost, and undo brings all back."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from seqdev.commands import planned
from seqdev.commands.asking import Question
from tests.world.command import Cli, Start
from tests.world.host import Host
from tests.world.repairs import changes, message, only, repair, run, run_of, snapshot

DIGITS = "60123456789"
SIGNS = "+60 12-345 6789"
ZEROS = "0060123456789"
ENDED = "ended: the person goes on in another spelling of the phone"


def merge(seqdev: Cli, *options: object, code: int = 0) -> Any:
    return run(seqdev, "leads", "merge", *options, "--yes", code=code)


def aside(lead: UUID, device: object = ...) -> dict[tuple[UUID, str], Any]:
    """What becomes of a lead with triggers and niche that is set aside; without a device it has none to lose."""
    changed = {(lead, "phone"): f"merged {lead}", (lead, "trigger"): "", (lead, "niche"): ""}
    return changed if device is None else {**changed, (lead, "device_id"): None}


def lead(
    host: Host, user: UUID, device: UUID | None, phone: str, trigger: str = "T", **columns: object
) -> UUID:
    """A lead with a niche, so that there is something to lose."""
    made = host.lead(user, device, phone, trigger)
    for name, value in {"niche": "N", **columns}.items():
        host.rows(f"update leads set {name} = %s where id = %s", value, made)
    return made


@pytest.fixture
def scene(host: Host) -> tuple[UUID, UUID, UUID, list[UUID]]:
    """A user, a device, and a sequence of three steps."""
    user = host.user()
    return user, host.device(user, "A"), *host.simple_sequence(user, steps=3)


def test_which_lead_survives_and_what_it_inherits(
    host: Host, seqdev: Cli, scene: tuple[UUID, UUID, UUID, list[UUID]]
) -> None:
    user, device, sequence, steps = scene
    other = host.user()
    # Who has rows to come, whatever else speaks for the others.
    in_it = lead(host, user, None, SIGNS, "WARM, B,", name="", niche=None)
    second = lead(host, user, device, DIGITS, "B,COLD,WARM", name="Ali")
    third = lead(host, user, host.device(other), ZEROS, " ,COLD ,LAST", name="Abu")
    host.contact(sequence, steps[0], SIGNS, device)
    past, (past_step,) = host.simple_sequence(user, "PAST")
    host.contact(past, past_step, ZEROS, device, status="completed")
    # Who has a device of the user; who is written as WhatsApp does; the first.
    owned, spelled = lead(host, user, device, "+60111111111", ""), lead(host, user, None, "60111111111", "")
    plain, odd = lead(host, user, None, "60122222222", ""), lead(host, user, None, "+60122222222", "")
    ids = sorted(
        (lead(host, user, device, phone, "") for phone in ("+60133333333", "0060133333333")), key=str
    )
    # Another user's, alone, a group, and no phone at all: not touched.
    for phone, whose in ((DIGITS, other), ("60144444444", user), ("1203630@g.us", user), ("call me", user)):
        lead(host, whose, None, phone)
    before = snapshot(host)
    with only(host, {}):
        dry = run(seqdev, "leads", "merge", "--dry-run")
        assert merge(seqdev, "--user", other)["summary"]["planned"] == 0
    expected = {
        (in_it, "device_id"): device,
        (in_it, "trigger"): "WARM, B,COLD,LAST",
        (in_it, "name"): "Abu",
        (in_it, "niche"): "N",
        **aside(second),
        **aside(third),
        **aside(spelled, None),
        **aside(odd, None),
        **aside(ids[1]),
    }
    for unset in (spelled, odd, ids[1]):
        del expected[unset, "trigger"]
    with only(host, expected):
        done = merge(seqdev)
    assert (dry["totals"], dry["summary"]["planned"]) == (done["totals"], 6)
    assert (done["summary"]["changed"], done["summary"]["people"]) == (6, 4)
    assert {owned, plain, ids[0]}.isdisjoint(row for row, _ in expected)
    # Whoever is set aside is nobody to the audits, to enrolment, and to those who give devices.
    found = json.loads(seqdev("audit", "leads", "--all", "--format", "json").out)["leads"]
    assert not {str(second), str(odd)} & {row["lead_id"] for row in found}
    assert "same_person" not in {row["finding"] for row in found}
    with only(host, {}):
        assert merge(seqdev)["summary"]["planned"] == 0
    repair(seqdev, "undo", run_of(done))
    assert snapshot(host) == before


def stands(
    host: Host, phone: str, device: UUID, sequence: UUID, done: list[UUID], **to_come: UUID
) -> list[UUID]:
    """Rows of ``phone``: of the steps ``done``, with their messages; then, by status, of those to come."""
    made = []
    for step in done:
        made.append(host.contact(sequence, step, phone, device, lead=False, status="completed"))
        message(host, made[-1], device)
    return made + [
        host.contact(sequence, step, phone, device, lead=False, status=status)
        for status, step in to_come.items()
    ]


@pytest.mark.thorough
def test_a_person_in_two_spellings_goes_on_once_where_they_are_furthest(
    host: Host, seqdev: Cli, scene: tuple[UUID, UUID, UUID, list[UUID]], without_delay: None
) -> None:
    user, device, warm, (one, two, three) = scene
    cold, (cold_one, cold_two) = host.simple_sequence(user, "COLD", steps=2)
    gone, (gone_one,) = host.simple_sequence(user, "GONE")
    past, (past_one,) = host.simple_sequence(user, "PAST")
    host.rows("create unique index on sequence_contacts (sequence_id, contact_phone) where status = 'active'")
    host.rows("update sequence_steps set trigger_delay_hours = 0")
    ahead = lead(host, user, device, SIGNS, "WARM")
    behind = lead(host, user, device, DIGITS, "WARM,COLD,GONE")
    stands(host, SIGNS, device, warm, [one, two], active=three)
    stands(host, SIGNS, device, past, [past_one])
    (ends, waits) = stands(host, DIGITS, device, warm, [], active=one, pending=two)
    (later,) = stands(host, DIGITS, device, warm, [], pending=three)
    # In the other sequence the other spelling is ahead.
    (cold_ends,) = stands(host, SIGNS, device, cold, [], active=cold_one)
    (cold_past,) = stands(host, DIGITS, device, cold, [cold_one])
    # By its id the first: it has to be the last, where one row may be active.
    cold_goes = host.contact(cold, cold_two, DIGITS, device, lead=False, id=UUID(int=1))
    # Behind them: neither that row nor its trigger begins anew.
    stands(host, DIGITS, device, gone, [gone_one])
    # A lead alone, whose row is written in another way.
    lonely = lead(host, user, device, "+60199999999", "")
    (followed,) = stands(host, "60199999999", device, warm, [], active=one)
    before = snapshot(host)
    ended = {"status": "stopped", "last_error": ENDED}
    expected = {
        **aside(behind),
        (ahead, "trigger"): "WARM,COLD",
        **{
            (row, column): value for row in (ends, waits, later, cold_ends) for column, value in ended.items()
        },
        (cold_goes, "contact_phone"): SIGNS,
        (followed, "contact_phone"): "+60199999999",
    }
    with only(host, expected):
        done = merge(seqdev)
    assert {(row["why"], row["row_id"]) for row in done["rows"]} == {
        *(("ends", str(row)) for row in (ends, waits, later, cold_ends)),
        *(("goes_on", str(row)) for row in (cold_goes, followed)),
        *(("survives", str(ahead)), ("set_aside", str(behind))),
    }
    assert cold_past not in {row for row, _ in expected}
    assert lonely
    # An undo at once brings all of it back, and can be undone.
    undone = repair(seqdev, "undo", run_of(done))
    assert snapshot(host) == before
    repair(seqdev, "undo", run_of(undone))
    for _ in range(4):
        assert seqdev("tick").code == 0
        assert seqdev("enroll", "--yes").code == 0
    # Each step went to them once, in one spelling or the other.
    assert sorted(
        host.rows(
            "select sequence_stepid, count(*) from broadcast_messages where recipient_phone = any(%s) group by 1",
            [SIGNS, DIGITS],
        )
    ) == sorted((step, 1) for step in (one, two, three, cold_one, cold_two, gone_one, past_one))
    assert host.value("select count(*) from broadcast_messages where recipient_phone = '+60199999999'") == 3
    # Once it has gone on, an undo does not bring back what ended, to be sent a second time.
    undone = repair(seqdev, "undo", run_of(done), code=3)
    assert {(row["row_id"], row["refused"]) for row in undone["refused"]} >= {
        (str(cold_goes), "done_since"),
        (str(followed), "done_since"),
        (str(later), "done_since"),
    }


def test_whoever_could_get_a_message_twice_is_refused_as_a_whole(
    host: Host, seqdev: Cli, scene: tuple[UUID, UUID, UUID, list[UUID]]
) -> None:
    user, device, warm, (one, two, _) = scene
    cold, (cold_one, cold_two, cold_three) = host.simple_sequence(user, "COLD", steps=3)
    host.rows("alter table leads drop constraint leads_user_id_phone_key")
    reasons: dict[str, str] = {}

    def person(number: int, reason: str, trigger: str = "", spread: str = "") -> tuple[str, str]:
        """Two leads: the first has the longer past, in another sequence, and survives."""
        signs, digits = f"+6017000000{number}", f"6017000000{number}"
        lead(host, user, device, signs, trigger)
        lead(host, user, device, digits, spread)
        stands(host, signs, device, cold, [cold_one, cold_two], active=cold_three)
        reasons[signs] = reasons[digits] = reason
        return signs, digits

    # The other spelling has had a step that is to come, and its message was deleted.
    signs, digits = person(1, "already_sent")
    stands(host, signs, device, warm, [one], active=two)
    host.contact(warm, two, digits, device, lead=False, status="completed")
    # Another processor has written it, in the other spelling, or in that of a row which would leave it behind.
    signs, digits = person(2, "already_sent")
    (row,) = stands(host, digits, device, cold, [], active=cold_three)
    message(host, row, device, own=False)
    signs, digits = person(3, "already_sent")
    (row,) = stands(host, digits, device, warm, [], active=one)
    message(host, row, device, own=False)
    # The survivor has a row where the other spelling's would go.
    signs, digits = person(4, "step_taken")
    stands(host, signs, device, warm, [], active=two)
    stands(host, digits, device, warm, [one], active=two)
    # Nobody has activated what is next.
    signs, digits = person(5, "stranded")
    stands(host, digits, device, warm, [one], pending=two)
    # The last step leads to the first, which they have had.
    circle = host.sequence(user, "circle")
    steps = [host.step(circle, day, f"C{day}", f"C{day % 3 + 1}") for day in (1, 2, 3)]
    signs, digits = person(6, "goes_round")
    stands(host, digits, device, circle, steps[:1], active=steps[1])
    person(7, "too_long", "x" * 600, "y" * 600)
    for _ in range(2):
        lead(host, user, device, " ")
    reasons[" "] = "no_phone"
    with only(host, {}):
        refused = merge(seqdev, "--all", code=3)
    assert {
        (row["expected"].get("contact_phone") or row["expected"]["phone"]): row["refused"]
        for row in refused["refused"]
    } == reasons
    assert refused["summary"]["planned"] == 0


@pytest.mark.thorough
def test_duplicates_are_merged_before_the_upgrade_which_they_keep_from_its_key(
    empty_database: str, connect: Callable[..., Any], seqdev: Cli
) -> None:
    host = Host(connect(empty_database))
    assert seqdev("db", "init").code == 0
    # As the host had them before there was a seqdev.
    host.rows(
        "drop schema seqdev cascade;"
        " alter table leads drop constraint leads_user_id_phone_key, alter device_id set not null;"
        " alter table sequence_contacts drop column last_error"
    )
    user = host.user()
    devices = [host.device(user, name) for name in "AB"]
    host.simple_sequence(user)
    first, second = (lead(host, user, device, DIGITS, "WARM") for device in devices)
    host.rows("alter table leads add created_at timestamp default now()")
    host.rows("update leads set created_at = '2020-01-01' where id = %s", second)
    leads = snapshot(host)["leads"]
    checked = seqdev("db", "check")
    assert (checked.code, "2 leads share user and phone" in checked.out) == (10, True)
    refused = seqdev("db", "upgrade", "--yes")
    assert (refused.code, host.rows("select 1 from pg_namespace where nspname = 'seqdev'")) == (10, [])
    assert "before leads merge, all but the key: seqdev db upgrade --leave-duplicates" in refused.err
    early = seqdev("leads", "merge", "--yes")
    assert early.code == 10
    assert "seqdev db upgrade, with --leave-duplicates if there are duplicate leads" in early.err
    # What it says, in the order in which it says it.
    left = seqdev("db", "upgrade", "--leave-duplicates", "--yes")
    assert left.code == 10
    assert "leads: one per user and phone is wrong" in left.err
    assert seqdev("enroll", "--yes").code == 10
    expected = aside(first)
    # A device that the host demands stays.
    del expected[first, "device_id"]
    with only(host, expected):
        done = merge(seqdev)
    # Until there is a key they can come back.
    undone = repair(seqdev, "undo", run_of(done))
    assert snapshot(host)["leads"] == leads
    repair(seqdev, "undo", run_of(undone))
    assert seqdev("db", "upgrade", "--yes").code == 0
    assert json.loads(seqdev("enroll", "--yes", "--format", "json").out)["sequences"][0]["enrolled"] == 1
    assert host.value("select assigned_device_id from sequence_contacts") == devices[1]
    kept = repair(seqdev, "undo", run_of(done), code=3)
    assert [row["refused"] for row in kept["refused"]] == ["phone_taken"]


CHANGES = (
    "update leads set trigger = 'NEW' where id = %(aside)s",
    "another phone",
    "delete from leads where id = %(stays)s",
    "update sequence_contacts set status = 'completed' where contact_phone = %(signs)s",
)


def test_what_has_changed_meanwhile_keeps_the_whole_person_as_they_are(
    host: Host,
    seqdev: Cli,
    scene: tuple[UUID, UUID, UUID, list[UUID]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    user, device, warm, (one, two, _) = scene
    plan = tmp_path / "plan"
    people = []
    for number in range(len(CHANGES) + 1):
        signs, digits = f"+6017000000{number}", f"6017000000{number}"
        stays, goes = lead(host, user, device, digits), lead(host, user, device, signs)
        stands(host, digits, device, warm, [one], active=two)
        (row,) = stands(host, signs, device, warm, [], active=one)
        people.append({"stays": stays, "aside": goes, "signs": signs, "row": row})
    assert run(seqdev, "leads", "merge", "--dry-run", "--plan", plan)["summary"]["planned"] == 2 * len(people)
    told: list[Any] = []

    def meanwhile(question: Question, _: bool) -> bool:
        """After the plan, and before the first change."""
        told.append(question.text)
        for way, person in zip(CHANGES, people, strict=False):
            if way == "another phone":
                host.write_phone("leads", "6099", f"id = '{person['stays']}'")
            else:
                host.rows(way, person)
        told.append(snapshot(host))
        return True

    monkeypatch.setattr(planned, "confirm", meanwhile)
    done = run(seqdev, "leads", "merge", code=3)
    assert told[0] == "Change these 10 rows?"
    # All but the last: nothing of them has changed, not even what still was as planned.
    last = people[-1]["aside"], people[-1]["row"]
    assert {row for row, _ in changes(told[1], snapshot(host))} == {str(one) for one in last}
    assert (done["summary"]["changed"], done["summary"]["kept"]) == (2, 8)
    assert {row["refused"] for row in done["refused"]} == {"changed_since_plan"}
    with only(host, {}):
        assert seqdev("leads", "merge", "--plan", str(plan), "--yes").code == 14


@pytest.mark.thorough
def test_beside_ticks_and_enrolments_a_person_gets_each_step_once(
    host: Host, start: Start, seqdev: Cli, scene: tuple[UUID, UUID, UUID, list[UUID]], without_delay: None
) -> None:
    user, device, _, _ = scene
    host.rows("update sequence_steps set trigger_delay_hours = 0")
    host.rows(
        "insert into leads (user_id, device_id, phone, trigger)"
        " select %s, case when n %% 3 > 0 then %s::uuid end, case n %% 2 when 0 then '+' else '' end || 601200000000 + n / 2, 'WARM'"
        " from generate_series(0, 999) as n",
        *(user, device),
    )
    commands = [
        ("leads", "merge", "--yes", "--batch-size", "50"),
        ("enroll", "--yes"),
        *[("tick",)] * 2,
        ("leads", "merge", "--yes", "--batch-size", "70"),
    ]
    running = [start(*command) for command in commands]
    assert {process.wait(60) for process in running} <= {0, 3}
    for _ in range(3):
        assert seqdev("leads", "merge", "--yes").code == 0
        assert seqdev("enroll", "--yes").code in (0, 3)
        assert seqdev("tick").code == 0
    per_step = host.rows(
        "select ltrim(recipient_phone, '+'), sequence_stepid, count(*) from broadcast_messages group by 1, 2"
    )
    assert len(per_step) == 1500
    assert {count for _, _, count in per_step} == {1}
    assert host.value("select count(*) from leads where phone not like 'merged%'") == 500
    assert host.broken_promises() == []
