"""Devices and sequences whose name is NULL, as hosts allow it, are there: no screen says that they are gone."""

import json
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from tests.world.command import Cli
from tests.world.host import Host
from tests.world.repairs import message


class Nameless:
    """Of one user, with messages from another device, some of them failed, and people who wait for the next step."""

    def __init__(self, host: Host) -> None:
        host.rows("alter table user_devices alter device_name drop not null")
        host.rows("alter table sequences alter name drop not null")
        self.user = host.user()
        self.a, self.b = host.device(self.user, "A", "offline"), host.device(self.user, "B")
        self.sequence, self.steps = host.simple_sequence(self.user, steps=2)
        host.rows("update sequence_steps set content = 'x', media_url = '', message_type = 'text'")
        for number in range(4):
            phone = f"6012345678{number}"
            host.lead(self.user, self.a, phone, "WARM")
            done = host.contact(self.sequence, self.steps[0], phone, self.a, lead=False, status="completed")
            host.rows("update sequence_contacts set completed_at = next_trigger_time where id = %s", done)
            host.contact(self.sequence, self.steps[1], phone, self.a, timedelta(minutes=-20), lead=False)
            message(host, done, self.b, own=number < 2)
        host.rows(
            "update broadcast_messages set status = 'failed', error_message = 'device offline', content = 'x',"
            " media_url = '', recipient_name = '' where recipient_phone = '60123456781'"
        )
        host.rows("update user_devices set device_name = null")
        host.rows("update sequences set name = null")


@pytest.fixture
def nameless(host: Host) -> Nameless:
    return Nameless(host)


AUDITS = ("mismatches", "devices", "contacts", "writers", "collisions", "failed", "sequences", "leads")
PLANS = (
    "repair assigned --cause fallback_used --cause foreign_writer",
    "repair failed",
    "repair device A --spread",
)
SCREENS = (
    *(f"audit {name}" for name in AUDITS),
    *(f"audit {name} --at 1s" for name in ("mismatches", "contacts", "writers", "collisions", "failed")),
    *("audit devices --if-lost A", "explain 60123456781", "explain 60123456781 --at 1s", "top --once"),
    *("stats --by device", "stats --by sequence", "tick --dry-run", "forecast"),
    *(f"{plan} --dry-run" for plan in PLANS),
)


def typed(command: str, nameless: Nameless) -> list[str]:
    named: dict[str, UUID] = {"A": nameless.a, "S": nameless.sequence}
    return [str(named.get(word, word)) for word in command.split()]


@pytest.mark.cases(6)
@pytest.mark.parametrize("command", SCREENS)
def test_nothing_without_a_name_is_said_to_be_gone(
    host: Host, seqdev: Cli, nameless: Nameless, command: str
) -> None:
    ran = seqdev(*typed(command, nameless))
    assert ran.code in (0, 3), ran.err
    assert "gone)" not in ran.out + ran.err
    assert "sequence gone" not in ran.out + ran.err


def test_what_is_gone_is_still_said_to_be(host: Host, seqdev: Cli, nameless: Nameless) -> None:
    host.rows("alter table broadcast_messages drop constraint if exists broadcast_messages_device_id_fkey")
    host.rows("delete from user_devices where id = %s", nameless.b)
    found = json.loads(seqdev("audit", "mismatches", "--format", "json").out)["mismatches"]
    assert {(row["assigned_device"], row["used_device"], row["sequence"]) for row in found} == {
        ("", None, "")
    }
    shown = seqdev("audit", "mismatches").out
    assert "(gone)" in shown
    assert "(no name)" in shown


def test_the_report_calls_them_nameless(host: Host, seqdev: Cli, nameless: Nameless, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    assert seqdev("report", "--output", str(page)).code == 0
    assert "(gone)" not in page.read_text()
    assert "(no name)" in page.read_text()
