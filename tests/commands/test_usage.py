"""What wrong usage is answered with: the help of a bare group, the command meant, where to read on."""

import pytest

from tests.world.command import Cli
from tests.world.host import Host

GROUPS = {
    "": (
        *("enroll", "tick", "audit", "explain", "repair", "contacts", "block", "leads", "runs"),
        *("journal", "rules"),
        *("forecast", "stats", "metrics", "top", "report", "pause", "resume", "db", "demo"),
    ),
    "rules": ("list", "get", "set", "unset", "adopt", "history"),
    "audit": (
        "mismatches",
        "devices",
        "contacts",
        "sequences",
        "leads",
        "collisions",
        "writers",
        "failed",
        "replies",
        "all",
        "run",
    ),
    "repair": (
        *("assigned", "missing", "device", "home", "undo", "list", "show", "stuck", "quarantined"),
        *("stranded", "step-gone", "no-lead", "delay-changed", "written-by-other"),
        *("failed", "queued"),
    ),
    "leads": ("import", "assign"),
    "db": ("check", "zone", "places", "init", "grants", "upgrade", "up", "down", "status", "psql"),
}


@pytest.mark.cases(2)
@pytest.mark.parametrize("group", GROUPS)
def test_a_bare_group_shows_its_help_on_stderr_and_is_exit_2(group: str, process: Cli) -> None:
    ran = process(*group.split())
    assert (ran.code, ran.out) == (2, "")
    lines = ran.err.splitlines()
    assert lines[0] == f"Usage: {' '.join(['seqdev', *group.split()])} [OPTIONS] COMMAND [ARGS]..."
    commands = lines[lines.index("Commands:") + 1 :]
    named = [line.split()[0] for line in commands if line.startswith("  ") and line[2] != " "]
    assert tuple(named)[: len(GROUPS[group])] == GROUPS[group]
    assert "\\n" not in ran.err
    asked = process(*group.split(), "--help", COLUMNS="80")
    assert (asked.code, asked.out, asked.err) == (0, ran.err, "")
    # No sentence of the list is broken.
    assert "..." not in asked.out.split("Commands:\n")[1]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("tikc", "'tick'"),
        ("enrol", "'enroll'"),
        ("explian", "'explain'"),
        ("repair strandd", "'stranded'"),
        ("audit mismatch", "'mismatches'"),
        ("db upgade", "'upgrade'"),
        ("undo", "'repair undo'"),
        ("stop", "'contacts stop'"),
        ("mismatches", "'audit mismatches'"),
    ],
)
def test_a_mistyped_command_is_answered_with_the_one_meant(typed: str, meant: str, seqdev: Cli) -> None:
    *group, command = typed.split()
    ran = seqdev(*typed.split())
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        f"seqdev: No such command '{command}'. Did you mean {meant}?\n"
        f"seqdev: see {' '.join(['seqdev', *group])} --help\n"
    )


@pytest.mark.parametrize("typed", ["xyzzy", "repair xyzzy", "repair set-aside"])
def test_a_command_like_no_other_is_answered_with_no_guess(typed: str, seqdev: Cli) -> None:
    *group, command = typed.split()
    ran = seqdev(*typed.split())
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        f"seqdev: No such command '{command}'.\nseqdev: see {' '.join(['seqdev', *group])} --help\n"
    )


@pytest.mark.parametrize(
    ("typed", "command"),
    [
        ("--nonsense", "seqdev"),
        ("--mask", "seqdev"),
        ("tick --policy hope", "seqdev tick"),
        ("explain", "seqdev explain"),
        ("runs --every soon", "seqdev runs"),
        ("repair assigned --nonsense", "seqdev repair assigned"),
        ("db grants", "seqdev db grants"),
        ("audit all --tick soon", "seqdev audit all"),
    ],
)
def test_an_error_names_the_help_of_the_command_that_was_typed(typed: str, command: str, seqdev: Cli) -> None:
    ran = seqdev(*typed.split())
    assert (ran.code, ran.out) == (2, "")
    what, hint = ran.err.splitlines()
    assert "\\n" not in what
    assert hint == f"seqdev: see {command} --help"


@pytest.mark.thorough
def test_a_table_without_rows_is_not_printed(host: Host, seqdev: Cli) -> None:
    for output in ("table", "markdown"):
        ran = seqdev("db", "check", "--format", output)
        assert (ran.code, ran.out) == (0, "")
        assert ran.err.endswith("in order; --ok shows them\n")
        ran = seqdev("runs", "--format", output)
        assert (ran.code, ran.out, ran.err) == (0, "", "seqdev: no run is in the journal\n")
        ran = seqdev("repair", "list", "--format", output)
        assert (ran.code, ran.out, ran.err) == (0, "", "seqdev: no run has changed rows\n")
    assert seqdev("db", "check", "--format", "json").out == "[]\n"
    assert seqdev("db", "check", "--format", "csv").out == "item,status,why,remedy,mode\n"
    assert seqdev("runs", "--command", "tick").err == "seqdev: no such run is in the journal\n"


def test_a_topic_is_found_whatever_its_case(seqdev: Cli) -> None:
    assert seqdev("help", "Exit-Codes").out == seqdev("help", "exit-codes").out != ""
