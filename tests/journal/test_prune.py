"""``seqdev journal prune``: what is old and needed by nobody goes, whole; all else stays."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from seqdev.errors import Exit
from tests.world.command import Cli
from tests.world.host import Host


def prune(seqdev: Cli, *options: str) -> Any:
    ran = seqdev("journal", "prune", "--keep", "90d", "--format", "json", *options)
    assert ran.code == Exit.DONE, ran.err
    return json.loads(ran.out)


def age(host: Host, run: UUID | None = None, by: timedelta = timedelta(days=100)) -> None:
    """Let a run, or all of them, and what it did be so much older."""
    host.rows("update seqdev.run set started_at = started_at - %s where coalesce(id = %s, true)", by, run)
    host.rows(
        "update seqdev.change set changed_at = changed_at - %s where coalesce(run_id = %s, true)", by, run
    )


def runs(host: Host) -> list[str]:
    found = host.rows(
        "select split_part(command, ' ', 1) || ' ' || split_part(command, ' ', 2) as name from seqdev.run"
    )
    return sorted(one.name.strip() for one in found)


def changes(host: Host) -> int:
    found: int = host.value("select count(*) from seqdev.change")
    return found


@pytest.fixture
def moved(host: Host, seqdev: Cli) -> UUID:
    """Somebody who is still in a sequence was moved by a run, which this is."""
    user = host.user()
    a, _, _ = (host.device(user, name) for name in "ABC")
    sequence, (step,) = host.simple_sequence(user)
    host.lead(user, a, "60123450001", "WARM")
    host.contact(sequence, step, "60123450001", a)
    assert seqdev("repair", "device", "A", "--to", "B", "--yes").code == Exit.DONE
    run: UUID = host.value("select id from seqdev.run where command = 'repair device'")
    return run


def done(host: Host) -> None:
    """The people of the sequence have had their messages, and their leads have another device since."""
    host.rows("update sequence_contacts set status = 'completed', completed_at = now()")
    host.rows("update leads set device_id = (select id from user_devices where device_name = 'C')")


def test_old_runs_go_with_their_changes_and_young_ones_stay(host: Host, seqdev: Cli, moved: UUID) -> None:
    assert seqdev("tick").code == Exit.DONE
    done(host)
    age(host)
    assert seqdev("tick").code == Exit.DONE
    were = changes(host)
    assert were > 0
    foretold = prune(seqdev, "--dry-run")
    assert runs(host) == ["repair device", "tick", "tick"]
    gone = prune(seqdev, "--yes", "--why", "space")
    assert (gone["runs"], gone["changes"], gone["kept_in_effect"]) == (2, were, 0)
    assert {name: foretold[name] for name in ("runs", "changes", "oldest")} == {
        name: gone[name] for name in ("runs", "changes", "oldest")
    }
    assert runs(host) == ["journal prune", "tick"]
    assert changes(host) == 0
    (own,) = json.loads(seqdev("runs", "--command", "journal prune", "--format", "json").out)
    assert own["counts"].pop("began_before")
    assert (own["counts"], own["why"]) == ({"runs": 2, "changes": were}, "space")


def test_what_is_in_effect_stays_and_can_be_undone(host: Host, seqdev: Cli, moved: UUID) -> None:
    age(host)
    assert prune(seqdev, "--yes")["runs"] == 0
    ran = seqdev("journal", "prune", "--keep", "90d", "--yes")
    assert "as what they did is still in effect: 1." in ran.err
    assert seqdev("repair", "undo", str(moved), "--yes").code == Exit.DONE
    assert (
        host.value(
            "select count(*) from sequence_contacts as c join user_devices as d on c.assigned_device_id = d.id"
            " where d.device_name = 'A'"
        )
        == 1
    )


def test_what_is_in_effect_goes_when_somebody_says_so(host: Host, seqdev: Cli, moved: UUID) -> None:
    age(host)
    assert prune(seqdev, "--in-effect", "--yes")["runs"] == 1
    assert runs(host) == ["journal prune"]


@pytest.mark.parametrize("young", ["the run", "its undo", "neither"])
def test_a_run_and_its_undo_go_together(host: Host, seqdev: Cli, moved: UUID, young: str) -> None:
    assert seqdev("repair", "undo", str(moved), "--yes").code == Exit.DONE
    undo = host.value("select id from seqdev.run where command like 'repair undo%'")
    done(host)
    if young != "the run":
        age(host, moved)
    if young != "its undo":
        age(host, undo)
    were = changes(host)
    pruned = prune(seqdev, "--yes")
    if young == "neither":
        assert (pruned["runs"], pruned["changes"], changes(host)) == (2, were, 0)
    else:
        assert (pruned["runs"], changes(host)) == (0, were)
    assert pruned["kept_for_young_undo"] == (2 if young == "its undo" else 0)


def test_somebody_who_was_stopped_long_ago_can_be_brought_back(host: Host, seqdev: Cli, moved: UUID) -> None:
    assert seqdev("contacts", "stop", "60123450001", "--why", "x", "--yes").code == Exit.DONE
    age(host)
    assert prune(seqdev, "--yes")["runs"] == 0
    assert seqdev("contacts", "resume", "60123450001", "--yes").code == Exit.DONE
    assert host.value("select status from sequence_contacts") == "active"


def test_a_rule_keeps_the_run_that_has_set_it(host: Host, seqdev: Cli) -> None:
    assert seqdev("rules", "set", "policy", "strict", "--yes").code == Exit.DONE
    assert seqdev("rules", "set", "max_per_day", "100", "--yes").code == Exit.DONE
    assert seqdev("rules", "unset", "max_per_day", "--yes").code == Exit.DONE
    age(host)
    assert prune(seqdev, "--yes")["runs"] == 2
    assert runs(host) == ["journal prune", "rules set"]


@pytest.mark.thorough
def test_a_long_journal_is_looked_at_part_by_part(host: Host, seqdev: Cli) -> None:
    host.rows(
        "insert into seqdev.run (id, command, started_at, version)"
        " select gen_random_uuid(), 'tick', now() - interval '1 year' + mod(n, 7) * interval '1 second', '1'"
        " from generate_series(1, 25000) as n"
    )
    host.rows(
        "insert into seqdev.change (run_id, table_name, row_id, column_name, changed_at)"
        " select r.id, 'sequence_contacts', gen_random_uuid(), 'status', r.started_at"
        " from seqdev.run as r cross join generate_series(1, 4)"
    )
    assert prune(seqdev, "--dry-run")["runs"] == 25000
    assert prune(seqdev, "--yes")["changes"] == 100_000
    assert runs(host) == ["journal prune"]


def test_it_asks_and_takes_no_less_than_a_day(host: Host, seqdev: Cli, moved: UUID) -> None:
    done(host)
    age(host)
    ran = seqdev("journal", "prune", "--keep", "90d")
    assert ran.code == Exit.USAGE
    assert "needs --yes" in ran.err
    assert runs(host) == ["repair device"]
    ran = seqdev("journal", "prune", "--keep", "23h", "--yes")
    assert ran.code == Exit.USAGE
    assert "--keep is at least 1d" in ran.err
