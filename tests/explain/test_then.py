"""How it stood: ``explain --at`` says what ``explain`` had said then, or that it cannot be known."""

import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.world import future, history, hours
from tests.world.command import Cli
from tests.world.host import Host

Rows = list[dict[str, Any]]
PHONES = [f"6012000000{number}" for number in range(3)]
IN_FLIGHT = ("pending", "queued", "processing")
SENT = ("sent", "delivered", "read")
GATES = {"due": "due", "paused": "paused", "window": "window"}
"""Gates of the past, and what explain calls them."""


@dataclass
class World:
    """A service to which things happen, and what explain said of its people in between."""

    host: Host
    seqdev: Cli

    def __post_init__(self) -> None:
        host = self.host
        self.user = host.user()
        self.devices = [host.device(self.user, name) for name in "ABC"]
        self.sequence, self.steps = host.simple_sequence(self.user, steps=4)
        for number, phone in enumerate(PHONES):
            host.lead(self.user, self.devices[number % 2], phone, "WARM")
        self.passed = timedelta()
        self.found: list[dict[str, list[dict[str, Any]]]] = []
        self.says_when = False
        self.told: list[tuple[timedelta, str]] = []
        self.judged: Counter[str] = Counter()
        self.said: list[tuple[timedelta, dict[str, Any]]] = []

    def does(self, *argv: object) -> None:
        ran = self.seqdev(*map(str, argv))
        self.told.append((self.passed, " ".join(map(str, argv))))
        assert ran.code in (0, 3, 4), (argv, ran.err)

    def waits(self, by: timedelta) -> None:
        history.pass_time(self.host, by)
        if self.says_when:
            self.host.rows("update broadcast_messages set updated_at = updated_at - %s", by)
        self.passed += by

    def asks(self, phone: str) -> None:
        """Keep what explain says."""
        said = json.loads(self.seqdev("explain", phone, "--format", "json").out)
        self.said.append((self.passed, said))
        self.found.append({name: self.audits(name) for name in JUDGES})

    def audits(self, name: str, *options: str) -> list[dict[str, Any]]:
        """What the audit finds."""
        all_of_it = ["--all", "--since", "60d", "--format", "json", *["--matches"] * (name == "mismatches")]
        ran = self.seqdev("audit", name, *all_of_it, *options)
        assert ran.code in (0, 3), ran.err
        found: list[dict[str, Any]] = json.loads(ran.out)[name]
        return found

    def keeps_when_messages_change(self) -> None:
        """The host's worker says of each message when it last changed it."""
        self.host.rows("alter table broadcast_messages add updated_at timestamp default now()")
        self.says_when = True

    def stood(self, phone: str, at: datetime) -> dict[str, Any]:
        ran = self.seqdev("explain", phone, "--at", at.isoformat(" "), "--format", "json")
        assert ran.code == 0, ran.err
        found: dict[str, Any] = json.loads(ran.out)
        return found


def happenings(world: World, chosen: random.Random) -> list[Callable[[], None]]:
    """What may happen."""
    host = world.host

    def of_messages(status: str, error: str | None, sent: bool) -> None:
        instant = "now() at time zone 'UTC'" if sent else "null"
        if world.says_when:
            instant += ", updated_at = now() at time zone 'UTC'"
        host.rows(
            f"update broadcast_messages set status = %s, error_message = %s, sent_at = {instant} where id in"
            " (select id from broadcast_messages where status = 'pending' order by md5(id::text || %s) limit 2)",
            *(status, error, str(chosen.random())),
        )

    def another_writes() -> None:
        host.rows(
            "insert into broadcast_messages (id, user_id, device_id, sequence_id, sequence_stepid, recipient_phone, recipient_name,"
            " message_type, content, media_url, status, scheduled_at, created_at)"
            " select gen_random_uuid(), s.user_id, %s, s.id, sc.sequence_stepid, sc.contact_phone, '', 'text', '', '', 'pending', n.at, n.at"
            " from sequence_contacts as sc join sequences as s on s.id = sc.sequence_id,"
            " (select now() at time zone 'UTC' as at) as n where sc.contact_phone = %s limit 1",
            *(device, phone),
        )

    def turn(status: str) -> None:
        host.rows("update user_devices set status = %s where id = %s", status, device)

    phone = chosen.choice(PHONES)
    device = chosen.choice(world.devices)
    window = ", ".join(f"{day} {chosen.choice(['02:00-14:00', '10:00-22:00'])}" for day in hours.DAYS)
    whole = ("--yes", "--why", "test")
    return [
        *[lambda: world.does("tick")] * 4,
        lambda: future.send(host),
        lambda: of_messages("sent", None, True),
        *[lambda: of_messages("failed", "no answer", False)] * 2,
        lambda: world.does("repair", "failed", "--cause", "no_answer", "--cause", "other", *whole),
        lambda: world.does("repair", "device", device, "--spread", "--queue", *whole),
        lambda: world.does("contacts", "stop", phone, *whole),
        lambda: world.does("contacts", "resume", phone, *whole),
        lambda: world.does("contacts", "skip", phone, "--sequence", "warm", *whole),
        lambda: world.does("contacts", "restart", phone, "--sequence", "warm", *whole),
        lambda: world.does("block", "add", phone, *whole),
        lambda: world.does("block", "remove", phone, *whole),
        lambda: world.does("pause", "--why", "test"),
        lambda: world.does("resume", *whole),
        lambda: world.does("pause", "--sequence", "warm", "--why", "test"),
        lambda: world.does("resume", "--sequence", "warm", *whole),
        lambda: world.does(
            "rules", "set", "policy", chosen.choice(["queue", "fallback", "reassign"]), "--yes"
        ),
        lambda: world.does("rules", "set", "window", window, "--sequence", "warm", "--yes"),
        lambda: world.does("rules", "unset", "window", "--sequence", "warm", "--yes"),
        *[another_writes] * 2,
        lambda: world.does("repair", "assigned", "--since", "60d", *whole),
        lambda: turn("offline"),
        lambda: turn("online"),
        lambda: world.does("enroll", "--yes"),
    ]


@pytest.mark.thorough
@pytest.mark.parametrize("number", range(8))
def test_what_is_said_of_then_was_said_then(host: Host, seqdev: Cli, seed: int, number: int) -> None:
    chosen = random.Random(seed + number)
    world = World(host, seqdev)
    if chosen.random() < 0.5:
        world.keeps_when_messages_change()
    world.does("enroll", "--yes")
    for _ in range(14):
        chosen.choice(happenings(world, chosen))()
        world.waits(timedelta(minutes=chosen.choice([1, 5, 60, 60 * 24])))
        world.asks(chosen.choice(PHONES))
        world.waits(timedelta(minutes=1))
    known: Counter[bool] = Counter()
    for (passed, said), audits in zip(world.said, world.found, strict=True):
        gone_by = world.passed - passed
        at = datetime.fromisoformat(said["now"]) - gone_by
        found = world.stood(said["phone"], at)
        wrong = differences(said, found, gone_by)
        for name, judge in JUDGES.items():
            claimed = world.audits(name, "--at", at.isoformat(" "))
            wrong += [f"{name}: {words}" for words in judge(world, audits[name], claimed, gone_by)]
        assert wrong == [], (said["phone"], passed, world.told)
        known.update("state" not in step["unknown"] for step in found["steps"])
    assert known[True] > known[False], known
    # Of what others have written, nothing may be known.
    own = any(row["writer"] == "seqdev" for audits in world.found for row in audits["mismatches"])
    assert world.judged["mismatches"] or not own, "nothing was known of messages"


def differences(said: dict[str, Any], found: dict[str, Any], gone_by: timedelta) -> list[str]:
    """What was said then, and what is claimed of then, where they differ."""

    def earlier(instant: str | None) -> datetime | None:
        return datetime.fromisoformat(instant) - gone_by if instant else None

    def instant(text: str | None) -> datetime | None:
        return datetime.fromisoformat(text) if text else None

    wrong: list[str] = []

    def equal(what: str, claimed: object, was: object) -> None:
        if claimed != was:
            wrong.append(f"{what}: claimed {claimed!r}, was {was!r}")

    steps = {
        (step["sequence_id"], step["step_id"], step["phone"]): step
        for story in said["stories"]
        for enrolment in story["enrolments"]
        for step in enrolment["steps"]
    }
    waiting = {
        one["step"]["contact_id"]: {gate["gate"]: gate for gate in one["gates"]}
        for story in said["stories"]
        for one in story["waiting"]
    }
    for step in found["steps"]:
        was = steps.get((step["sequence_id"], step["step_id"], step["phone"]), {"status": "not_reached"})
        where = f"day {step['day']}"
        if step["state"] is not None:
            states = {"not_reached": "not_there", "active": "waiting", "completed": "done", "failed": "done"}
            equal(f"{where} state", step["state"], states.get(was["status"], "other"))
        if step["state"] in (None, "not_there"):
            continue
        equal(f"{where} id", step["contact_id"], was["contact_id"])
        if "status" not in step["unknown"]:
            equal(f"{where} status", step["status"], was["status"])
        for name in ("due_at", "completed_at"):
            if name not in step["unknown"]:
                equal(f"{where} {name}", instant(step[name]), earlier(was[name]))
        if "device_id" not in step["unknown"]:
            equal(f"{where} device", step["device_id"], was["device_id"])
            equal(f"{where} device from", step["device_from"], was["device_from"])
        if step["message"] == "none":
            equal(f"{where} message", None, was["message_id"])
        elif step["message"]:
            equal(f"{where} message", step["message_id"], was["message_id"])
            equal(
                f"{where} message status",
                was["message_status"] in {"queued": IN_FLIGHT, "sent": SENT}[step["message"]],
                True,
            )
            if "message_device_id" not in step["unknown"]:
                equal(f"{where} message device", step["message_device_id"], was["message_device_id"])
            if step["message"] == "sent":
                equal(f"{where} sent", instant(step["sent_at"]), earlier(was["message_at"]))
        if step["state"] == "waiting":
            asked = waiting[step["contact_id"]]
            for gate in found["gates"]:
                if (
                    gate["contact_id"] == step["contact_id"]
                    and gate["gate"] in GATES
                    and gate["open"] is not None
                ):
                    known = asked.get(GATES[gate["gate"]])
                    equal(f"{where} {gate['gate']}", gate["open"], known["open"] if known else True)
    blocks = [(earlier(one["since"]), one["why"], one["user_id"]) for one in said["blocked"]]
    equal(
        "blocked", [(instant(one["since"]), one["why"], one["user_id"]) for one in found["blocked"]], blocks
    )
    policy = next(
        (rule for rule in found["rules"] if rule["name"] == "policy" and rule["scope"] == "all"), None
    )
    if policy is None or policy["is_known"]:
        equal("policy", (policy and policy["value"]) or "queue", said["policy"])
    return wrong


def misjudged(world: World, said: Rows, claimed_rows: Rows, gone_by: timedelta) -> list[str]:
    """What the audit had found of the messages then, and what it says of then, where they differ."""
    found = {row["message_id"]: row for row in claimed_rows}
    wrong = []
    for was in said:
        claimed = found.pop(was["message_id"], None)
        kind = was["state"] if was["state"] in ("repaired", "settled") else "mismatch"
        kind = "assigned_since" if was["cause"] == "assigned_since" else kind
        if claimed is None:
            wrong.append(f"not found: {was}")
        elif claimed["finding"] != "not_known":
            world.judged.update(mismatches=1)
            names = ("assigned_device_id", "used_device_id", "contact_id", "writer", "phone")
            same = all(claimed[name] == was[name] for name in names)
            if not same or claimed["finding"] != (None if was["verdict"] == "MATCH" else kind):
                differ = {name: (claimed[name], was[name]) for name in names if claimed[name] != was[name]}
                wrong.append(
                    f"claimed {claimed['finding']}, {differ}; was {was['verdict']} {was['cause']} {was['state']}"
                )
    return wrong + [f"was not there: {row}" for row in found.values() if row["finding"] != "not_known"]


ANSWERED = {
    *(
        "done_no_message",
        "message_not_done",
        "written_by_other",
        "several_active",
        "never_due",
        "quarantined",
    ),
    *("overdue_15m", "overdue_1h", "overdue_1d", "overdue_7d", "paused"),
}
"""Findings about contacts of which the past is told."""


def contacts_misjudged(world: World, said: Rows, claimed: Rows, gone_by: timedelta) -> list[str]:
    """The same of rows of people."""
    unknown = {row["contact_id"] for row in claimed if row["finding"] == "not_known"}
    unsure = {(row["sequence_id"], row["phone"]) for row in claimed if row["finding"] == "not_known"}
    was = {(row["finding"], row["contact_id"]): row for row in said if row["finding"] in ANSWERED}
    now = {(row["finding"], row["contact_id"]): row for row in claimed if row["finding"] != "not_known"}
    world.judged.update(contacts=len(now))
    wrong = [f"claimed {key}" for key in now.keys() - was.keys()]
    for key, row in was.items():
        if key in now:
            when = [row["at"], now[key]["at"]]
            instants = [one and datetime.fromisoformat(one) for one in when]
            if instants[1] and instants[0] - gone_by != instants[1]:
                wrong.append(f"{key} at {when}")
        elif row["contact_id"] not in unknown and (row["sequence_id"], row["phone"]) not in unsure:
            wrong.append(f"not claimed {key}")
    return wrong


def writers_misjudged(world: World, said: Rows, claimed: Rows, gone_by: timedelta) -> list[str]:
    """The same of messages of another processor."""
    was = {row["message_id"]: row["finding"] for row in said}
    now = {row["message_id"]: row["finding"] for row in claimed}
    world.judged.update(writers=sum(one != "not_known" for one in now.values()))
    wrong = [f"not of another: {one}" for one in now.keys() ^ was.keys()]
    return wrong + [
        f"claimed {now[one]}, was {was[one]}"
        for one in now.keys() & was.keys()
        if now[one] not in ("not_known", was[one])
    ]


def collisions_misjudged(world: World, said: Rows, claimed: Rows, gone_by: timedelta) -> list[str]:
    """The same of people with two devices."""
    was = {row["phone"]: row for row in said}
    now = {row["phone"]: row for row in claimed}
    wrong = []
    for phone in was.keys() | now.keys():
        told, found = now.get(phone), was.get(phone)
        if told is None:
            # Whom a step that was due made one, is not looked at.
            if found and found["finding"] != "due" and not found["due"]:
                wrong.append(f"not claimed {found}")
        elif told["finding"] == "repaired" and found and found["due"]:
            # Nor whether a step was due from another device than that of the repair.
            world.judged.update(collisions=1)
        elif told["finding"] != "not_known":
            world.judged.update(collisions=1)
            if (
                found is None
                or found["finding"] != told["finding"]
                or not set(told["device_ids"].split()) <= set(found["device_ids"].split())
                or told["messages"] > found["messages"]
            ):
                wrong.append(f"claimed {told}, was {found}")
    return wrong


def failed_misjudged(world: World, said: Rows, claimed: Rows, gone_by: timedelta) -> list[str]:
    """The same of messages that had failed."""

    def numbers(rows: Rows, *names: str) -> Counter[tuple[Any, ...]]:
        found: Counter[tuple[Any, ...]] = Counter()
        for row in rows:
            found[tuple(row[name] for name in names)] += row["messages"]
        return found

    known = [row for row in claimed if row["finding"] != "not_known"]
    world.judged.update(failed=len(known))
    causes = ("finding", "sequence_id", "step_id", "device_id")
    too_many = numbers([row for row in known if row["device_id"]], *causes) - numbers(said, *causes)
    missing = numbers(said, *causes[1:3]) - numbers(claimed, *causes[1:3])
    return [f"claimed too many {too_many}"] * bool(too_many) + [f"not claimed {missing}"] * bool(missing)


JUDGES: dict[str, Callable[[World, Rows, Rows, timedelta], list[str]]] = {
    "mismatches": misjudged,
    "contacts": contacts_misjudged,
    "writers": writers_misjudged,
    "collisions": collisions_misjudged,
    "failed": failed_misjudged,
}
"""By audit: what it had found and what it says of then, where they differ."""


def days(found: dict[str, Any]) -> dict[int, dict[str, Any]]:
    return {step["day"]: step for step in found["steps"]}


def test_why_nothing_came_and_from_which_device_it_was_to_come(host: Host, seqdev: Cli) -> None:
    world = World(host, seqdev)
    world.does("enroll", "--yes")
    world.does("tick")
    future.send(host)
    world.waits(timedelta(hours=25))
    world.does("pause", "--why", "wrong texts")
    world.waits(timedelta(hours=1))
    asked = world.passed
    (now,) = host.rows("select now() as at")
    world.waits(timedelta(hours=1))
    world.does("resume")
    world.does("repair", "device", world.devices[0], "--to", world.devices[2], "--yes")
    world.does("tick")
    world.waits(timedelta(hours=1))
    at = now.at - (world.passed - asked)
    found = world.stood(PHONES[0], at)
    assert {day: step["state"] for day, step in days(found).items()} == {
        1: "done",
        2: "waiting",
        3: "not_there",
    }
    second = days(found)[2]
    assert (second["device_id"], second["device_from"]) == (str(world.devices[0]), "assigned")
    assert second["device_id_now"] == str(world.devices[2])
    assert second["message"] == "none"
    assert [tick["tick"] for tick in found["ticks"]] == ["before", "after"]
    ran = seqdev("explain", PHONES[0], "--at", at.isoformat(" "))
    assert ran.code == 0
    assert "all_paused" in ran.out
    assert "wrong texts" in ran.out
    assert "the devices' status and room" in ran.out
    assert PHONES[0] not in seqdev("--mask", "explain", PHONES[0], "--at", at.isoformat(" ")).out


def test_what_another_hand_has_changed_is_not_claimed(host: Host, seqdev: Cli) -> None:
    world = World(host, seqdev)
    world.does("enroll", "--yes")
    world.does("repair", "device", world.devices[0], "--to", world.devices[2], "--yes")
    world.waits(timedelta(hours=1))
    host.rows("update sequence_contacts set assigned_device_id = %s", world.devices[1])
    found = world.stood(PHONES[0], host.value("select now()") - timedelta(minutes=30))
    (step,) = found["steps"]
    assert step["device_id"] is None
    assert step["unknown"] == ["device_id"]
    assert step["device_id_now"] == str(world.devices[1])
    assert any("the assigned device" in one["what"] for one in found["cannot_be_known"])


def test_a_row_that_the_host_has_made_is_not_known_to_have_been_there(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user)
    sequence, (step,) = host.simple_sequence(user)
    host.contact(sequence, step, PHONES[0], device)
    ran = seqdev("explain", PHONES[0], "--at", "1h", "--format", "json")
    (found,) = json.loads(ran.out)["steps"]
    assert found["state"] is None
    assert {"state", "status", "due_at", "device_id"} <= set(found["unknown"])
    assert (found["status_now"], found["device_id"]) == ("active", None)
    assert "not known" in seqdev("explain", PHONES[0], "--at", "1h").out.lower()


def test_a_rule_without_the_journal_is_not_claimed(host: Host, seqdev: Cli) -> None:
    world = World(host, seqdev)
    world.does("enroll", "--yes")
    host.rule("window", "mon 00:00-00:01", sequence=world.sequence)
    found = world.stood(PHONES[0], host.value("select now()"))
    (rule,) = found["rules"]
    assert (rule["value"], rule["is_known"], rule["value_now"]) == (None, False, "mon 00:00-00:01")
    assert [gate["open"] for gate in found["gates"] if gate["gate"] == "window"] == [None]


def test_what_is_to_come_is_refused(host: Host, seqdev: Cli) -> None:
    World(host, seqdev)
    ran = seqdev("explain", PHONES[0], "--at", "2999-01-01")
    assert (ran.code, ran.out) == (2, "")
    assert "still to come" in ran.err


def test_of_whom_nothing_is_there_nothing_is_known(host: Host, seqdev: Cli) -> None:
    World(host, seqdev)
    ran = seqdev("explain", "60129999999", "--at", "1h")
    assert ran.code == 3
    assert "what was deleted is not known" in ran.err


@pytest.mark.thorough
def test_where_the_journal_was_pruned_nothing_is_claimed(host: Host, seqdev: Cli) -> None:
    world = World(host, seqdev)
    world.does("enroll", "--yes")
    world.does("tick")
    future.send(host)
    world.waits(timedelta(days=5))
    world.does("journal", "prune", "--keep", "2d", "--in-effect", "--yes")
    for command in (("explain", PHONES[0]), ("audit", "mismatches")):
        ran = seqdev(*command, "--at", "3d")
        assert (ran.code, ran.out) == (2, "")
        assert "the journal was pruned of what began before" in ran.err
    assert seqdev("explain", PHONES[0], "--at", "1d").code == 0
