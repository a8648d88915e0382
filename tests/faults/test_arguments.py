"""SQL metacharacters, control characters and nonsense in every option and argument of every command."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from seqdev import cli
from seqdev.errors import Exit
from tests.faults.record import Held, fault
from tests.faults.world import World
from tests.world.hostile import CONTROL

HOSTILE = [
    "'; drop table leads; --",
    "%s %(x)s %",
    "\\",
    ":'x'",
    "$1",
    "\x1b[31m\x07\u202e",
    "\udcff",
    "",
    "--",
    "a" * 5000,
    "99999999999999999999",
    "{}",
]
"""Values for everything that takes one. NUL cannot be in an argument."""

TYPED = {"since": "1d", "max": "3", "limit": "3"}

NOT_RUN = {
    "seqdev demo",
    "seqdev db up",
    "seqdev db down",
    "seqdev db init",
    "seqdev db psql",
    "seqdev db upgrade",
}
"""They work on the embedded server, on an empty database, or hand over to psql."""


def commands(command: Any, context: Any, path: list[str]) -> Iterator[tuple[list[str], Any]]:
    """Every command that does something, by its path."""
    if hasattr(command, "list_commands"):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            yield from commands(below, type(context)(below, info_name=name, parent=context), [*path, name])
    else:
        yield path, command


ROOT: Any = typer.main.get_command(cli.app)
LEAVES = list(commands(ROOT, ROOT.context_class(ROOT, info_name="seqdev"), []))


def settable(command: Any) -> list[Any]:
    """The parameters that take a value."""
    return [p for p in command.params if not getattr(p, "is_flag", False) and p.name != "help"]


def lines(command: Any) -> Iterator[list[str]]:
    """Argument lists: each parameter in turn has each hostile value, the arguments it needs beside it."""
    for parameter in settable(command):
        for value in HOSTILE:
            given = []
            for other in command.params:
                if other is parameter:
                    given += [value] if other.param_type_name == "argument" else [other.opts[-1], value]
                elif other.required:
                    filled = TYPED.get(other.name, "device 11")
                    given += [filled] if other.param_type_name == "argument" else [other.opts[-1], filled]
            yield given


def tables(world: World) -> dict[str, str]:
    """A digest of every table of the host's."""
    names = (
        "users",
        "user_devices",
        "leads",
        "sequences",
        "sequence_steps",
        "sequence_contacts",
        "broadcast_messages",
    )
    return {
        name: world.host.value(f"select md5(string_agg(t::text, '|' order by t::text)) from {name} t") for name in names
    }  # fmt: skip


def in_contract(ran: Any, argv: list[str]) -> None:
    """A code of the contract, few lines, no traceback, nothing that moves the cursor."""
    assert ran.code in {int(code) for code in Exit} - {1}, (argv, ran)
    assert "Traceback" not in ran.err, argv
    assert not CONTROL & set(ran.err), (argv, ran.err)
    if ran.code != 3:
        assert len(ran.err.splitlines()) <= 6, (argv, ran.err)


@fault("SQL metacharacters in every option and argument of every command", command=[
    " ".join(path) for path, _ in LEAVES if f"seqdev {' '.join(path)}" not in NOT_RUN
])  # fmt: skip
def test_whatever_stands_in_an_option_is_data(
    world: World, held: Held, command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    leaf = next(leaf for path, leaf in LEAVES if " ".join(path) == command)
    writes = any("--yes" in parameter.opts for parameter in leaf.params)
    before = tables(world)
    for line in lines(leaf):
        # Nothing is confirmed, and a tick sends nobody anything: what is asked for is shown.
        quiet = ["--dry-run"] if writes or command == "tick" else []
        if "--plan" in line:
            quiet = []
        argv = [*command.split(), *line, *quiet]
        ran = world.run(*argv, shows=True, SEQDEV_LOCK_TIMEOUT="1s")
        in_contract(ran, argv)
        held.tries += 1
    assert tables(world) == before


@fault("SQL metacharacters in every global option and setting")
def test_whatever_stands_in_a_setting_is_data(world: World, held: Held) -> None:
    before = tables(world)
    for value in HOSTILE:
        for option in ("--schema", "--timezone", "--config"):
            argv = [option, value, "tick", "--dry-run"]
            in_contract(world.run(*argv, shows=True), argv)
            held.tries += 1
        if "\udcff" in value:
            continue
        for variable in ("SEQDEV_SCHEMA", "SEQDEV_TIMEZONE", "SEQDEV_POLICY", "SEQDEV_ACTIVE_STATUSES", "SEQDEV_ONLINE_STATUSES",
                         "SEQDEV_MAX_PER_HOUR", "SEQDEV_CLAIM_TIMEOUT", "SEQDEV_LOCK_TIMEOUT"):  # fmt: skip
            in_contract(world.run("tick", "--dry-run", shows=True, **{variable: value}), [variable, value])
            held.tries += 1
    assert tables(world) == before


def test_every_command_is_walked_through() -> None:
    """The walk finds the commands by itself: those the reference names."""
    from tests.contract.pages import REFERENCE

    named = set(re.findall(r"^## (seqdev .+)$", REFERENCE.read_text(), re.M))
    walked = {f"seqdev {' '.join(path)}" for path, _ in LEAVES}
    groups = {name for name in named if any(other.startswith(name + " ") for other in named)}
    assert named - groups == walked
