"""A sequence, a device or a user is paused and resumed: who is due waits, and nothing is lost or sent twice."""

import json
import time
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from tests.world import citus
from tests.world.command import Cli, Start
from tests.world.host import Connect, Host
from tests.world.obstacles import halt, slow
from tests.world.sessions import stopped
from tests.world.waiting import until

HOUR = timedelta(hours=1)


class Scene:
    """A user with two devices and two sequences, each person due; a lead without an assigned device; another user."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.user, self.other = host.user(), host.user()
        self.device, self.second = host.device(self.user, "A"), host.device(self.user, "B")
        self.sequence, (self.step, _) = host.simple_sequence(self.user, "WARM", steps=2)
        self.cold, (cold,) = host.simple_sequence(self.user, "COLD")
        theirs, (their_step,) = host.simple_sequence(self.other, "THEIRS")
        self.people = {
            "60123450001": host.contact(self.sequence, self.step, "60123450001", self.device, -HOUR),
            "60123450002": host.contact(self.sequence, self.step, "60123450002", self.second),
            "60123450003": host.contact(self.cold, cold, "60123450003", self.device),
        }
        host.lead(self.user, self.device, "60123450004")
        self.people["60123450004"] = host.contact(self.cold, cold, "60123450004", None)
        self.people["60123450005"] = host.contact(
            theirs, their_step, "60123450005", host.device(self.other, "C")
        )

    def part(self, scope: str) -> list[str]:
        return [
            f"--{scope}",
            str({"sequence": self.sequence, "device": self.device, "user": self.user}[scope]),
        ]

    def sent(self) -> set[str]:
        return {
            row.phone for row in self.host.rows("select recipient_phone as phone from broadcast_messages")
        }


@pytest.fixture
def scene(host: Host) -> Scene:
    return Scene(host)


HELD = {
    "sequence": {"60123450001", "60123450002"},
    "device": {"60123450001", "60123450003", "60123450004"},
    "user": {"60123450001", "60123450002", "60123450003", "60123450004"},
}


def tick(seqdev: Cli, *options: str) -> Any:
    ran = seqdev("tick", *options, "--format", "json")
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


@pytest.mark.cases(4)
@pytest.mark.parametrize("policy", ["queue", "strict", "fallback", "reassign"])
@pytest.mark.parametrize("scope", HELD)
def test_who_is_due_there_waits_as_paused_and_goes_when_it_is_resumed(
    scene: Scene, seqdev: Cli, scope: str, policy: str
) -> None:
    part, held = scene.part(scope), HELD[scope]
    ran = seqdev("pause", *part, "--why", "number got a warning")
    assert (ran.code, ran.out) == (0, "")
    assert f"seqdev: paused: {scope} " in ran.err
    assert "until resumed: number got a warning" in ran.err
    assert f"{len(held)} contacts due, and waiting; to go on: seqdev resume --{scope} " in ran.err
    planned = tick(seqdev, "--dry-run", "--policy", policy)
    done = tick(seqdev, "--policy", policy)
    assert scene.sent() == set(scene.people) - held
    assert done["waiting"] == {"paused": len(held)}
    assert planned["waiting"] == {"paused": len(held)}
    for phone in held:
        (story,) = json.loads(seqdev("explain", phone, "--format", "json").out)["stories"]
        (waits,) = story["waiting"]
        assert (waits["reason"], waits["eligible_at"]) == ("paused", None)
        assert {one["decision"] for one in waits["policies"]} == {"paused"}
    shown = seqdev("explain", min(held))
    assert f"STOPPED: paused ({scope} paused until resumed: number got a warning)" in " ".join(
        shown.out.split()
    )
    ran = seqdev("resume", *part, "--yes")
    assert ran.code == 0, ran.err
    assert f"{len(held)} contacts are due now" in ran.err
    assert tick(seqdev, "--policy", policy)["queued"] == len(held)
    assert scene.sent() == set(scene.people)
    assert not scene.host.broken_promises()


def test_a_paused_device_takes_nobody_from_others(scene: Scene, seqdev: Cli) -> None:
    scene.host.rows("update user_devices set status = 'offline' where id = %s", scene.second)
    seqdev("pause", "--device", "A", "--why", "x")
    assert tick(seqdev, "--policy", "fallback")["waiting"] == {"paused": 3, "device_offline": 1}


@pytest.mark.thorough
def test_a_pause_ends_by_itself_by_the_clock_of_the_database(scene: Scene, seqdev: Cli) -> None:
    seqdev("db", "zone", "Asia/Kuala_Lumpur")
    # Three commands until then, on a busy machine; on a Citus they begin sessions on all nodes.
    soon = scene.host.value(
        "select to_char(now() at time zone 'Asia/Kuala_Lumpur' + %s * interval '1 s', 'YYYY-MM-DD HH24:MI:SS')",
        15 if citus.URL else 7,
    )
    ran = seqdev("pause", *scene.part("user"), "--until", soon, "--why", "x")
    assert ran.code == 0, ran.err
    assert f"until {soon} in Asia/Kuala_Lumpur, the zone of the database: x" in ran.err
    assert "when the pause ends by itself, all who are due by then go at once" in ran.err
    (story,) = json.loads(seqdev("explain", "60123450001", "--format", "json").out)["stories"]
    assert story["waiting"][0]["eligible_at"].startswith(soon.replace(" ", "T"))
    assert tick(seqdev)["waiting"] == {"paused": 4}
    until(
        lambda: scene.host.value("select now() >= %s::timestamp at time zone 'Asia/Kuala_Lumpur'", soon),
        "the end",
    )
    assert tick(seqdev)["waiting"] == {}
    assert "that has ended by itself" in seqdev("resume", *scene.part("user"), "--yes").err
    assert "is not paused: nothing was changed" in seqdev("resume", *scene.part("user"), "--yes").err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--sequence", "warm", "--until", "tomorrow", "--why", "x"], "is no instant"),
        (["--sequence", "warm", "--until", "2020-01-01 08:00", "--why", "x"], "is past"),
        (["--until", "2120-01-01 08:00", "--why", "x"], "--until is for the pause of"),
        (["--sequence", "warm", "--device", "A", "--why", "x"], "--sequence and --device"),
        (["--sequence", "nowhere", "--why", "x"], "no sequence 'nowhere'"),
        (["--sequence", "warm", "--why", " "], "--why is empty"),
    ],
)
def test_what_cannot_be_paused_is_refused(scene: Scene, seqdev: Cli, options: list[str], words: str) -> None:
    ran = seqdev("pause", *options)
    assert (ran.code, words in ran.err) == (2, True), ran.err
    assert scene.host.value("select count(*) from seqdev.rule") == 0


def test_resume_alone_names_the_parts_that_stay_paused(scene: Scene, seqdev: Cli) -> None:
    assert seqdev("pause", *scene.part("sequence"), "--why", "holiday").code == 0
    ran = seqdev("resume")
    assert (ran.code, ran.out) == (0, "")
    first, second = ran.err.splitlines()
    assert first == "seqdev: what is paused are parts only: nothing was changed"
    assert second.startswith(f"seqdev: to resume it: seqdev resume --sequence {str(scene.sequence)[:8]}; ")
    assert "holiday" in second
    words = second.partition("seqdev resume ")[2].partition(";")[0].split()
    assert seqdev("resume", *words, "--yes").code == 0
    assert seqdev("resume").err == "seqdev: nothing was paused\n"


def test_a_database_from_before_the_rules_is_resumed_like_any_other(host: Host, seqdev: Cli) -> None:
    host.rows("drop table seqdev.rule")
    assert seqdev("pause", "--why", "test").code == 0
    for words in ("the pause is lifted", "nothing was paused"):
        ran = seqdev("resume")
        assert (ran.code, ran.err.splitlines()[-1]) == (0, f"seqdev: {words}"), ran.err


def test_several_pauses_at_once_each_have_to_end(scene: Scene, seqdev: Cli) -> None:
    seqdev("pause", "--sequence", "warm", "--why", "first")
    seqdev("pause", "--device", "A", "--until", "2120-01-01T00:00:00+00:00", "--why", "second")
    assert tick(seqdev)["waiting"] == {"paused": 4}
    assert seqdev("resume", "--sequence", "warm", "--yes").code == 0
    assert tick(seqdev)["queued"] == 1
    ran = seqdev("audit", "all")
    assert "device A [" in ran.err
    assert "paused until 2120-01-01T00:00:00Z" in ran.err


def test_pausing_twice_changes_the_end_or_nothing(scene: Scene, seqdev: Cli) -> None:
    seqdev("pause", "--device", "A", "--why", "first")
    ran = seqdev("pause", "--device", "A", "--why", "second")
    assert (ran.code, "paused already, nothing changed: device A [" in ran.err) == (0, True)
    assert scene.host.value("select value from seqdev.rule") == "until resumed: first"
    ran = seqdev("pause", "--device", "A", "--until", "2120-01-01T08:00+08:00", "--why", "third")
    assert ("until now: device A [" in ran.err, ran.code) == (True, 0)
    assert scene.host.value("select value from seqdev.rule") == "until 2120-01-01T00:00:00Z: third"


def test_resuming_lays_out_who_is_due_and_undo_takes_it_back(scene: Scene, seqdev: Cli) -> None:
    host = scene.host
    for number in range(10, 18):
        host.contact(scene.sequence, scene.step, f"601234500{number}", scene.device, timedelta(days=-number))
    everything = "select jsonb_agg(t order by id) from sequence_contacts as t"
    ran = seqdev("pause", "--sequence", "warm", "--why", "x")
    before = host.value(everything)
    ran = seqdev("resume", "--sequence", "warm", "--spread", "2h", "--dry-run")
    assert "10 contacts are due now: 1 for an hour at most, 1 for a day at most, 8 for longer" in ran.err
    assert "seqdev: 11 rows of 10 people, 1 pause would change" in ran.err
    assert "1 row of 1 pause would change" in seqdev("resume", "--sequence", "warm", "--dry-run").err
    assert host.value(everything) == before
    ran = seqdev("resume", "--sequence", "warm", "--spread", "2h", "--yes")
    assert ran.code == 0, ran.err
    (run,) = host.rows("select * from seqdev.run where command = 'resume'")
    due = host.rows(
        "select assigned_device_id as device, contact_phone as phone, next_trigger_time as at from sequence_contacts"
        " where sequence_id = %s order by next_trigger_time, contact_phone",
        scene.sequence,
    )
    of_device = [row for row in due if row.device == scene.device]
    assert [row.phone[-2:] for row in of_device] == ["17", "16", "15", "14", "13", "12", "11", "10", "01"]
    gaps = {b.at - a.at for a, b in pairwise(of_device)}
    assert max(gaps) - min(gaps) < timedelta(seconds=1)
    assert abs(min(gaps) - timedelta(hours=2) / 9) < timedelta(seconds=1)
    assert seqdev("repair", "undo", run.id, "--yes").code == 0
    assert host.value(everything) == before
    assert tick(seqdev)["waiting"] == {"paused": 10}


def test_it_can_be_paused_while_all_is_and_undone(scene: Scene, seqdev: Cli) -> None:
    seqdev("pause", "--why", "all of it")
    ran = seqdev("pause", "--device", "A", "--why", "one")
    assert ran.code == 0, ran.err
    ran = seqdev("resume", "--device", "A", "--yes")
    assert (ran.code, "to go on: seqdev resume" in ran.err) == (4, True)
    seqdev("resume")
    assert tick(seqdev)["waiting"] == {"paused": 3}
    (run,) = scene.host.rows("select * from seqdev.run where command = 'pause'")
    assert (run.exit_code, run.why) == (0, "one")
    assert seqdev("repair", "undo", run.id, "--yes").code == 0
    assert tick(seqdev)["queued"] == 3


def test_who_is_enrolled_meanwhile_waits_too(scene: Scene, seqdev: Cli) -> None:
    scene.host.lead(scene.user, scene.second, "60123450077", "WARM")
    seqdev("pause", "--sequence", "warm", "--why", "x")
    assert seqdev("enroll", "--yes").code == 0
    assert tick(seqdev)["waiting"] == {"paused": 3}
    assert "60123450077" not in scene.sent()


@pytest.mark.cases(2)
@pytest.mark.parametrize(
    "value",
    ["x", "", "until 2020-99-99T00:00:00Z: x", "until 0000-00-00T99:00:00Z", "until 9999-12-31T23:59:59Z: x"],
)
def test_what_psql_has_written_badly_pauses_until_it_is_resumed(
    scene: Scene, seqdev: Cli, value: str
) -> None:
    scene.host.rule("paused", value, device=scene.device)
    assert tick(seqdev)["waiting"] == {"paused": 3}
    for words in (["explain", "60123450001"], ["audit", "all"], ["audit", "devices"], ["rules", "list"]):
        assert seqdev(*words).code in (0, 3)
    assert seqdev("resume", "--device", "A", "--yes").code == 0


def test_a_running_tick_obeys_and_pause_returns_when_nothing_more_leaves(
    scene: Scene, seqdev: Cli, start: Start
) -> None:
    host = scene.host
    for number in range(100, 200):
        host.contact(scene.sequence, scene.step, f"60123451{number}", scene.device)
    slow(host, "broadcast_messages", "insert", 0.03)
    process = start("tick", "--batch-size", "2", "--format", "json")
    until(lambda: len(scene.sent()) >= 4, "two batches", process=process)
    assert seqdev("pause", "--sequence", "warm", "--why", "enough").code == 0
    of_sequence = "select count(*) from broadcast_messages where sequence_id = %s"
    left = host.value(of_sequence, scene.sequence)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert host.value(of_sequence, scene.sequence) == left < 100
    assert json.loads(out)["waiting"]["paused"] == 102 - left
    assert scene.sent() >= {"60123450003", "60123450004", "60123450005"}
    assert not host.broken_promises()


def test_pause_waits_for_a_batch_that_has_not_seen_it(
    scene: Scene, seqdev: Cli, start: Start, connect: Connect, database: str
) -> None:
    go_on = halt(scene.host, connect, database)
    process = start("tick")
    until(lambda: stopped(scene.host) == 1, "the tick to be stopped", process=process)
    ran = seqdev("pause", "--device", "A", "--why", "x", "--wait", "1s")
    assert (ran.code, "a batch that began before it still runs" in ran.err) == (13, True)
    go_on()
    assert process.wait(timeout=20) == 0


def test_a_pause_whose_process_is_killed_is_set_or_not(scene: Scene, start: Start) -> None:
    for place in range(4):
        process = start("pause", "--device", "A", "--why", "x")
        time.sleep(0.1 * place)
        process.kill()
        process.wait()
        journaled = scene.host.value("select count(*) from seqdev.change where table_name = 'rule'")
        assert journaled == scene.host.value("select count(*) from seqdev.rule where value is not null")
        if journaled:
            break
