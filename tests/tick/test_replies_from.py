"""Replies that the host keeps elsewhere: in the table or view that the rule ``replies_from`` names."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.world.command import Cli
from tests.world.host import Host
from tests.world.inbox import CHAT, PHONE, Scene

ANSWERS = "create table answers (phone text, device_id uuid, replied_at timestamptz)"
HOSTS_PAGE = Path(__file__).parents[2] / "docs" / "hosts.md"


def rule(seqdev: Cli, value: str) -> None:
    ran = seqdev("rules", "set", "replies_from", value, "--yes")
    assert ran.code == 0, ran.err


def stopped(seqdev: Cli) -> Any:
    ran = seqdev("tick", "--format", "json")
    assert ran.code == 0, ran.err
    return json.loads(ran.out)["replied"]


@pytest.fixture
def scene(host: Host) -> Scene:
    """People in two sequences, both of which stop on a reply; the host keeps answers in a table of its own."""
    made = Scene(host)
    host.rule("stop_on_reply", "true")
    host.rows(ANSWERS)
    return made


@pytest.mark.cases(3)
@pytest.mark.parametrize(
    "written", [f"+{PHONE}", CHAT, "+60 17-352 7172", f"00{PHONE}", f"{PHONE}:3@s.whatsapp.net"]
)
@pytest.mark.parametrize("known", [True, False])
def test_who_has_replied_there_is_stopped_and_counted(
    scene: Scene, host: Host, seqdev: Cli, written: str, known: bool
) -> None:
    rule(seqdev, "answers")
    assert "public.answers" in seqdev("rules", "get", "replies_from").out
    device = scene.second if known else None
    host.rows("insert into answers values (%s, %s, now() - interval '5 minutes')", written, device)
    dry = seqdev("tick", "--dry-run", "--format", "json")
    assert (dry.code, json.loads(dry.out)["replied"]) == (0, 2), dry.err
    counted = seqdev("audit", "replies", "--format", "json")
    assert sum(one["replied"] for one in json.loads(counted.out)) == 1, counted.err
    assert stopped(seqdev) == 2
    assert [scene.status(one) for one in (scene.to_come, scene.elsewhere, scene.neighbour)] == [
        *("replied", "replied", "completed")
    ]


def test_groups_hidden_numbers_and_other_users_devices_tell_nothing(
    scene: Scene, host: Host, seqdev: Cli
) -> None:
    rule(seqdev, "answers")
    other = host.device(host.user())
    for phone, device in (
        (f"{PHONE}@lid", None),
        ("120363041@g.us", None),
        ("", None),
        (None, None),
        ("no phone", None),
        (CHAT, other),
    ):
        host.rows("insert into answers values (%s, %s, now())", phone, device)
    host.rows("insert into answers values (%s, null, null), (%s, null, 'infinity')", CHAT, CHAT)
    assert stopped(seqdev) == 0


def test_the_view_that_the_documentation_shows_works_and_resolves_hidden_numbers(
    scene: Scene, host: Host, seqdev: Cli
) -> None:
    host.rows(
        "create table chat_messages (chat_jid text, device_id text, received_at timestamp, direction text);"
        " create table whatsmeow_lid_map (lid text primary key, pn text unique not null)"
    )
    (view,) = re.findall(r"```sql\n(create view .*?)```", HOSTS_PAGE.read_text(), re.DOTALL)
    host.rows(view)
    rule(seqdev, "seqdev_replies")
    host.rows("insert into whatsmeow_lid_map values ('99887766554433', %s)", PHONE)
    host.rows(
        "insert into chat_messages values ('99887766554433@lid', %s, now() at time zone 'UTC', 'in')",
        str(scene.device),
    )
    assert stopped(seqdev) == 2


@pytest.mark.parametrize(
    ("name", "made", "said"),
    [
        ("nowhere", "", "there is no table or view nowhere"),
        ("x; drop table users", "", "there is no table or view x; drop table users"),
        (
            "partial",
            "create table partial (phone text, replied_at date)",
            "lacks the columns device_id (uuid or text, ",
        ),
        (
            "partial",
            "create view partial as select 1 as phone, 2 as device_id, now() as replied_at",
            "phone (text), ",
        ),
        ("seqdev.foreign", "create sequence seqdev.foreign", "there is no table or view"),
    ],
)
def test_what_ticks_could_not_read_is_refused_when_it_is_set(
    host: Host, seqdev: Cli, name: str, made: str, said: str
) -> None:
    if made:
        host.rows(made)
    ran = seqdev("rules", "set", "replies_from", name, "--yes")
    assert (ran.code, said in ran.err) == (2, True), ran.err
    assert host.value("select count(*) from seqdev.rule") == 0


@pytest.mark.parametrize(
    ("breaks", "said"),
    [
        ("drop table answers", "there is no table or view public.answers"),
        (
            "alter table answers drop column replied_at",
            "lacks the columns replied_at (timestamp with or without",
        ),
        (
            "drop table answers; create view answers as select '1'::text as phone, null::uuid as device_id,"
            " now() + (1 / (extract(epoch from now())::int * 0)) * interval '1 day' as replied_at",
            "fails: SQLSTATE 22012",
        ),
    ],
)
def test_those_who_may_have_replied_wait_while_it_cannot_be_read_and_db_check_says_so(
    scene: Scene, host: Host, seqdev: Cli, breaks: str, said: str
) -> None:
    rule(seqdev, "answers")
    host.rule("stop_on_reply", "false", sequence=scene.cold)
    host.rows(breaks)
    for command, code in (["tick", "--dry-run"], 0), (["tick"], 3), (["audit", "replies"], 10):
        ran = seqdev(*command)
        assert (ran.code, said in ran.err, "rules unset replies_from" in ran.err) == (code, True, True), (
            ran.err
        )
    # What does not stop on replies goes on.
    assert [scene.status(one) for one in (scene.neighbour, scene.elsewhere)] == ["active", "completed"]
    told = seqdev("explain", PHONE)
    assert (told.code, "STOPPED: replies_unread" in told.out) == (0, True), told.out
    if "fails" not in said:
        assert said in seqdev("db", "check", "--no-probe").out
    # Nobody leaves a sequence on a reply: nobody needs to be known.
    host.rule("stop_on_reply", None)
    assert stopped(seqdev) is None
    assert scene.status(scene.neighbour) == "completed"


def test_a_view_of_somebody_who_could_have_code_run_by_it_is_never_read(
    scene: Scene, host: Host, seqdev: Cli
) -> None:
    host.rows("create role seqdev_stranger")
    try:
        host.rows("alter table answers owner to seqdev_stranger")
        ran = seqdev("rules", "set", "replies_from", "answers", "--yes")
        assert (ran.code, "could have code run as whoever reads it" in ran.err) == (2, True), ran.err
        host.rule("replies_from", "public.answers")
        assert seqdev("tick").code == 3
    finally:
        host.rows("drop owned by seqdev_stranger; drop role seqdev_stranger")
    assert scene.status(scene.to_come) == "active"
