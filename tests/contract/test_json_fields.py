"""docs/json-fields.md names what the commands print: they are run, and their documents are held against it."""

import ast
import inspect
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from seqdev.output.render import Format, Table, Writer
from seqdev.output.screen import Said
from tests.contract.fields import Printed, Shape, dataclasses_in, documented, page, printed
from tests.contract.owners import modules
from tests.contract.pages import JSON_FIELDS, keep
from tests.contract.reference import all_commands
from tests.world.command import Cli
from tests.world.host import Host
from tests.world.inbox import Inbox

Run = Callable[..., Any]


@pytest.fixture
def runs(host: Host, seqdev: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Printed]:
    """Every command that prints rows, in each of its ways, on a database that has something for each table."""
    found: list[Printed] = []
    written: list[tuple[Table, ...]] = []
    write = Writer.write

    def recorded(writer: Writer, *parts: Table | Said) -> None:
        if writer.format is Format.JSON:
            written.append(tuple(part for part in parts if isinstance(part, Table)))
        write(writer, *parts)

    monkeypatch.setattr(Writer, "write", recorded)

    def run(command: str, *options: object) -> Any:
        """Run ``command``, without words in capitals, with ``options``: the document that it prints.

        The page names ``command``, and not the options.
        """
        written.clear()
        words = [word for word in command.split() if not word.isupper()]
        ran = seqdev(*words, *map(str, options), "--format", "json")
        assert ran.code in (0, 3), (command, ran.err)
        (tables,) = written
        if len(tables) == 1:
            # Its name is not printed.
            tables = (replace(tables[0], name=""),)
        document = json.loads(ran.out)
        found.append(Printed(f"seqdev {command}", tuple(map(Shape.of, tables)), document))
        return document

    _tell(host, run, tmp_path)
    return found


def _tell(host: Host, run: Run, folder: Path) -> None:
    """A database in which every table of every command has rows."""
    (index,) = host.rows(
        "select min(indexrelname) as name from pg_stat_user_indexes where indexrelname like 'seqdev%' and schemaname = 'public'"
    )
    host.rows(f"drop index {index.name}")
    run("db upgrade", "--yes")
    run("db check", "--ok")
    run("db status")

    user = host.user()
    a, b, lost = (host.device(user, name) for name in ("A", "B", "lost"))
    sequence, steps = host.simple_sequence(user, steps=3)
    host.step(sequence, 9, "NOWHERE", "NOBODY", is_entry_point=False)
    for number in range(6):
        host.lead(user, (a, b, lost)[number % 3], f"6012000000{number}", "WARM")
    for number in range(6, 9):
        host.lead(user, None, f"6012000000{number}", "WARM")
    (folder / "leads.csv").write_text("phone,name\n60123456789,Ann\n123,Too short\n")
    nowhere = host.contact(sequence, None, "60120000000", None)
    run("db places")
    host.rows("delete from sequence_contacts where id = %s", nowhere)
    run("leads import", folder / "leads.csv", "--user", user, "--device", a)
    run("enroll", "--dry-run", "--sequence", "nothing")
    run("enroll", "--dry-run")
    run("enroll", "--yes")
    run("leads assign", "--distribute", "--dry-run")
    host.lead(user, a, "+60120000000")
    run("leads merge", "--dry-run")
    host.rows("delete from leads where phone = '+60120000000'")

    host.rows("update user_devices set status = 'offline' where id = %s", lost)
    run("tick --compare")
    run("forecast", "--with", "policy=strict", "--with", "max_per_day=1")
    run("tick --dry-run", "--policy", "strict")
    run("tick", "--policy", "fallback")
    run("tick --dry-run")
    run("top")
    run("journal prune", "--keep", "1d", "--dry-run")

    run("explain", "60120000000")
    run("explain", "9990120000000")
    run("explain PHONE --at", host.value("select now()"), "60120000000")

    for phone, from_sequence in (("60120000000", sequence), ("60120000001", None)):
        host.rows(
            "insert into broadcast_messages (id, user_id, device_id, sequence_id, recipient_phone, status, created_at)"
            " values (gen_random_uuid(), %s, %s, %s, %s, 'sent', now() at time zone 'UTC')",
            user, b, from_sequence, phone,
        )  # fmt: skip
    host.rows("delete from broadcast_messages where recipient_phone = '60120000003'")
    host.rows(
        "update broadcast_messages set status = 'failed', error_message = 'Device offline'"
        " where recipient_phone = '60120000004'"
    )
    host.contact(sequence, steps[2], "60120000005", lost)
    host.contact(sequence, steps[1], "60120000006", None)
    host.contact(sequence, steps[1], "60120000007", None, status="set_aside")
    host.rows("update leads set device_id = %s where phone = '60120000007'", a)
    host.contact(
        sequence, steps[1], "60120000008", a, processing_device_id=a, processing_started_at="2020-01-01"
    )
    run("explain", "60120000001")
    for audit in (
        "mismatches",
        "contacts",
        "sequences",
        "leads",
        "collisions",
        "writers",
        "failed",
        "devices",
    ):
        run(f"audit {audit}")
    for audit in ("mismatches", "contacts", "writers", "collisions", "failed", "all"):
        run(f"audit {audit} --at", host.value("select now()"))
    run("audit devices --if-lost DEVICE", a)
    Inbox(host)
    host.rows("update broadcast_messages set status = 'sent', sent_at = created_at where device_id = %s", a)
    run("audit replies")
    run("audit all")
    run("stats", "--by", "step,device", "--since", "1d")
    (folder / "own.sql").write_text("-- Leads\nselect name from leads;\n")
    run("audit run", folder / "own.sql")

    for repair in (
        *("assigned", "missing", "stuck", "quarantined", "stranded", "step-gone", "no-lead", "delay-changed"),
        "written-by-other",
    ):
        run(f"repair {repair}", "--dry-run")
    run("repair failed", "--dry-run")
    run("repair queued", "--cancel", "--device", a, "--dry-run")
    done = run("repair device", lost, "--spread", "--until-back", "--yes")["summary"]["run_id"]
    host.rows("update user_devices set status = 'online' where id = %s", lost)
    run("repair home", "--dry-run")
    run("repair show", done)
    run("repair undo", done, "--dry-run")
    run("repair list")
    for command in (
        "stop 60120000008 --why x",
        "resume 60120000008",
        "skip 60120000008 --sequence warm",
        "restart 60120000008 --sequence warm --why x",
    ):
        word, *options = command.split()
        run(f"contacts {word}", *options, "--dry-run")
    host.rule("paused", "until resumed: asked", sequence=sequence)
    run("resume", "--sequence", "warm", "--dry-run")
    run("resume", "--sequence", "warm", "--yes")
    run("block add", "60120000007", "--why", "asked", "--yes")
    run("block list")
    run("block remove", "60120000007", "--yes")
    run("block add", "60120000007", "--why", "asked", "--yes")
    run("explain", "60120000007")

    run("rules set", "max_per_hour", 60, "--device", a, "--yes")
    run("rules unset", "max_per_hour", "--device", a, "--dry-run")
    run("rules adopt", "--dry-run")
    run("rules list")
    run("rules get", "policy")
    run("rules history")
    for phone in ("60120000000", "60120000007"):
        run("explain PHONE --at", host.value("select now()"), phone)
    run("config show")

    run("runs")
    run("runs RUN", done)
    host.rows("update seqdev.run set started_at = started_at - interval '2 hours' where command = 'tick'")
    run("runs --every DURATION", "1m")

    # More than a table of the report holds.
    host.rows(
        "insert into seqdev.pause select at, 'x', 'x', 'x', 'x', at from"
        " generate_series(now() - interval '51 minutes', now() - interval '1 minute', interval '1 minute') as at"
    )
    host.rule("paused", "until resumed: asked", sequence=sequence)
    run("report")


@pytest.mark.thorough
def test_the_page_names_what_the_commands_print(runs: list[Printed]) -> None:
    keep(JSON_FIELDS, page(runs, [path for path, _, _ in all_commands()]))
    every_field_is_printed(runs)
    no_table_is_left_out(runs)


def every_field_is_printed(runs: list[Printed]) -> None:
    """What is on stdout has the names that the page has, no more and no fewer."""
    on_the_page = documented(JSON_FIELDS.read_text())
    seen: dict[tuple[int, str], set[str]] = defaultdict(set)
    for run in runs:
        tables = on_the_page[run.command]
        documents = {"": run.document} if "" in tables else run.document
        assert documents.keys() == tables.keys(), run.command
        for table, fields in tables.items():
            nested = {name.rpartition(".")[0] for name in fields}
            data = {name for name, kind in fields.items() if kind.startswith("object")} - nested
            seen[id(tables), table] |= set(printed(documents[table], data))
    for command, tables in on_the_page.items():
        for table, fields in tables.items():
            # Of audit run the columns are the user's.
            assert not fields or seen[id(tables), table] == fields.keys(), (command, table)


def no_table_is_left_out(runs: list[Printed]) -> None:
    """Each dataclass that the code makes a table of is on the page, or is for a screen only."""
    named = {
        vars(module)[call.args[1].id]
        for module in modules()
        if not module.__name__.startswith(("seqdev.demo", "seqdev.output"))
        for call in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and len(call.args) > 1
        if call.func.id in ("Table", "published") and isinstance(call.args[1], ast.Name)
    }
    shown = {
        inner for run in runs for shape in run.shapes if shape.row for inner in dataclasses_in(shape.row)
    }
    hidden = {row for row in named - shown if not row.__name__.startswith("_")}
    assert {row for row in hidden if "on a screen" not in row.__doc__} == set()


def test_every_command_that_prints_rows_is_on_the_page() -> None:
    printing = {
        path for path, command, _ in all_commands() if any("--format" in one.opts for one in command.params)
    }
    on_the_page = documented(JSON_FIELDS.read_text())
    assert {
        path for path in printing if not any(f"{one} ".startswith(f"{path} ") for one in on_the_page)
    } == set()
