"""Which devices an import gives leads to."""

from pathlib import Path

from tests.world.command import Cli
from tests.world.host import Host


def test_devices_that_do_not_come_back_get_no_leads(host: Host, seqdev: Cli, tmp_path: Path) -> None:
    host.rule("gone_statuses", "retired,both")
    host.rule("online_statuses", "online,both")
    user = host.user()
    statuses = ("retired", "banned", "both", "offline", "online")
    devices = {status: host.device(user, status, status) for status in statuses}
    devices["platform"] = host.device(user, "platform", "retired")
    host.rows("update user_devices set platform = 'x' where device_name = 'platform'")
    file = tmp_path / "leads.csv"
    file.write_text("phone\n" + "".join(f"+1 202-555-01{n:02}\n" for n in range(20)))
    ran = seqdev("leads", "import", str(file), "--user", str(user), "--distribute")
    assert (ran.code, ran.err) == (0, "seqdev: device left out, its status is retired: retired\n")
    counts = dict(host.rows("select device_id, count(*) from leads group by 1"))
    del devices["retired"]
    assert counts == dict.fromkeys(devices.values(), 4)
