"""A device that is deleted while a file is imported: its lines are rejected, whatever it was named by."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.world.command import Start
from tests.world.host import Connect, Host
from tests.world.waiting import until

pytestmark = pytest.mark.plain("no foreign key tells whoever writes leads that a device is gone")

WAITING = "select count(*) > 0 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"


@pytest.fixture
def devices(host: Host) -> tuple[UUID, UUID]:
    """Two devices of a user; a lead of the second one, and one of nobody's."""
    user = host.user()
    gone, left = host.device(user, "gone"), host.device(user, "left")
    host.lead(user, left, "12022000000", "OLD", "Old")
    host.lead(user, None, "12022000001", "OLD", "Old")
    return gone, left


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "leads.csv"
    made.write_text(
        "phone,name,device\n12022000000,New,gone\n12022000001,New,gone\n12022000002,New,gone\n12022000003,New,left\n"
    )
    return made


def deleted_meanwhile(
    host: Host, connect: Connect, start: Start, device: UUID, *argv: object
) -> tuple[int, Any, str]:
    """An import during which ``device`` is deleted: after the lines were judged, before the leads are written.

    The delete is not committed when the leads are written: the key's check waits for it, and fails.
    """
    with connect(host.url) as other, other.transaction():
        other.execute("delete from user_devices where id = %s", (device,))
        user = host.value("select id from users")
        process = start("leads", "import", *argv, "--user", user, "--format", "json")
        until(lambda: host.value(WAITING) or process.poll() is not None, "the import to write its leads")
    out, said = process.communicate(timeout=30)
    assert "Traceback" not in said
    return process.returncode, json.loads(out), said


def leads(host: Host) -> set[Any]:
    return {tuple(row) for row in host.rows("select phone, name, device_id from leads")}


def test_its_lines_are_rejected_and_the_others_imported(
    host: Host, connect: Connect, start: Start, devices: tuple[UUID, UUID], file: Path, tmp_path: Path
) -> None:
    gone, left = devices
    rejects = tmp_path / "rejects.csv"
    code, out, said = deleted_meanwhile(
        host, connect, start, gone, file, "--existing", "update", "--rejects", rejects
    )
    assert (code, out["import"]["imported"], out["import"]["updated"]) == (3, 1, 1), said
    assert out["import"]["reasons"] == {"unknown_device": 2}
    assert leads(host) == {
        # What has an owner already needs no device.
        ("12022000000", "New", left),
        ("12022000001", "Old", None),
        ("12022000003", "New", left),
    }
    assert [line.split(",")[:3] for line in rejects.read_text().splitlines()[1:]] == [
        ["3", "unknown_device", "12022000001"],
        ["4", "unknown_device", "12022000002"],
    ]


def test_without_a_file_for_the_rejected_nothing_is_imported(
    host: Host, connect: Connect, start: Start, devices: tuple[UUID, UUID], file: Path
) -> None:
    before = leads(host)
    code, out, said = deleted_meanwhile(host, connect, start, devices[0], file)
    assert (code, out["import"]["imported"], out["import"]["rejected"]) == (3, 0, 1), said
    assert out["rejected"] == [{"line": 4, "reason": "unknown_device", "of_line": None}]
    assert "nothing was imported" in said
    assert leads(host) == before


@pytest.mark.thorough
@pytest.mark.parametrize("options", [["--device", "gone"], ["--distribute"]])
def test_the_lines_that_get_it_by_an_option_are_rejected(
    host: Host,
    connect: Connect,
    start: Start,
    devices: tuple[UUID, UUID],
    file: Path,
    tmp_path: Path,
    options: list[str],
) -> None:
    numbers = [f"1202200001{number}" for number in range(4)]
    file.write_text("phone\n" + "\n".join(numbers))
    code, out, said = deleted_meanwhile(
        host, connect, start, devices[0], file, *options, "--rejects", tmp_path / "rejects.csv"
    )
    rejected = out["import"]["reasons"]["unknown_device"]
    assert (code, out["import"]["imported"] + rejected) == (3, 4), said
    assert rejected == 4 if "--device" in options else 0 < rejected < 4
    assert host.value("select count(*) from leads where device_id = %s", devices[0]) == 0
    # The rejected lines, with another device, are what is left of the file.
    again = start(
        *("leads", "import", tmp_path / "rejects.csv", "--device", "left", "--user"),
        host.value("select id from users"),
    )
    assert again.wait(30) == 0
    assert host.value("select count(*) from leads where phone = any(%s)", numbers) == 4
