"""What is asked for by name and is not there is named by every command, and is never a success."""

import pytest
from typer.main import get_command

from seqdev.cli import app
from tests.world.command import Cli
from tests.world.host import Host
from tests.world.repairs import only


def commands_with(option: str) -> list[list[str]]:
    """All commands that have the option."""
    root = get_command(app)
    found = []
    for name in root.list_commands(None):  # type: ignore[attr-defined]
        group = root.get_command(None, name)  # type: ignore[attr-defined]
        commands = {(name, one): command for one, command in getattr(group, "commands", {}).items()}
        for words, command in {(name,): group, **commands}.items():
            if any(option in parameter.opts for parameter in command.params):
                found.append(list(words))
    return found


@pytest.mark.thorough
def test_a_sequence_that_is_not_there_is_named(host: Host, seqdev: Cli) -> None:
    sequence, (step,) = host.simple_sequence(user := host.user())
    host.contact(sequence, step, "60123456789", host.device(user))
    commands = commands_with("--sequence")
    assert ["enroll"] in commands
    assert len(commands) > 10
    with only(host, {}):
        for words in commands:
            more = ["--yes"] if words[0] in ("enroll", "repair") else []
            more += ["60123456789", "--yes"] if words[0] == "contacts" else []
            more += (
                ["--why", "asked"]
                if words in (["contacts", "stop"], ["contacts", "restart"], ["pause"])
                else []
            )
            more += ["--cancel"] if words == ["repair", "queued"] else []
            rules = {"get": ["policy"], "set": ["policy", "strict"], "unset": ["policy"]}
            more += rules.get(words[-1], []) if words[0] == "rules" else []
            ran = seqdev(*words, *more, "--sequence", "wram")
            assert ran.code == (3 if words == ["enroll"] else 2), words
            assert "wram" in ran.err + ran.out, (words, ran.err)
