"""Completion at the prompt of real shells: what is offered, that nothing is run, and that it never gets in the way."""

import shutil
import socket
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from seqdev.commands.completion import kind_of
from tests.contract.reference import all_commands
from tests.world.command import Cli
from tests.world.host import Host
from tests.world.shells import COMMANDS, Prompt, prompt

pytestmark = pytest.mark.thorough

HOSTILE = (
    "a$(touch PWNED)",
    "b`touch PWNED`",
    "c;touch PWNED",
    "d 'e\"f\\g",
    "h:i=j@k",
    "l*?[m]{n,o}~",
    "p&q|r<s>t#u!v",
    "w\tx",
    "y\x1b[31m",
)
OFFERED = [name for name in HOSTILE if name.isprintable()]


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine takes its time; how long completion waits by itself has a test of its own."""
    monkeypatch.setenv("SEQDEV_COMPLETION_TIMEOUT", "60s")


@pytest.fixture
def named(host: Host) -> Host:
    user = host.user()
    for name in (*HOSTILE, "Upper-1", "two words"):
        host.device(user, name)
    host.sequence(user, "Welcome")
    return host


@pytest.fixture(params=COMMANDS)
def shell(request: pytest.FixtureRequest, tmp_path: Path, named: Host) -> Iterator[Prompt]:
    if not shutil.which(request.param):
        warnings.warn(
            f"NOT TESTED: completion in {request.param}, which is not on this machine", stacklevel=1
        )
        pytest.skip(f"no {request.param} on this machine")
    with prompt(request.param, tmp_path) as found:
        yield found


def offered(process: Cli, *words: str, shell: str = "zsh", **environment: str) -> list[str]:
    ran = process("completion", shell, "--words", stdin="".join(f"{word}\0" for word in words), **environment)
    assert (ran.code, ran.err) == (0, "")
    return [line.partition("\t")[0] for line in ran.out.splitlines()]


@pytest.mark.thorough
def test_real_shells_complete_commands_options_and_names(shell: Prompt, tmp_path: Path) -> None:
    assert shell.run("seqdev expl\t+60") == ["explain", "+60"]
    assert shell.run("seqdev audit mism\t--seq\twelc\t") == ["audit", "mismatches", "--sequence", "Welcome"]
    assert shell.run("seqdev audit devices --device=TWO\t--format cs\t") == [
        *("audit", "devices", "--device=two words", "--format", "csv")
    ]
    assert shell.run('seqdev audit devices --device "two w\t') == [
        "audit",
        "devices",
        "--device",
        "two words",
    ]
    (tmp_path / "people.csv").touch()
    assert shell.run("seqdev leads import peop\t") == ["leads", "import", "people.csv"]


@pytest.mark.thorough
@pytest.mark.cases(1)
def test_a_hostile_name_arrives_whole_and_runs_nothing(shell: Prompt, tmp_path: Path) -> None:
    for name in OFFERED:
        assert shell.run(f"seqdev audit devices --device {name[0]}\t") == [
            "audit",
            "devices",
            "--device",
            name,
        ]
    for name in ("w", "y"):
        assert shell.run(f"seqdev audit devices --device {name}\t") == ["audit", "devices", "--device", name]
    assert not (tmp_path / "PWNED").exists()


@pytest.mark.thorough
def test_names_that_several_devices_have_are_offered_by_their_ids(host: Host, process: Cli) -> None:
    ids = {str(host.device(host.user(), "twin")) for _ in range(2)}
    host.device(host.user(), "")
    host.device(host.user(), "single")
    found = offered(process, "seqdev", "audit", "devices", "--device", "")
    assert found[0] == "values"
    assert ids < set(found)
    assert "single" in found
    assert "twin" not in found
    assert len(found) == 5


def test_with_a_user_typed_only_their_devices_are_offered(host: Host, process: Cli) -> None:
    mine, theirs = host.user(), host.user()
    host.device(mine, "mine")
    host.device(theirs, "theirs")
    line = ("seqdev", "repair", "missing", "--user", str(mine)[:8], "--device", "")
    assert offered(process, *line) == ["values", "mine"]


def test_users_are_offered_by_name_and_never_by_email(host: Host, process: Cli) -> None:
    host.rows("alter table users add full_name text, add email text")
    alice, carol, *twins = (host.user() for _ in range(4))
    names = (("Alice Tan", alice), ("carol@example.com", carol), *(("Twin", twin) for twin in twins))
    for name, user in names:
        host.rows("update users set full_name = %s, email = 'e@example.com' where id = %s", name, user)
        host.device(user, f"of {name}")
    found = offered(process, "seqdev", "explain", "--user", "")
    assert found[0] == "values"
    assert set(found[1:]) == {"Alice Tan", str(carol), *map(str, twins)}
    assert offered(process, "seqdev", "explain", "--user", "ALI") == ["values", "Alice Tan"]
    for email in ("e@", "carol@"):
        assert offered(process, "seqdev", "explain", "--user", email) == ["values"]
    assert offered(process, "seqdev", "repair", "missing", "--user", "alice tan", "--device", "") == [
        *("values", "of Alice Tan")
    ]


@pytest.mark.thorough
def test_users_rules_and_runs_are_offered(host: Host, seqdev: Cli, process: Cli) -> None:
    user = str(host.user())
    assert offered(process, "seqdev", "explain", "--user", user[:3]) == ["values", user]
    assert offered(process, "seqdev", "rules", "get", "max_per_d") == ["values", "max_per_day"]
    seqdev("tick")
    seqdev("rules", "set", "policy", "strict", "--yes")
    runs = [str(row.id)[:8] for row in host.rows("select id from seqdev.run order by started_at desc")]
    assert offered(process, "seqdev", "runs", "") == ["values", *runs]
    # Of no use there: what has changed nothing.
    assert offered(process, "seqdev", "repair", "undo", "") == ["values", runs[0]]


def test_what_takes_a_file_is_left_to_the_shell(process: Cli) -> None:
    for line in (("leads", "import", ""), ("--config", ""), ("repair", "missing", "--plan", "")):
        assert offered(process, "seqdev", *line) == ["files"]
    assert offered(process, "seqdev", "explain", "60") == ["values"]


def test_the_database_of_the_command_line_is_asked(
    make_database: Callable[[str], str], template: str, process: Cli, named: Host
) -> None:
    other = make_database(template)
    line = ("seqdev", "--database-url", other, "audit", "devices", "--device", "U")
    assert offered(process, *line) == ["values"]
    line = ("seqdev", "--database-url", named.url, "audit", "devices", "--device", "U")
    assert offered(process, *line, SEQDEV_DATABASE_URL=other) == ["values", "Upper-1"]


@pytest.fixture
def silent_server() -> Iterator[str]:
    """The URL of something that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"postgresql://someone@127.0.0.1:{server.getsockname()[1]}/x"


DEVICE = ("seqdev", "audit", "devices", "--device", "")


def test_a_server_that_does_not_answer_is_not_waited_for(process: Cli, silent_server: str) -> None:
    environment = {"SEQDEV_DATABASE_URL": silent_server, "SEQDEV_COMPLETION_TIMEOUT": "300ms"}
    assert offered(process, *DEVICE, **environment) == ["values"]


def test_a_table_that_is_locked_is_not_waited_for(process: Cli, named: Host) -> None:
    with named.connection.transaction():
        named.rows("lock table user_devices")
        assert offered(process, *DEVICE) == ["values"]


@pytest.mark.parametrize(
    "environment",
    [
        {"SEQDEV_DATABASE_URL": "postgresql://127.0.0.1:1/x"},
        {"SEQDEV_DATABASE_URL": "postgresql://a:b@c@d/"},
        {"SEQDEV_CONFIG": "/nonexistent"},
        {"SEQDEV_LOCK_TIMEOUT": "soon"},
        {"SEQDEV_SCHEMA": "nowhere"},
    ],
    ids=str,
)
def test_where_the_database_cannot_be_asked_nothing_is_said(
    process: Cli, named: Host, environment: dict[str, str]
) -> None:
    assert offered(process, *DEVICE, **environment) in ([], ["values"])


def test_a_password_command_is_not_run(process: Cli, named: Host, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    assert offered(process, *DEVICE, SEQDEV_PASSWORD_COMMAND=f"touch {ran}") == ["values"]
    assert not ran.exists()


@pytest.mark.usefixtures("named")
@pytest.mark.parametrize(
    "words",
    [
        [],
        ["seqdev"],
        ["seqdev", "nothing", ""],
        ["seqdev", "--version", ""],
        ["seqdev", "audit", ""],
    ],
    ids=repr,
)
def test_whatever_stands_on_the_line_it_neither_fails_nor_says_anything_else(
    process: Cli, words: list[str]
) -> None:
    for shell in COMMANDS:
        found = offered(process, *words, shell=shell)
        assert found[:1] in ([], ["values"])


def test_without_a_database_named_no_server_is_started(
    process: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEQDEV_HOME", str(tmp_path / "home"))
    assert offered(process, *DEVICE) == ["values"]
    assert not (tmp_path / "home").exists()


def test_every_parameter_that_is_a_name_of_the_database_is_completed() -> None:
    named = {"NAME|ID", "ID", "DEVICE", "NEW", "OLD", "RUN", "[RUN]"}
    found = {
        (path, parameter.name): kind_of(parameter)
        for path, command, _ in all_commands()
        for parameter in command.params
        if getattr(parameter, "metavar", None) in named
    }
    assert len(found) > 80
    assert not [where for where, kind in found.items() if kind is None]
    assert found["seqdev repair device", "to"] == found["seqdev repair device", "old"] == "devices"
    assert (
        kind_of(next(p for path, c, _ in all_commands() for p in c.params if path == "seqdev db grants"))
        is None
    )
