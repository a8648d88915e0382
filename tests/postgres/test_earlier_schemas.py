"""Schema seqdev as each earlier version made it: readers work, who writes refuses, and the upgrade keeps every row."""

import json
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import typer

from seqdev import cli
from tests.world import earlier
from tests.world.command import Cli
from tests.world.host import Host
from tests.world.reading import READS

pytestmark = pytest.mark.thorough

WRITES = [
    "tick",
    "enroll --yes",
    "leads import FILE --user USER --device A",
    "leads assign --distribute --yes",
    "leads merge --yes",
    "contacts stop 60120000001 --why x --yes",
    "contacts resume 60120000001 --why x --yes",
    "contacts skip 60120000001 --sequence warm --why x --yes",
    "contacts restart 60120000001 --sequence warm --why x --yes",
    "block add 60120000001 --why x --yes",
    "block remove 60120000001 --why x --yes",
    "rules set max_per_hour 5 --why x --yes",
    "rules unset max_per_hour --why x --yes",
    "rules adopt --why x --yes",
    "pause --sequence warm --why x",
    "journal prune --keep 1d --yes",
    "db zone UTC",
    f"repair undo {earlier.MOVED} --yes",
    "repair undo last --yes",
    "repair device B --to A --yes",
    "repair device B --to A --plan PLAN --yes",
    *(
        f"repair {name} --yes"
        for name in (
            *("assigned", "missing", "home", "stuck", "quarantined", "stranded", "step-gone", "no-lead"),
            *("delay-changed", "written-by-other", "failed", "queued --cancel --device B"),
        )
    ),
]

ONLY_SLOWER = "undos not indexed"
"""The shape that lacks indexes only: who writes works there."""

SHAPE = """
select 'column', table_name, column_name, concat_ws(' ', data_type, is_nullable, is_identity, column_default)
from information_schema.columns where table_schema = 'seqdev'
union all
select 'index', tablename, indexname, indexdef from pg_indexes where schemaname = 'seqdev'
union all
select 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid)
from pg_constraint where connamespace = 'seqdev'::regnamespace and contype <> 'n'
order by 1, 2, 3
"""
"""All that schema seqdev is, whatever the order of its columns."""


def kept(host: Host, schemas: tuple[str, ...]) -> dict[str, list[Any]]:
    """Every row of every table in ``schemas``, without what is null."""
    tables = host.rows(
        "select format('%%I.%%I', schemaname, tablename) from pg_tables where schemaname = any(%s)",
        list(schemas),
    )
    return {
        table: host.rows(
            f"select jsonb_strip_nulls(to_jsonb(t)) from {table} as t order by to_jsonb(t) ->> 'id', to_jsonb(t)::text"
        )
        for (table,) in tables
    }


@pytest.fixture(params=earlier.SHAPES)
def shape(request: pytest.FixtureRequest, host: Host) -> str:
    """A database of that shape: a person whom a run has moved to device B, and one whom an undo has brought back."""
    user = host.user()
    host.rows("insert into user_devices (id, user_id, device_name, status) values"
              " (%s, %s, 'A', 'online'), (%s, %s, 'B', 'online')", earlier.A, user, earlier.B, user)  # fmt: skip
    sequence, (step,) = host.simple_sequence(user)
    for id_, phone, device in (
        (earlier.CONTACT, "60120000001", earlier.B),
        (earlier.CONTACT2, "60120000002", earlier.A),
    ):
        host.contact(sequence, step, phone, UUID(device), id=UUID(id_))
    host.lead(user, UUID(earlier.A), earlier.BLOCKED, "WARM")
    host.rows("drop schema seqdev cascade")
    host.rows(earlier.SHAPES[request.param])
    return str(request.param)


@pytest.mark.thorough
@pytest.mark.cases(1)
def test_readers_work_and_writers_change_nothing(shape: str, host: Host, seqdev: Cli, tmp_path: Path) -> None:
    before = kept(host, ("public", "seqdev"))
    lacks = shape != ONLY_SLOWER
    for command in READS:
        ran = seqdev(*shlex.split(command))
        assert ran.code in (0, 3), (command, ran)
        assert ran.err.count("to bring it up to date: seqdev db upgrade") == lacks, (command, ran.err)
    told(seqdev, before)
    plan, file = tmp_path / "plan", tmp_path / "leads.csv"
    assert seqdev("repair", "device", "B", "--to", "A", "--dry-run", "--plan", plan).code == 0
    file.write_text("phone\n60123459999\n")
    words = {"FILE": str(file), "PLAN": str(plan), "USER": str(host.value("select id from users"))}
    writes = [command for command in WRITES if "seqdev.change" in before or "undo" not in command]
    for command in writes if lacks else []:
        ran = seqdev(*(words.get(word, word) for word in shlex.split(command)))
        assert (ran.code, ran.out, "seqdev db upgrade" in ran.err) == (10, "", True), (command, ran)
        assert len(ran.err.splitlines()) <= 4, (command, ran.err)
    assert kept(host, ("public", "seqdev")) == before


@pytest.mark.cases(3)
def test_the_upgrade_brings_todays_shape_and_keeps_what_was_there(
    shape: str, host: Host, seqdev: Cli, template: str, make_database: Callable[[str], str]
) -> None:
    before = kept(host, ("public", "seqdev"))
    upgraded = seqdev("db", "upgrade", "--yes")
    assert upgraded.code == 0, upgraded.err
    with host.connection.__class__.connect(make_database(template)) as other:
        assert host.rows(SHAPE) == other.execute(SHAPE.encode()).fetchall()
    after = kept(host, ("public", "seqdev"))
    for table, rows in before.items():
        assert [row for row in rows if row not in after[table]] == [], table
        if table.startswith("public.") or table == "seqdev.change":
            assert after[table] == rows
    again = seqdev("db", "upgrade", "--yes")
    assert (again.code, again.out, "nothing to do" in again.err) == (0, "", True)
    assert seqdev("db", "check").code == 0
    told(seqdev, before)
    acted_on(host, seqdev, before)


def told(seqdev: Cli, before: dict[str, list[Any]]) -> None:
    """Every row of then is told of by who tells of it now."""
    runs = {run["run_id"]: run for run in json.loads(seqdev("runs", "--all", "--format", "json").out)}
    assert {row[0]["id"] for row in before["seqdev.run"]} <= set(runs)
    assert {run["state"] for run in runs.values()} == {"done"}
    assert (runs[earlier.TICK]["counts"]["quarantined"], runs[earlier.TICK]["version"]) == (1, "0.1.0")
    if "seqdev.change" in before:
        listed = json.loads(seqdev("repair", "list", "--format", "json").out)
        states = {run["run_id"]: (run["state"], run["undone_by"]) for run in listed}
        assert states[earlier.MOVED] == ("in effect", None)
        assert states[earlier.UNDONE] == ("undone", earlier.UNDO)
        shown = json.loads(seqdev("repair", "show", earlier.MOVED, "--format", "json").out)
        assert [row["phone"] for row in shown] == ["60120000001"]
    if "seqdev.rule" in before:
        (ruled,) = json.loads(seqdev("rules", "history", "--format", "json").out)
        assert (ruled["name"], ruled["new_value"], ruled["why"]) == ("max_per_hour", "7", "a new number")
        assert "7" in seqdev("rules", "get", "max_per_hour").out
    if "seqdev.blocked" in before:
        (blocked,) = json.loads(seqdev("block", "list", "--format", "json").out)
        assert (blocked["phone"], blocked["why"]) == (earlier.BLOCKED, "has asked for it")


def acted_on(host: Host, seqdev: Cli, before: dict[str, list[Any]]) -> None:
    """What the rows of then say still holds: an old run is undone, and a tick sends by old rules and blocks."""
    if "seqdev.change" in before:
        undone = seqdev("repair", "undo", earlier.MOVED, "--yes")
        assert undone.code == 0, undone.err
        assert (
            str(host.value("select assigned_device_id from sequence_contacts where id = %s", earlier.CONTACT))
            == earlier.A
        )
    if "seqdev.rule" in before:
        undone = seqdev("repair", "undo", earlier.RULED, "--yes")
        assert (undone.code, host.value("select value from seqdev.rule")) == (0, None)
    assert seqdev("enroll", "--yes").code in (0, 3)
    ticked = seqdev("tick")
    assert ticked.code == 0, ticked.err
    sent = [phone for (phone,) in host.rows("select recipient_phone from broadcast_messages order by 1")]
    blocked = "seqdev.blocked" in before
    assert sent == ["60120000001", "60120000002", *([] if blocked else [earlier.BLOCKED])]


def test_every_command_that_asks_is_tried() -> None:
    def leaves(command: Any, context: Any, path: list[str]) -> Iterator[str]:
        if hasattr(command, "list_commands"):
            for name in command.list_commands(context):
                below = command.get_command(context, name)
                yield from leaves(below, type(context)(below, info_name=name, parent=context), [*path, name])
        elif any("--yes" in parameter.opts for parameter in command.params):
            yield " ".join(path)

    root: Any = typer.main.get_command(cli.app)
    # Nothing is paused: there resume has nothing to write.
    others = {"db upgrade", "db grants", "resume"}
    asking = set(leaves(root, root.context_class(root, info_name="seqdev"), [])) - others
    assert {one for one in asking if not any(f"{write} ".startswith(f"{one} ") for write in WRITES)} == set()
