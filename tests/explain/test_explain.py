"""seqdev explain: every gate, agreement with the tick and with enrol, and nothing of anybody else's."""

import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from seqdev.explain.explain import writings
from tests.world.command import Cli
from tests.world.host import Host
from tests.world.hostile import HOSTILE

PHONE = "60123456789"
GATES = [
    *(
        "row_active",
        "sequence_exists",
        "sequence_active",
        "due",
        "phone",
        "paused",
        "step",
        "content",
        "claim",
    ),
    *("device_assigned", "device_exists", "same_user", "device_paused", "online", "lead", "capacity"),
]


def explained(seqdev: Cli, phone: str = PHONE, *options: str) -> Any:
    ran = seqdev("explain", phone, "--format", "json", *options)
    assert (ran.code, ran.err) == (0, "")
    return json.loads(ran.out)


def waiting(seqdev: Cli, phone: str = PHONE) -> Any:
    ((story,), (one,)) = (stories := explained(seqdev, phone)["stories"]), stories[0]["waiting"]
    assert story["waiting"] == [one]
    return one


def decisions(one: Any) -> dict[str, str]:
    return {outcome["policy"]: outcome["decision"] for outcome in one["policies"]}


def fill(host: Host, user: UUID, device: UUID, number: int, status: str, ago: str) -> None:
    """``number`` campaign messages of a device, to others."""
    host.rows(
        "insert into broadcast_messages (user_id, device_id, recipient_phone, status, scheduled_at, sent_at)"
        " select %(u)s, %(d)s, '6019' || i, %(s)s::text, now() at time zone 'UTC' - %(a)s::interval,"
        " case when %(s)s::text = 'sent' then now() at time zone 'UTC' - %(a)s::interval end"
        " from generate_series(1, %(n)s) as i",
        {"u": user, "d": device, "s": status, "a": ago, "n": number},
    )


class Scene:
    """A user, a device, a sequence of two steps, and one person whose first step is due."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.user = host.user()
        self.device = host.device(self.user, "Sales 1")
        self.sequence, self.steps = host.simple_sequence(self.user, steps=2)
        self.contact = host.contact(self.sequence, self.steps[0], PHONE, self.device, contact_name="Ana")

    def set(self, table: str, **columns: object) -> None:
        for name, value in columns.items():
            self.host.rows(f"update {table} set {name} = %s", value)

    def gone(self) -> UUID:
        device = self.host.device(self.user)
        self.host.rows("delete from user_devices where id = %s", device)
        return device

    def claim(self, age: str = "1 minute") -> None:
        self.host.rows(
            "update sequence_contacts set processing_started_at = now() at time zone 'UTC' - %s::interval",
            age,
        )


@dataclass
class Person:
    phone: str
    device: UUID


@pytest.fixture
def scene(host: Host) -> Scene:
    return Scene(host)


STOPS: dict[str, tuple[str, Callable[[Scene], object]]] = {
    "row_not_active": ("row_active", lambda s: s.set("sequence_contacts", status="paused")),
    "sequence_inactive": ("sequence_active", lambda s: s.set("sequences", is_active=False)),
    "not_due": (
        "due",
        lambda s: s.set("sequence_contacts", next_trigger_time=datetime(2999, 1, 1)),
    ),
    "step_missing": ("step", lambda s: s.set("sequence_contacts", sequence_stepid=uuid4())),
    "no_content": ("content", lambda s: s.set("sequence_steps", content=" ")),
    "claimed": ("claim", lambda s: s.claim()),
    "no_device": ("device_assigned", lambda s: s.set("sequence_contacts", assigned_device_id=None)),
    "device_missing": ("device_exists", lambda s: s.set("sequence_contacts", assigned_device_id=s.gone())),
    "device_of_other_user": (
        "same_user",
        lambda s: s.set("sequence_contacts", assigned_device_id=s.host.device(s.host.user(), "not yours")),
    ),
    "device_offline": ("online", lambda s: s.set("user_devices", status="offline")),
    "no_lead": ("lead", lambda s: s.host.rows("delete from leads")),
    "step_before": ("row_active", lambda s: s.set("sequence_contacts", status="pending")),
    "device_full": ("capacity", lambda s: fill(s.host, s.user, s.device, 50, "pending", "1 minute")),
}


@pytest.mark.cases(13)
@pytest.mark.parametrize("reason", STOPS)
def test_every_gate_stops_with_the_ticks_own_reason(scene: Scene, seqdev: Cli, reason: str) -> None:
    scene.host.rule("policy", "strict")
    gate, shut = STOPS[reason]
    assert waiting(seqdev)["stopped_by"] is None
    shut(scene)
    one = waiting(seqdev)
    assert (one["stopped_by"], one["reason"]) == (gate, reason)
    assert [found["gate"] for found in one["gates"]] == GATES
    assert decisions(one)["strict"] == reason
    screen = seqdev("explain", PHONE)
    assert screen.code == 0
    assert f": {reason}" in screen.out
    assert f"{gate} STOPS" in screen.out
    assert "\x1b" not in screen.out
    assert "not yours" not in screen.out


def test_a_step_without_content_says_so_although_its_sequence_is_inactive(scene: Scene, seqdev: Cli) -> None:
    scene.set("sequences", is_active=False)
    scene.set("sequence_steps", content=" ")
    one = waiting(seqdev)
    assert one["reason"] == "sequence_inactive"
    assert [gate["reason"] for gate in one["gates"] if gate["open"] is False] == [
        "sequence_inactive",
        "no_content",
    ]


def test_a_phone_of_blanks_is_bad(host: Host, seqdev: Cli) -> None:
    user = host.user()
    sequence, (step,) = host.simple_sequence(user)
    host.contact(sequence, step, " ", host.device(user))
    assert waiting(seqdev, " ")["reason"] == "bad_phone"


def test_a_sequence_that_is_gone_stops_too(scene: Scene, seqdev: Cli) -> None:
    scene.host.rows(
        "alter table sequence_contacts drop constraint if exists sequence_contacts_sequence_id_fkey"
    )
    scene.set("sequence_contacts", user_id=scene.user)
    scene.host.rows("delete from sequences")
    assert waiting(seqdev)["reason"] == "sequence_missing"
    assert seqdev("explain", PHONE).code == 0


def test_when_it_is_next_eligible(scene: Scene, seqdev: Cli) -> None:
    host = scene.host
    host.rule("policy", "strict")

    def eligible() -> float | None:
        found = explained(seqdev)
        at = found["stories"][0]["waiting"][0]["eligible_at"]
        if at is None:
            return None
        return (datetime.fromisoformat(at) - datetime.fromisoformat(found["now"])).total_seconds()

    def about(minutes: float) -> Any:
        return pytest.approx(minutes * 60, abs=20)

    assert eligible() == 0
    scene.claim("2 minutes")
    assert eligible() == about(3)
    scene.claim("6 minutes")
    # 79 in the last hour leave room for one; two more, and the second oldest must leave the hour first.
    fill(host, scene.user, scene.device, 79, "sent", "10 minutes")
    assert eligible() == 0
    fill(host, scene.user, scene.device, 1, "sent", "30 minutes")
    fill(host, scene.user, scene.device, 1, "sent", "50 minutes")
    assert eligible() == about(30)
    fill(host, scene.user, scene.device, 720, "sent", "23 hours")
    assert eligible() == about(60)
    # What is in flight leaves when the sender sends it: nobody knows.
    fill(host, scene.user, scene.device, 50, "queued", "1 minute")
    assert eligible() is None
    scene.set("user_devices", status="offline")
    assert eligible() is None
    scene.set("sequence_contacts", next_trigger_time=None)
    assert waiting(seqdev)["reason"] == "not_due"
    assert eligible() is None
    told = seqdev("explain", PHONE).out
    assert "STOPPED: not_due (next_trigger_time is empty)" in told
    assert "see that the step was not sent, then give the row a next_trigger_time" in told


@pytest.mark.thorough
def test_since_is_what_the_database_tells_or_nothing(scene: Scene, seqdev: Cli) -> None:
    scene.host.rule("policy", "strict")
    scene.set("user_devices", status="offline", last_seen=datetime(2026, 1, 2, 3, 4))
    assert waiting(seqdev)["since"] == "2026-01-02T03:04:00+00:00"
    assert "2026-01-02 03:04 (" in seqdev("explain", PHONE).out
    scene.set("user_devices", last_seen=None)
    assert waiting(seqdev)["since"] is None
    assert "since          unknown" in seqdev("explain", PHONE).out
    scene.host.rows("alter table user_devices drop column last_seen")
    assert waiting(seqdev)["since"] is None
    scene.set("user_devices", status="online")
    scene.host.rows(
        "insert into device_load_balance (device_id, is_available) values (%s, false)", scene.device
    )
    one = waiting(seqdev)
    assert one["reason"] == "device_offline"
    assert "taken out of service" in seqdev("explain", PHONE).out


def test_the_policies_by_their_table(scene: Scene, seqdev: Cli) -> None:
    host = scene.host
    host.device(host.user(), "another user's, and free")
    busy, free = host.device(scene.user, "busy"), host.device(scene.user, "free")
    host.device(scene.user, "off", status="offline")
    fill(host, scene.user, busy, 3, "pending", "1 minute")

    def plan() -> list[tuple[str, str, Any, bool]]:
        return [
            (
                one["decision"],
                one["when_eligible"],
                one["device_id"] and UUID(one["device_id"]),
                one["reassigns"],
            )
            for one in waiting(seqdev)["policies"]
        ]

    assert plan() == [("queue", "queue", scene.device, False)] * 4
    scene.host.rows("update user_devices set status = 'offline' where id = %s", scene.device)
    around = [("queue", "queue", free, False), ("queue", "queue", free, True)]
    assert plan() == [
        ("queue", "queue", scene.device, False),
        ("device_offline", "device_offline", None, False),
        *around,
    ]
    scene.set("sequence_contacts", assigned_device_id=None)
    assert plan() == [("no_device", "no_device", None, False)] * 2 + around
    scene.set("sequence_contacts", next_trigger_time=datetime(2999, 1, 1))
    assert [one[:2] for one in plan()] == [("not_due", "no_device")] * 2 + [("not_due", "queue")] * 2
    scene.set("user_devices", status="offline")
    assert [one[:2] for one in plan()] == [("not_due", "no_device")] * 4


@pytest.mark.thorough
def test_the_first_gate_that_stops_is_the_decision_of_the_dry_run(host: Host, seqdev: Cli) -> None:
    """A zoo of contacts: device by device, explain and tick --dry-run count the same reasons."""
    chance = random.Random(5)
    people: list[Person] = []
    for _ in range(2):
        user = host.user()
        sequence, (step, _) = host.simple_sequence(user, steps=2)
        paused = host.sequence(user, status="paused")
        silent = host.step(sequence, 9, "silent", "", content=None)
        lost = host.step(paused, 1, "LOST", "")
        devices = [
            host.device(user),
            host.device(user, status=chance.choice(["offline", "banned"])),
            host.device(user),
            host.device(user),
            *(one.device for one in people[:1]),
        ]
        gone = host.device(user)
        fill(host, user, devices[2], 48, "pending", "1 minute")
        fill(host, user, devices[3], 80, "sent", "5 minutes")
        for number in range(36):
            phone = f"6012{number:06}"
            device = chance.choice([*devices, devices[2], None, gone])
            if chance.random() < 0.5:
                host.lead(user, chance.choice([*devices, None]), phone)
            where = chance.choice(
                [(sequence, step)] * 6 + [(sequence, silent), (sequence, None), (paused, lost)]
            )
            contact = host.contact(
                *where, phone, device, timedelta(minutes=chance.choice([-9, -5, -5, -5, 60])), user_id=user
            )
            if chance.random() < 0.15:
                host.rows(
                    "update sequence_contacts set processing_started_at = now() at time zone 'UTC'"
                    " - %s * interval '1 minute' where id = %s",
                    chance.choice([1, 20]),
                    contact,
                )
            people.append(Person(phone, devices[0]))
        host.rows("delete from user_devices where id = %s", gone)
    everybody = {person.phone for person in people}
    stories = [(phone, explained(seqdev, phone)["stories"]) for phone in sorted(everybody)]
    for policy in ("queue", "strict"):
        host.rule("policy", policy)
        dry = json.loads(seqdev("tick", "--dry-run", "--policy", policy, "--format", "json").out)
        expected = Counter({(one["device_id"], one["decision"]): one["contacts"] for one in dry["devices"]})
        found: Counter[tuple[str | None, str]] = Counter()
        for _, known in stories:
            for one in (one for story in known for one in story["waiting"]):
                decision = decisions(one)[policy]
                asked = [
                    g for g in one["gates"] if policy != "queue" or g["gate"] not in ("online", "capacity")
                ]
                first = next((gate["reason"] for gate in asked if gate["open"] is False), "queue")
                assert first == decision
                if decision not in ("not_due", "sequence_inactive"):
                    found[one["step"]["device_id"], decision] += 1
        assert found == expected
        assert policy == "queue" or len({decision for _, decision in found}) == 9, found
        one = explained(seqdev, "6012000007")["stories"][0]["waiting"][0]
        assert (one["reason"] or "queue") == decisions(one)[policy]


def test_enrolments_steps_and_messages_are_told(scene: Scene, seqdev: Cli) -> None:
    host = scene.host
    lead = host.lead(scene.user, scene.device, PHONE, "WARM, x", "Ana")
    host.rows(
        "update sequence_steps set content = %s",
        "Hello Ana,\nthis is a message much longer than anybody reads",
    )
    assert seqdev("tick").code == 0
    (story,) = explained(seqdev)["stories"]
    assert [one["lead_id"] for one in story["leads"]] == [str(lead)]
    assert story["leads"][0]["triggers"] == ["WARM", "x"]
    assert [(one["trigger"], one["verdict"]) for one in story["triggers"]] == [
        ("WARM", "already_in"),
        ("x", "nobody_listens"),
    ]
    ((enrolment),) = story["enrolments"]
    first, second = enrolment["steps"]
    assert (first["status"], first["message_status"], first["message_by"]) == (
        "completed",
        "pending",
        "seqdev",
    )
    assert first["preview"] == "Hello Ana, this is a message much longer than"[:40]
    assert (second["status"], second["message_id"]) == ("active", None)
    assert [one["reason"] for one in story["waiting"]] == ["not_due"]
    out = seqdev("explain", PHONE).out
    assert "anybody reads" not in out
    assert f"{first['preview']}..." in out
    assert "queued, not sent" in out
    host.rows("update user_devices set status = 'offline'")
    assert "QUEUED, NOT SENT" in seqdev("explain", PHONE).out


def test_a_contact_set_active_again_has_its_message(scene: Scene, seqdev: Cli) -> None:
    seqdev("tick")
    scene.host.rows("update sequence_contacts set status = 'active' where id = %s", scene.contact)
    one = next(w for w in explained(seqdev)["stories"][0]["waiting"] if w["step"]["day"] == 1)
    assert (one["already_queued"], one["stopped_by"]) == (True, None)
    assert "only completes the row" in seqdev("explain", PHONE).out


def test_messages_of_others_are_shown_as_such(scene: Scene, seqdev: Cli) -> None:
    host = scene.host
    other = host.device(scene.user, "Sales 2")
    for number, (sequence, step, campaign) in enumerate(
        [(scene.sequence, scene.steps[0], None), (None, None, 7), (None, None, None)]
    ):
        host.rows(
            "insert into broadcast_messages (user_id, device_id, recipient_phone, sequence_id, sequence_stepid,"
            " campaign_id, status, sent_at) values (%s, %s, %s, %s, %s, %s, 'sent', now() - %s * interval '1 h')",
            *(scene.user, other, PHONE, sequence, step, campaign, number),
        )
    scene.set("sequence_contacts", status="completed")
    (story,) = explained(seqdev)["stories"]
    assert [one["written_by"] for one in story["messages"]] == ["other_processor", "campaign", "unknown"]
    assert story["messages_total"] == 3
    assert story["enrolments"][0]["steps"][0]["message_by"] == "other_processor"
    out = seqdev("explain", PHONE).out
    assert "by another processor" in out
    assert "MISMATCH on Sales 2" in out


@pytest.mark.parametrize(
    "trouble", ["ready", "no_device", "device_missing", "device_of_other_user", "bad_phone"]
)
def test_a_lead_that_is_not_enrolled_is_told_why_as_enroll_does(
    host: Host, seqdev: Cli, trouble: str
) -> None:
    user = host.user()
    device: UUID | None = host.device(user)
    phone = "12" if trouble == "bad_phone" else PHONE
    host.simple_sequence(user)
    off = host.sequence(user, is_active=False)
    host.step(off, 1, "COLD", "")
    if trouble == "no_device":
        device = None
    elif trouble == "device_of_other_user":
        device = host.device(host.user())
    elif trouble == "device_missing":
        host.rows("alter table leads drop constraint if exists leads_device_id_fkey")
        device = uuid4()
    host.lead(user, device, phone, "WARM,COLD, WARMEXAMA")
    (story,) = explained(seqdev, phone)["stories"]
    verdicts = {one["trigger"]: one["verdict"] for one in story["triggers"]}
    assert verdicts == {"WARM": trouble, "COLD": "sequence_inactive", "WARMEXAMA": "nobody_listens"}
    assert story["enrolments"] == story["waiting"] == []
    dry = json.loads(seqdev("enroll", "--dry-run", "--format", "json").out)
    assert [one["reason"] for one in dry["refused"]] == ([] if trouble == "ready" else [trouble])
    out = seqdev("explain", phone).out
    assert "not enrolled" in out
    assert trouble == "ready" or trouble in out


def test_a_lead_without_triggers(host: Host, seqdev: Cli) -> None:
    host.lead(host.user(), None, PHONE, None)
    assert [one["verdict"] for one in explained(seqdev)["stories"][0]["triggers"]] == ["no_triggers"]
    assert "trigger list is empty" in seqdev("explain", PHONE).out


def test_each_users_story_stands_alone_and_user_leaks_nothing(host: Host, seqdev: Cli) -> None:
    users = []
    for name in ("Alpha", "Beta"):
        user = host.user()
        device = host.device(user, f"device {name}", status="offline")
        sequence = host.sequence(user, f"sequence {name}")
        step = host.step(sequence, 1, name, "", content=f"text {name}")
        host.lead(user, device, PHONE, name, f"person {name}")
        # Without an assigned device: it is the lead's, of the same user.
        host.contact(sequence, step, PHONE, None, contact_name=f"contact {name}")
        fill(host, user, device, 1, "sent", "1 hour")
        host.write_phone("broadcast_messages", PHONE, f"user_id = '{user}'")
        host.rows("update broadcast_messages set content = %s where user_id = %s", name, user)
        users.append((name, user, device))
    both = explained(seqdev)["stories"]
    assert {story["user_id"]: story["waiting"][0]["step"]["device_id"] for story in both} == {
        str(user): str(device) for _, user, device in users
    }
    for (name, user, _), (other, others, foreign) in (users, users[::-1]):
        for options in (["--format", "json"], ["--format", "csv"], []):
            ran = seqdev("explain", PHONE, "--user", str(user), *options)
            assert ran.code == 0
            assert name in ran.out
            for secret in (other, str(others), str(foreign), str(foreign)[:8]):
                assert secret not in ran.out + ran.err
    third = host.user()
    ran = seqdev("explain", PHONE, "--user", str(third), "--format", "json")
    assert (ran.code, json.loads(ran.out)["near"]) == (3, [])


@pytest.mark.parametrize(
    "typed",
    [
        "60123456789",
        "+60 12-345 6789",
        "(60) 12.345.6789",
        "0060123456789",
        "\u202a+60\u00a012\u2011345 6789\u202c",
        *("60123456789:3@s.whatsapp.net", "tel:+60-12-345-6789", "https://wa.me/60123456789", "٦٠١٢٣٤٥٦٧٨٩"),
    ],
)
def test_a_phone_in_any_writing(scene: Scene, seqdev: Cli, typed: str) -> None:
    assert explained(seqdev, typed)["known"]


def test_phones_as_they_were_typed_and_with_a_plus() -> None:
    assert writings("60-12 a") == ["6012a", "+6012a", "60-12 a"]
    assert writings(" ") == [" "]
    assert writings("\udcff12") == ["?12", "+?12"]


def test_a_phone_stored_with_its_signs_is_found_and_two_spellings_are_pointed_out(
    scene: Scene, seqdev: Cli
) -> None:
    scene.host.rows("delete from leads")
    scene.host.lead(scene.user, scene.device, "+60 12-345 6789", "WARM")
    assert len(explained(seqdev, "+60 12-345 6789")["stories"][0]["leads"]) == 1
    assert "(2 spellings of one phone)" in seqdev("explain", "+60 12-345 6789").out


def test_a_phone_stored_as_a_jid_is_found(scene: Scene, seqdev: Cli) -> None:
    scene.host.rows("delete from leads")
    scene.host.lead(scene.user, scene.device, f"{PHONE}@s.whatsapp.net", "WARM")
    assert len(explained(seqdev, f"+{PHONE}")["stories"][0]["leads"]) == 1


def test_a_phone_nobody_knows_is_exit_3_with_those_near_it(scene: Scene, seqdev: Cli) -> None:
    ran = seqdev("explain", "+65 1-2345-6789")
    assert (ran.code, PHONE in ran.out) == (3, True)
    assert "nothing is known" in ran.err
    # I5: no phone in what is narrated.
    assert "3456789" not in ran.err
    found = json.loads(seqdev("explain", "99", "--format", "json").out)
    assert (found["known"], found["stories"], found["near"]) == (False, [], [])
    assert seqdev("explain", "").code == 3


def test_hostile_names_harm_neither_terminal_nor_json_nor_csv(scene: Scene, seqdev: Cli) -> None:
    name = HOSTILE.replace("\x00", "")
    host = scene.host
    host.lead(scene.user, scene.device, PHONE, f"{name},=cmd()", name)
    scene.set("sequence_contacts", contact_name="=cmd()", last_error=name, status=name[:40])
    scene.set("user_devices", device_name=name, status=name[:40])
    scene.set("sequences", name="=cmd()", status=name[:40])
    scene.set("sequence_steps", content=name)
    fill(host, scene.user, scene.device, 1, "sent", "1 hour")
    host.write_phone("broadcast_messages", PHONE)
    host.rows("update broadcast_messages set content = %s, error_message = %s", name, name)
    for format_ in ("table", "json", "jsonl", "csv", "tsv", "markdown"):
        ran = seqdev("explain", PHONE, "--format", format_)
        assert ran.code == 0
        for character in "\x1b\x07\x9b\u202e\u2066\r\x7f":
            assert character not in ran.out + ran.err
        assert format_ != "csv" or ",=cmd()" not in ran.out


def test_mask_hides_the_phone_wherever_it_stands(scene: Scene, seqdev: Cli) -> None:
    scene.host.lead(scene.user, scene.device, PHONE, "WARM", f"Ana {PHONE}")
    scene.set("sequence_contacts", last_error=f"Key ({PHONE}) already exists")
    fill(scene.host, scene.user, scene.device, 1, "sent", "1 hour")
    scene.host.write_phone("broadcast_messages", PHONE)
    scene.host.rows("update broadcast_messages set content = %s", f"call {PHONE}")
    for format_ in ("table", "json", "jsonl", "csv", "markdown"):
        whole = seqdev("explain", "+60 123456789", "--format", format_)
        hidden = seqdev("--mask", "explain", "+60 123456789", "--format", format_)
        assert (whole.code, hidden.code) == (0, 0)
        assert PHONE in whole.out
        assert PHONE not in hidden.out
        assert "601*****789" in hidden.out.replace("\\*", "*")
    near = seqdev("--mask", "explain", "+65123456789")
    assert (near.code, "3456789" in near.out + near.err) == (3, False)


def test_the_json_is_one_object_of_published_names(scene: Scene, seqdev: Cli) -> None:
    found = explained(seqdev)
    assert list(found) == ["phone", "now", "policy", "known", "blocked", "stories", "near"]
    (story,) = found["stories"]
    assert list(story) == [
        *("user_id", "leads", "triggers", "policy", "policy_by", "enrolments", "waiting"),
        *("messages", "messages_total"),
    ]
    (one,) = story["waiting"]
    assert list(one) == [
        *("step", "already_queued", "stopped_by", "reason", "since", "eligible_at", "gates", "policies"),
    ]
    assert list(one["gates"][0]) == ["contact_id", "gate", "reason", "open", "since", "eligible_at", "detail"]
    assert list(one["policies"][0]) == [
        *("policy", "decision", "when_eligible", "device_id", "device_name", "reassigns"),
    ]
    assert one["step"] == story["enrolments"][0]["steps"][0]


def test_it_changes_nothing_and_needs_no_right_to_write(scene: Scene, seqdev: Cli) -> None:
    before = scene.host.rows("select * from sequence_contacts")
    scene.host.rows(
        f"alter database {scene.host.connection.info.dbname} set default_transaction_read_only = on"
    )
    assert seqdev("explain", PHONE).code == 0
    assert scene.host.rows("select * from sequence_contacts") == before
