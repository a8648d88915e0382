"""``seqdev config show``: what holds on this host, and where it comes from."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.world.command import Cli
from tests.world.host import Host


def settings(ran: Any) -> dict[str, dict[str, Any]]:
    return {f"{one['name']} {one['scope']}": one for one in json.loads(ran.out)}


def test_every_setting_has_its_value_and_its_origin(
    database: str, process: Cli, host: Host, tmp_path: Path
) -> None:
    file = tmp_path / "config.toml"
    file.write_text('lock_timeout = "2s"\nstatement_timeout = "1m"\n')
    file.chmod(0o600)
    device = host.device(host.user(), "alice")
    host.rule("policy", "strict")
    host.rule("max_per_day", "7", device=device)
    assert process("db", "zone", "Asia/Kuala_Lumpur").code == 0
    ran = process(
        *("--config", str(file), "--schema", "public", "config", "show", "--format", "json"),
        SEQDEV_STATEMENT_TIMEOUT="3m",
    )
    assert (ran.code, ran.err) == (0, "")
    found = settings(ran)
    assert found["schema host"]["origin"] == "option --schema"
    assert (found["lock_timeout host"]["value"], found["lock_timeout host"]["origin"]) == (
        *("2s", f"the configuration file {file}"),
    )
    assert (found["statement_timeout host"]["value"], found["statement_timeout host"]["origin"]) == (
        *("3m", "SEQDEV_STATEMENT_TIMEOUT"),
    )
    assert (found["timezone host"]["value"], found["timezone host"]["origin"]) == (
        *("Asia/Kuala_Lumpur", "the database"),
    )
    assert (found["policy all"]["value"], found["policy all"]["origin"]) == ("strict", "rule of the database")
    assert found["max_per_day device"]["scope_id"] == str(device)
    assert found["max_per_day all"]["origin"] == "default"
    changed = settings(process("config", "show", "--changed", "--format", "json"))
    assert {"policy all", "max_per_day device", "database_url host"} <= set(changed)
    assert "max_per_day all" not in changed


def test_secrets_are_never_shown(database: str, process: Cli) -> None:
    ran = process(
        *("config", "show"),
        SEQDEV_DATABASE_URL=f"{database} password=geheim sslpassword=geheim",
        SEQDEV_PASSWORD_COMMAND="echo geheim",
        PGPASSWORD="geheim",
    )
    assert (ran.code, "geheim" in ran.out + ran.err) == (0, False)
    assert "(hidden)" in ran.out
    ran = process("config", "show", SEQDEV_DATABASE_URL="postgresql://a:geh@eim@b/c")
    assert (ran.code, "eim" in ran.out + ran.err, "cannot be read" in ran.out) == (2, False, True)


@pytest.mark.thorough
def test_without_the_database_the_settings_of_the_host_are_shown(process: Cli) -> None:
    ran = process("config", "show", "--format", "json", SEQDEV_DATABASE_URL="postgresql://127.0.0.1:1/x")
    assert ran.code == 13
    found = settings(ran)
    assert found["database_url host"]["value"] == "dbname=x host=127.0.0.1 port=1"
    assert "policy all" not in found
    assert "the rules are not shown" in ran.err


def test_what_contradicts_the_database_is_said(database: str, process: Cli, host: Host) -> None:
    host.rule("policy", "strict")
    ran = process("config", "show", SEQDEV_POLICY="queue")
    assert ran.code == 0
    assert "policy is 'queue' in SEQDEV_POLICY: commands that decide by it refuse" in ran.err
