"""The contract with the shell: exit codes, stdout and stderr, errors in our own words, configuration."""

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from seqdev import __version__, cli
from tests.world.command import ROOT, Cli, command
from tests.world.host import Host

SECRET = "s3cr3t@pass"


def test_version(seqdev: Cli) -> None:
    ran = seqdev("--version")
    assert (ran.code, ran.out, ran.err) == (0, f"seqdev {__version__}\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["tick", "--nonsense"],
        ["tick", "--policy", "hope"],
        ["tick", "--budget", "soon"],
        ["tick", "--batch-size", "0"],
        ["tick", "--format", "xml"],
        ["enroll", "--max", "0"],
        ["--config", "/nonexistent.toml", "tick"],
    ],
)
def test_wrong_usage_is_exit_2_with_nothing_on_stdout(seqdev: Cli, arguments: list[str]) -> None:
    ran = seqdev(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert 1 <= len(ran.err.splitlines()) <= 2
    assert ran.err.startswith("seqdev: ")


@pytest.mark.thorough
def test_a_server_that_is_not_there_is_exit_13(seqdev: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    password = SECRET.replace("@", "%40")
    monkeypatch.setenv("SEQDEV_DATABASE_URL", f"postgresql://u:{password}@127.0.0.1:{port}/d")
    ran = seqdev("tick", "--dry-run")
    assert (ran.code, ran.out) == (13, "")
    assert "cannot be reached" in ran.err
    assert "cr3t" not in ran.err


def test_an_unknown_database_or_role_is_exit_12(server: str, seqdev: Cli) -> None:
    for url in (
        f"{server} dbname=nowhere",
        server.replace("user=postgres", "user=nobody_here") + " dbname=postgres",
    ):
        ran = seqdev("--database-url", url, "tick")
        assert (ran.code, ran.out) == (12, "")


def test_a_url_with_an_unescaped_at_sign_never_shows_the_password(seqdev: Cli) -> None:
    for url in (
        f"postgresql://u:{SECRET}@127.0.0.1:1/d",
        f"postgresql://u:{SECRET}@[::1/d",
        f"host=x {SECRET}",
    ):
        ran = seqdev("--database-url", url, "tick", "--dry-run")
        assert ran.code in (2, 12, 13)
        assert "cr3t" not in ran.err + ran.out
        assert "pass" not in (ran.err + ran.out).replace("password", "")


def test_a_role_without_privileges_is_exit_12_and_nothing_is_half_written(
    host: Host, database: str, seqdev: Cli
) -> None:
    host.rows("drop role if exists seqdev_reader")
    host.rows("create role seqdev_reader login")
    host.rows("grant usage on schema public, seqdev to seqdev_reader")
    host.rows("grant select on all tables in schema public, seqdev to seqdev_reader")
    reader = database.replace("user=postgres", "user=seqdev_reader")
    ran = seqdev("--database-url", reader, "tick")
    assert (ran.code, ran.out) == (12, "")
    assert seqdev("--database-url", reader, "tick", "--dry-run").code == 0
    assert host.value("select count(*) from seqdev.run") == 0
    host.rows("drop owned by seqdev_reader")
    host.rows("drop role seqdev_reader")


def test_a_read_only_database_is_exit_10_and_dry_runs_work(host: Host, seqdev: Cli) -> None:
    name = host.value("select current_database()")
    host.rows(f"alter role postgres in database {name} set default_transaction_read_only = on")
    # A transaction says for itself whether it writes, so that a default alone stops nothing.
    assert seqdev("tick").code == 0
    assert seqdev("tick", "--dry-run").code == 0


def test_a_table_that_vanishes_is_exit_10(host: Host, seqdev: Cli) -> None:
    host.rows("drop table sequence_steps cascade")
    for arguments in (["tick"], ["tick", "--dry-run"], ["enroll", "--dry-run"]):
        ran = seqdev(*arguments)
        assert (ran.code, ran.out) == (10, "")
        assert "seqdev db" in ran.err


def test_an_error_of_the_hosts_trigger_sets_the_contact_aside_and_shows_no_phone(
    host: Host, seqdev: Cli
) -> None:
    user = host.user()
    sequence, (step,) = host.simple_sequence(user)
    host.contact(sequence, step, "6012345678", host.device(user))
    host.rows(
        "create function refuse() returns trigger language plpgsql as"
        " $$ begin raise exception 'no message for %', new.recipient_phone; end $$"
    )
    host.rows(
        "create trigger refuse before insert on broadcast_messages for each row execute function refuse()"
    )
    ran = seqdev("tick")
    assert ran.code == 3
    assert "6012345678" not in ran.out + ran.err
    assert "Traceback" not in ran.err
    assert host.rows("select status from sequence_contacts") == [("set_aside",)]


def test_no_traceback_without_debug_and_no_locals_with_it(
    seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        password = SECRET
        raise RuntimeError(len(password))

    monkeypatch.setattr("seqdev.settings.load", fail)
    ran = seqdev("tick")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.splitlines()[0] == "seqdev: unexpected error: RuntimeError"
    ran = seqdev("--debug", "tick")
    assert "Traceback" in ran.err
    assert SECRET not in ran.err.replace(f"password = {SECRET}", "")


def test_debug_shows_where_the_server_refused_a_statement_and_no_value_of_it(host: Host, seqdev: Cli) -> None:
    user = host.user()
    sequence, (step,) = host.simple_sequence(user)
    host.contact(sequence, step, "6012345678", host.device(user))
    host.rows(
        "create function fail() returns trigger language plpgsql as $$ begin"
        " raise 'no % today', new.recipient_phone using errcode = 'XX001', detail = new.content; end $$"
    )
    host.rows("create trigger fail before insert on broadcast_messages for each row execute function fail()")
    ran = seqdev("--debug", "tick")
    assert (ran.code, ran.out) == (1, "")
    assert "Traceback" in ran.err
    assert "DataCorrupted: SQLSTATE XX001, raised by function fail" in ran.err
    assert "6012345678" not in ran.err
    assert host.value("select content from sequence_steps") not in ran.err


@pytest.mark.thorough
def test_a_reader_that_goes_away_harms_nothing(host: Host) -> None:
    user = host.user()
    sequence, (step,) = host.simple_sequence(user)
    host.contact(sequence, step, "6012345678", host.device(user))
    ran = subprocess.run(
        ["bash", "-c", 'set -o pipefail; "$@" | true; echo "${PIPESTATUS[0]}"', "-", *command("tick")],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert ran.stdout.strip() in ("0", "141")
    assert "Traceback" not in ran.stderr
    assert host.value("select count(*) from broadcast_messages") == 1


@pytest.mark.thorough
def test_a_full_disk_behind_stdout_is_an_error_after_the_work(host: Host) -> None:
    user = host.user()
    sequence, (step,) = host.simple_sequence(user)
    host.contact(sequence, step, "6012345678", host.device(user))
    with open("/dev/full", "w") as full:
        ran = subprocess.run(
            command("tick"), stdout=full, stderr=subprocess.PIPE, text=True, check=False, cwd=ROOT
        )
    assert ran.returncode == 1
    assert "Traceback" not in ran.stderr
    assert "stdout" in ran.stderr
    assert host.value("select count(*) from broadcast_messages") == 1


def test_flags_win_over_the_environment_and_that_over_the_file(
    host: Host, seqdev: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "seqdev.toml"
    file.write_text('schema = "elsewhere"\n')
    monkeypatch.setenv("SEQDEV_CONFIG", str(file))
    assert seqdev("tick").code == 10
    monkeypatch.setenv("SEQDEV_SCHEMA", "public")
    assert seqdev("tick").code == 0
    assert seqdev("--schema", "elsewhere", "tick").code == 10


@pytest.mark.parametrize(
    "text", ["unknown = 1", "mask = 3", "max_in_flight = -1", "max_in_flight = 'x'", "not toml"]
)
def test_a_wrong_configuration_file_is_exit_2(seqdev: Cli, tmp_path: Path, text: str) -> None:
    file = tmp_path / "seqdev.toml"
    file.write_text(text)
    ran = seqdev("--config", str(file), "tick")
    assert (ran.code, ran.out) == (2, "")


@pytest.mark.parametrize("place", ["file", "folder", "folder above", "link's folder"])
@pytest.mark.parametrize("mode", [0o020, 0o002])
def test_a_configuration_file_that_others_can_write_or_replace_is_refused(
    seqdev: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, mode: int
) -> None:
    monkeypatch.setenv("SEQDEV_DATABASE_URL", "host=127.0.0.1 port=1")
    file = tmp_path / "above" / "seqdev" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text('policy = "hope"\n')
    link = tmp_path / "links" / "config.toml"
    link.parent.mkdir()
    link.symlink_to(file)
    named = link if place == "link's folder" else file
    open_to_all = {"file": file, "folder": file.parent, "folder above": file.parents[1]}.get(
        place, link.parent
    )
    before = open_to_all.stat().st_mode
    open_to_all.chmod(before & 0o777 | mode)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "above"))
    ways = [["--config", str(named)]] + ([[]] if named is file else [])
    for arguments in ways:
        ran = seqdev(*arguments, "tick")
        assert (ran.code, ran.out) == (2, "")
        assert f"file {named} is not safe: others can write {open_to_all} (mode 0" in ran.err
        assert f"chmod go-w {open_to_all}" in ran.err
    open_to_all.chmod(before & 0o777)
    for arguments in ways:
        assert "setting policy cannot be 'hope'" in seqdev(*arguments, "tick").err


def test_a_configuration_file_in_a_sticky_folder_is_read(seqdev: Cli, tmp_path: Path) -> None:
    file = tmp_path / "folder" / "config.toml"
    file.parent.mkdir()
    file.write_text('policy = "hope"\n')
    file.parent.chmod(0o1777)
    assert "setting policy cannot be 'hope'" in seqdev("--config", str(file), "tick").err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("place", ["file", "folder"])
def test_a_configuration_file_of_another_user_is_refused(seqdev: Cli, tmp_path: Path, place: str) -> None:
    file = tmp_path / "folder" / "config.toml"
    file.parent.mkdir()
    file.write_text('policy = "hope"\n')
    theirs = file if place == "file" else file.parent
    os.chown(theirs, 4711, 4711)
    ran = seqdev("--config", str(file), "tick")
    assert (ran.code, ran.out) == (2, "")
    assert f"{theirs} belongs to another user (uid 4711" in ran.err


@pytest.mark.thorough
def test_the_configuration_can_come_from_a_pipe() -> None:
    ran = subprocess.run(
        ["bash", "-c", '"$@" --config <(echo "policy = \'hope\'") tick', "-", *command()],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "setting policy cannot be 'hope'" in ran.stderr


def test_libpq_variables_name_the_database_and_nothing_is_said(
    host: Host, database: str, seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SEQDEV_DATABASE_URL")
    for part in database.split():
        name, value = part.split("=")
        monkeypatch.setenv(
            {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE"}[name], value
        )
    ran = seqdev("tick", "--dry-run")
    assert (ran.code, ran.err) == (0, "")


@pytest.mark.plain("no embedded server runs beside it")
def test_without_any_database_named_it_says_that_it_works_on_the_embedded_one(
    host: Host, seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SEQDEV_DATABASE_URL")
    for arguments in (["tick"], ["enroll", "--dry-run"], ["db", "check"]):
        ran = seqdev(*arguments)
        assert ran.code == 10
        assert ran.err.startswith(
            f"seqdev: no database named: working on the embedded server in {os.environ['SEQDEV_HOME']}"
        )


def commands(command_: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(command_, typer.core.TyperGroup):
        context = command_.context_class(command_)
        for name in command_.list_commands(context):
            yield from commands(command_.get_command(context, name), *path, name)
    else:
        yield path, command_


COMMANDS = dict(commands(typer.main.get_command(cli.app)))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_says_what_it_does_and_every_option_is_explained(
    path: tuple[str, ...], seqdev: Cli
) -> None:
    ran = seqdev(*path, "--help")
    assert (ran.code, ran.err) == (0, "")
    assert COMMANDS[path].help
    for parameter in COMMANDS[path].params:
        assert getattr(parameter, "help", ""), parameter.name
