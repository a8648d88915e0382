"""A device that is deleted between a plan and its rows' turn: the rows that were to get it are kept."""

import json
import time
from pathlib import Path
from uuid import UUID

import pytest

from tests.world.command import Cli, Start
from tests.world.host import Connect, Host
from tests.world.repairs import only, setting


@pytest.fixture
def leads(host: Host) -> tuple[UUID, UUID, dict[str, UUID]]:
    """Two devices of a user, and four leads without one, by phone."""
    user = host.user()
    gone, left = host.device(user, "gone"), host.device(user, "left")
    return gone, left, {phone: host.lead(user, None, phone) for phone in ("6011", "6012", "6013", "6014")}


@pytest.mark.plain("no foreign key leads from a distributed table, so that nothing waits for the delete")
def test_leads_are_distributed_without_the_device_that_somebody_deletes(
    host: Host, start: Start, leads: tuple[UUID, UUID, dict[str, UUID]], connect: Connect, database: str
) -> None:
    """The delete is not committed when the rows are changed: the key's check waits for it, and fails."""
    gone, left, _ = leads
    other = connect(database)
    other.execute("begin")
    other.execute("delete from user_devices where id = %s", (gone,))
    process = start("leads", "assign", "--distribute", "--yes", "--format", "json")
    waits = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    while not host.value(waits):
        time.sleep(0.02)
        assert process.poll() is None
    other.execute("commit")
    out, said = process.communicate(timeout=30)
    assert process.returncode == 3
    assert "2 rows kept: changed since the plan, or the device to be assigned was" in said
    summary = json.loads(out)["summary"]
    assert (summary["changed"], summary["kept"]) == (2, 2)
    assert set(host.rows("select device_id, count(*) from leads group by 1")) == {(left, 2), (None, 2)}
    # Again: they get the device that is left.
    again = start("leads", "assign", "--distribute", "--yes")
    assert again.wait(30) == 0
    assert host.rows("select distinct device_id from leads") == [(left,)]


def test_a_plan_whose_device_is_gone_is_stale(
    host: Host, seqdev: Cli, leads: tuple[UUID, UUID, dict[str, UUID]], tmp_path: Path
) -> None:
    plan = ("leads", "assign", "--distribute", "--plan", str(tmp_path / "plan"))
    assert seqdev(*plan, "--dry-run").code == 0
    host.rows("delete from user_devices where id = %s", leads[0])
    with only(host, {}):
        ran = seqdev(*plan, "--yes")
    assert (ran.code, ran.out) == (14, "")


def test_people_are_not_moved_to_a_device_that_is_gone(host: Host, seqdev: Cli, tmp_path: Path) -> None:
    """No foreign key watches over the device of a contact."""
    _, b, _, _ = setting(host)
    plan = ("repair", "device", "A", "--spread", "--plan", str(tmp_path / "plan"))
    assert seqdev(*plan, "--dry-run").code == 0
    host.rows("delete from user_devices where id = %s", b)
    with only(host, {}):
        assert seqdev(*plan, "--yes").code == 14
