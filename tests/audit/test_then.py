"""``audit … --at``: what had been found then, and a refusal where nothing tells."""

import json
from datetime import timedelta

import pytest

from tests.world import history
from tests.world.command import Cli
from tests.world.host import Host
from tests.world.repairs import message


def test_a_mismatch_of_then_is_found_though_it_is_repaired_since(host: Host, seqdev: Cli) -> None:
    user = host.user()
    a, b = host.device(user, "A"), host.device(user, "B")
    sequence, (step, later) = host.simple_sequence(user, steps=2)
    done = host.contact(sequence, step, "60120000001", a, status="completed")
    host.rows("update sequence_contacts set completed_at = now() at time zone 'UTC' where id = %s", done)
    host.contact(sequence, later, "60120000001", a, timedelta(days=1))
    host.lead(user, b, "60120000001")
    message(host, done, b, own=False)
    history.pass_time(host, timedelta(minutes=10))
    assert seqdev("repair", "assigned", "--yes").code == 0
    history.pass_time(host, timedelta(minutes=10))
    ran = seqdev("audit", "mismatches", "--at", "15m", "--format", "json")
    assert ran.code == 3, ran.err
    (found,) = json.loads(ran.out)["mismatches"]
    devices = (found["assigned_device_id"], found["used_device_id"])
    assert (found["finding"], *devices) == ("mismatch", str(a), str(b))
    (found,) = json.loads(seqdev("audit", "mismatches", "--at", "5m", "--format", "json").out)["mismatches"]
    assert found["finding"] == "repaired"
    assert "60120000001" in seqdev("audit", "mismatches", "--at", "15m").out
    ran = seqdev("audit", "mismatches", "--at", "2h", "--format", "json")
    assert (ran.code, json.loads(ran.out)["mismatches"]) == (0, []), "before it was written"


@pytest.mark.parametrize(
    "name", ["contacts", "failed", "writers", "collisions", "devices", "sequences", "leads"]
)
def test_where_nothing_of_then_is_kept_it_is_not_guessed(host: Host, seqdev: Cli, name: str) -> None:
    ran = seqdev("audit", name, "--at", "1h")
    assert (ran.code, ran.out) == (2, "")
    assert f"audit {name} cannot say how it stood at 1h: " in ran.err
    assert "explain PHONE --at" in ran.err


def test_the_end_of_the_window_is_said_once(host: Host, seqdev: Cli) -> None:
    ran = seqdev("audit", "mismatches", "--at", "1h", "--until", "2h")
    assert (ran.code, ran.out) == (2, "")
    assert "--until and --at do not go together" in ran.err


def test_what_is_to_come_is_refused(host: Host, seqdev: Cli) -> None:
    assert "still to come" in seqdev("audit", "mismatches", "--at", "2999-01-01").err
