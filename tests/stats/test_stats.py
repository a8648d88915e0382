"""The numbers of the service are those that anybody would count by hand, and the same in every report."""

import json
import random
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest

from tests.world.command import Cli
from tests.world.host import Host
from tests.world.inbox import Inbox
from tests.world.metrics import read

DIMENSIONS = ("sequence", "step", "device", "user", "day", "status")
CONTACT = (
    "active",
    "pending",
    "paused",
    "set_aside",
    "completed",
    "failed",
    "sent",
    "ACTIVE",
    "gibberish",
    "",
    None,
)
MESSAGE = ("pending", "queued", "processing", "sent", "delivered", "failed", "error", "gibberish", "")
NUMBERS = (
    "enrolled",
    "waiting",
    "stopped",
    "ended",
    "other",
    "due",
    "queued",
    "sent",
    "failed",
    "other_messages",
)
KEYS = {
    "sequence": "sequence_id",
    "step": "step_id",
    "device": "device_id",
    "user": "user_id",
    "day": "day",
    "status": "status",
}
KUALA_LUMPUR = ZoneInfo("Asia/Kuala_Lumpur")


def world(host: Host, rng: random.Random) -> None:
    """Everything that hosts have, right or not: statuses of all kinds, steps and devices that are gone."""
    for _ in range(2):
        user = host.user()
        devices = [host.device(user, f"d{number}") for number in range(3)]
        for _ in range(2):
            sequence, steps = host.simple_sequence(user, f"T{uuid4()}", steps=3)
            if rng.random() < 0.3:
                host.rows("update sequences set status = 'draft' where id = %s", sequence)
            for person in range(rng.randint(2, 6)):
                for step in rng.sample([*steps, uuid4()], rng.randint(1, 4)):
                    contact = host.contact(
                        sequence,
                        step,
                        f"6012000000{person}",
                        rng.choice([*devices, None, uuid4()]),
                        timedelta(minutes=rng.choice((-90, -5, 60))),
                        status=rng.choice(CONTACT),
                    )
                    if rng.random() < 0.7:
                        host.rows(
                            "update sequence_contacts set completed_at = now() at time zone 'UTC' - %s where id = %s",
                            *(timedelta(minutes=rng.randint(0, 9 * 24 * 60)), contact),
                        )
            for _ in range(rng.randint(0, 25)):
                status = rng.choice(MESSAGE)
                host.rows(
                    "insert into broadcast_messages (user_id, device_id, sequence_id, sequence_stepid, recipient_phone,"
                    " recipient_name, content, media_url, status, created_at, sent_at)"
                    " values (%s, %s, %s, %s, '6012', '', '', '', %s, now() at time zone 'UTC' - %s,"
                    " case when %s then now() at time zone 'UTC' end)",
                    *(
                        user,
                        rng.choice(devices),
                        rng.choice([sequence, sequence, None]),
                        rng.choice([*steps, None]),
                        status,
                    ),
                    *(
                        timedelta(minutes=rng.randint(0, 9 * 24 * 60)),
                        rng.random() < 0.3 and status != "pending",
                    ),
                )
    # Of one in ten: the ids are random.
    host.rows(
        "update sequence_contacts set next_trigger_time = null where id < '1999999a-0000-0000-0000-000000000000'"
    )


PLACES = {
    "waiting": ("active", "pending"),
    "stopped": ("paused", "set_aside"),
    "ended": ("completed", "failed", "sent"),
}


def place(row: Any) -> str:
    return next((name for name, statuses in PLACES.items() if row.status in statuses), "other")


def standing(rows: list[Any]) -> Any:
    """The row that tells where a person stands: what is to come first, else what was done last."""

    def order(row: Any) -> tuple[Any, ...]:
        due = row.next_trigger_time or datetime.max
        return (
            [*PLACES, "other"].index(place(row)),
            row.status != "active",
            due if place(row) == "waiting" else datetime.max,
            datetime.max - (row.completed_at or datetime.min),
            row.id.int,
        )

    return min(rows, key=order)


def units(host: Host, since: datetime | None, until: datetime | None) -> list[tuple[str, dict[str, Any]]]:
    """All that there is to count: what it is, and what it can be told by."""
    sequences = {row.id: row for row in host.rows("select * from sequences")}
    contacts = host.rows("select * from sequence_contacts")
    now = host.value("select now() at time zone 'UTC'")

    def within(at: datetime | None) -> bool:
        return at is not None and (since is None or at >= since) and (until is None or at < until)

    def day(at: datetime | None) -> str | None:
        return None if at is None else f"{at.replace(tzinfo=UTC).astimezone(KUALA_LUMPUR):%Y-%m-%d}"

    found = []

    def told(row: Any, device: UUID | None, user: UUID, at: datetime | None) -> dict[str, Any]:
        return {
            "sequence": row.sequence_id,
            "step": row.sequence_stepid,
            "device": device,
            "user": user,
            "day": day(at),
            "status": row.status,
        }

    people: dict[Any, list[Any]] = {}
    for row in contacts:
        people.setdefault((row.sequence_id, row.contact_phone), []).append(row)
        sequence = sequences[row.sequence_id]
        due = row.status == "active" and row.next_trigger_time and row.next_trigger_time <= now
        if due and sequence.is_active and sequence.status == "active" and since is until is None:
            found.append(("due", told(row, row.assigned_device_id, sequence.user_id, None)))
    for rows in people.values():
        row = standing(rows)
        name = place(row)
        if since is until is None or (name == "ended" and within(row.completed_at)):
            found.append(
                (
                    name,
                    told(row, row.assigned_device_id, sequences[row.sequence_id].user_id, row.completed_at),
                )
            )
    for row in host.rows("select * from broadcast_messages where sequence_id is not null"):
        if row.status in ("pending", "queued", "processing"):
            name = "queued"
        elif row.status in ("failed", "error", "skipped", "expired", "cancelled"):
            name = "failed"
        else:
            name = "sent" if row.status in ("sent", "delivered", "read") or row.sent_at else "other_messages"
        if since is until is None or within(row.created_at):
            found.append((name, told(row, row.device_id, row.user_id, row.created_at)))
    return found


def counted(
    host: Host, by: tuple[str, ...], since: datetime | None, until: datetime | None
) -> dict[Any, Counter[str]]:
    groups: dict[Any, Counter[str]] = {}
    for name, told in units(host, since, until):
        group = groups.setdefault(
            tuple(None if told[one] is None else str(told[one]) for one in by), Counter()
        )
        group[name] += 1
        if name in ("waiting", "stopped", "ended", "other"):
            group["enrolled"] += 1
    return groups


def shown(seqdev: Cli, *options: str) -> Any:
    ran = seqdev("--zone", "Asia/Kuala_Lumpur", "stats", *options, "--all", "--format", "json")
    assert (ran.code, ran.err) == (0, "")
    return json.loads(ran.out)


@pytest.mark.cases(1)
@pytest.mark.parametrize("_", range(30))
def test_the_numbers_are_those_counted_by_hand(_: int, host: Host, seqdev: Cli, seed: int) -> None:
    rng = random.Random(seed + _)
    world(host, rng)
    for _turn in range(6):
        by = tuple(one for one in DIMENSIONS if rng.random() < 0.4)
        if "step" in by:
            by = tuple(one for one in DIMENSIONS if one in (*by, "sequence"))
        since = until = None
        options = []
        if "day" in by or rng.random() < 0.5:
            now = host.value("select date_trunc('second', now() at time zone 'UTC')")
            since = now - timedelta(minutes=rng.randint(60, 9 * 24 * 60))
            options += ["--since", f"{since}Z"]
            if rng.random() < 0.5:
                until = since + (now - since) / 2
                until = until.replace(microsecond=0)
                options += ["--until", f"{until}Z"]
        found = shown(seqdev, *(["--by", ",".join(by)] if by else []), *options)
        expected = counted(host, by, since, until) or ({} if by else {(): Counter[str]()})
        there = {tuple(row[KEYS[one]] for one in by): row for row in found["numbers"]}
        assert there.keys() == expected.keys(), (by, options)
        known = [name for name in NUMBERS if since is None or name in ("ended", *NUMBERS[6:])]
        for key, row in there.items():
            assert {name: row[name] for name in known} == {name: expected[key][name] for name in known}, (
                by,
                options,
                key,
            )
        # The groups are all that there is.
        for name in known:
            assert found["total"][name] == sum(row[name] for row in found["numbers"])
            assert since is not None or found["total"][name] == shown(seqdev)["total"][name]


def test_every_report_has_the_same_numbers(host: Host, seqdev: Cli, seed: int) -> None:
    world(host, random.Random(seed))
    host.rows(
        "update sequence_contacts set sequence_stepid = (select id from sequence_steps as s where s.sequence_id = sequence_contacts.sequence_id and day_number = 1) where sequence_stepid is null"
    )
    total = shown(seqdev)["total"]
    health = json.loads(seqdev("audit", "all", "--format", "json").out)["health"]
    assert total["due"] == health["backlog"] + health["on_pause"]
    assert total["due"] == json.loads(seqdev("tick", "--dry-run", "--format", "json").out)["due"]
    hour = shown(seqdev, "--since", "1h")["total"]
    assert hour["failed"] == sum(
        row["messages"]
        for row in json.loads(seqdev("audit", "failed", "--since", "1h", "--format", "json").out)["failed"]
    )
    metrics = read(seqdev("metrics").out)
    assert hour["failed"] == sum(
        value for key, value in metrics.items() if key[0] == "seqdev_failed_messages"
    )


def test_replies_are_known_where_the_host_keeps_them_and_a_window_bounds_them(
    host: Host, seqdev: Cli
) -> None:
    user = host.user()
    device = host.device(user)
    sequence, (step,) = host.simple_sequence(user)
    host.contact(sequence, step, "60120000001", device)
    assert seqdev("tick").code == 0
    host.rows("update broadcast_messages set status = 'sent', sent_at = created_at - interval '1 second'")
    assert shown(seqdev, "--since", "1d")["total"]["replied"] is None
    Inbox(host).receives(device, "60120000001@s.whatsapp.net")
    (row,) = shown(seqdev, "--since", "1d", "--by", "device,step")["numbers"]
    assert (row["sent"], row["replied"]) == (1, 1)
    assert shown(seqdev)["total"]["replied"] is None
    assert shown(seqdev, "--since", "1d", "--by", "status")["total"]["replied"] is None


def test_people_see_what_they_ask_for_and_the_numbers_in_all(host: Host, seqdev: Cli) -> None:
    user = host.user()
    sequence, (step,) = host.simple_sequence(user)
    for number in range(3):
        device = host.device(user, f"alice-{number}") if number else None
        host.contact(sequence, step, f"6012000000{number}", device, status="active" if number < 2 else "odd")
    text = seqdev("stats", "--by", "device").out
    assert [word for word in ("alice-1", "alice-2", "(none)", "all", "other") if word not in text] == []
    assert "stopped" not in text, "what is nowhere needs no column"
    assert "60120" not in text
    ran = seqdev("stats", "--by", "device", "--limit", "1")
    assert (ran.code, ran.err) == (0, "seqdev: 3 lines, 1 shown: --limit, or --all\n")
    assert ran.out.splitlines()[-1].split()[:2] == ["all", "3"], "the last line is about all of them"
    text = seqdev("stats", "--by", "step,status,user").out
    assert "odd" in text
    assert re.search(r"^warm \S+ {5,}1 ", text, re.MULTILINE), "a day is a number"
    assert seqdev("stats").out.split()[:4] == ["enrolled", "3", "waiting", "2"]


@pytest.mark.parametrize("by", ["phone", "device day", ",", ""])
def test_what_nothing_can_be_told_by_is_wrong_usage(by: str, host: Host, seqdev: Cli) -> None:
    ran = seqdev("stats", "--by", by)
    assert (ran.code, ran.out) == (2, "")
    assert "sequence, step, device, user, day, status" in ran.err
