"""``seqdev db``: the database."""

import re
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Annotated, ClassVar
from uuid import UUID

import typer

from seqdev import replies
from seqdev.commands import db_server, db_upgrade, replica, sizes
from seqdev.commands.db_upgrade import PlaceByOption, do, remaining
from seqdev.commands.group import Group
from seqdev.commands.options import (
    AllOption,
    App,
    FormatOption,
    LimitOption,
    WhyOption,
    journaled,
    listed,
)
from seqdev.errors import Exit, PermissionRefused, ReaderGoneError
from seqdev.journal.runs import who
from seqdev.output.columns import Prose, Verdict
from seqdev.output.render import Format, Table, note
from seqdev.output.tables import for_people, shown
from seqdev.output.text import Phone, visible
from seqdev.output.words import counted
from seqdev.postgres import citus, grants, places, schema
from seqdev.postgres import sizes as size
from seqdev.postgres import zone as zones
from seqdev.postgres.engine import Database
from seqdev.postgres.findings import Finding
from seqdev.postgres.grants import Role
from seqdev.postgres.replica import AT_THE_PRIMARY
from seqdev.probe import probe, waits
from seqdev.rules import rules

app = typer.Typer(cls=Group, help="Check and upgrade the database; the embedded server.")

ProbeOption = Annotated[
    bool | None,
    typer.Option(
        "--probe/--no-probe",
        help="Make the probe, also beside triggers that could write outside the database; or make none.",
    ),
]
OkOption = Annotated[bool, typer.Option("--ok", help="Show what is in order too.")]


@dataclass(frozen=True)
class Standing:
    """A contact without a step, as people see it."""

    brief: ClassVar[tuple[str, ...]] = (
        *("phone", "why", "step", "by_trigger", "by_day", "by_step", "status", "sequence", "contact_id"),
    )

    phone: Phone | None
    """whose row it is"""
    sequence: str | None
    """name of the sequence"""
    status: Verdict | None
    """of the row"""
    by_trigger: int | None
    """day of the step that current_trigger names"""
    by_day: int | None
    """day of the step that current_day names"""
    by_step: int | None
    """day of the step that current_step names"""
    step: int | None
    """day of the step that the upgrade would give to the row; null: none"""
    why: Verdict
    """disagree; no_step: nothing names a step; several_steps: more than one is named; step_taken: another row
    of the person has that step, or would get it"""
    contact_id: UUID
    """the row"""


@dataclass(frozen=True)
class FindingLine:
    """A finding on a screen."""

    item: str
    status: Verdict
    why: Prose
    remedy: str | None


_REMEDY = re.compile(r"(?:alter table \S+ )?((?:create|drop|add|alter)(?: unique)? \w+|\w+)")
"""What the statement of a remedy does, before the names of what it does that to."""


app.add_typer(db_upgrade.app)


@app.command()
def check(
    ctx: typer.Context,
    show_ok: OkOption = False,
    probing: ProbeOption = None,
    output: FormatOption = Format.TABLE,
) -> int:
    """Check whether seqdev can work on the database.

    Shows what is missing, why it is needed, what the upgrade would do, and how many contacts wait for a
    reason that time does not end. A probe then shows whether the host's keys, constraints and triggers take
    what enroll and tick write: people made for it enter every sequence and go through its steps, in a
    transaction that is rolled back. Nobody else sees them; what stays is that serial ids have moved on.

    Exit code 0: all in order; 3: it works, but something should be looked at; 10: commands that write refuse.
    """
    application: App = ctx.obj
    database = application.database("db check")
    found = schema.check(database)
    if database.replica:
        note(f"this server is {replica.state(database.replica)}")
    usable = not any(finding.blocks for finding in found)
    if usable:
        found += waits.look(database)
        found += database.retry(replies.checked, read_only=True)
    if usable and probing is not False:
        probed = probe.probe(database, risk=probing is True)
        found += probed.findings
        if probed.not_made:
            note(f"no probe was made of what enroll and tick write: {probed.not_made}")
        # Who may not read all of these tables is not told of the columns.
        with suppress(PermissionRefused):
            idle = database.retry(rules.idle_columns, read_only=True)
            if idle:
                note(rules.not_counted(idle))
    rows = [finding for finding in found if show_ok or finding.status != "ok"]
    application.writer(output).write(_table(output, "findings", rows))
    if for_people(output) and any(finding.remedy for finding in rows):
        where = "--format json" if schema.beyond_help(found) else "seqdev db upgrade --sql"
        note(f"the statements of the remedies: {where}")
    for line in sizes.said(database.retry(size.look, read_only=True)):
        note(line)
    in_order = sum(finding.status == "ok" for finding in found)
    note(f"{counted(len(found), 'check')}, {in_order} in order" + ("" if show_ok else "; --ok shows them"))
    if words := schema.not_the_hosts(database):
        note(words.what)
        note(words.help)
        return Exit.SCHEMA
    if any(finding.blocks for finding in found):
        note(f"commands that write will refuse: {_instead(found)}")
        return Exit.SCHEMA
    return Exit.DONE if in_order == len(found) else Exit.FINDINGS


def _instead(found: list[Finding]) -> str:
    """What to do where commands that write refuse."""
    if schema.only_standby(found):
        return AT_THE_PRIMARY
    if schema.beyond_help(found):
        return "what has no remedy is to be put right by hand first; the rest seqdev db upgrade does"
    return "see the remedies, and run seqdev db upgrade"


def _table(output: Format, name: str, found: list[Finding]) -> Table:
    if not for_people(output):
        return Table(name, Finding, found)
    lines = [FindingLine(one.item, one.status, one.why, _remedy(one)) for one in found]
    return Table(name, FindingLine, lines)


def _remedy(finding: Finding) -> str | None:
    """A remedy in two words: the statement itself would fill the screen, and nobody types it."""
    begun = _REMEDY.match(finding.remedy or "")
    return begun[1] if begun else finding.remedy


@app.command("zone")
def keep_zone(
    ctx: typer.Context,
    zone: Annotated[
        str | None, typer.Argument(metavar="[ZONE]", help="The zone, as PostgreSQL names it.")
    ] = None,
    why: WhyOption = None,
) -> int:
    """Show or set the zone of naive timestamps.

    It is kept with the database, and holds for all commands on all hosts. Without it they are read in the
    configured zone, or in UTC. Nothing is rewritten: naive timestamps mean other instants from then on.
    """
    application: App = ctx.obj
    # What is configured may be what this is to put right.
    database = Database(replace(application.settings, timezone=""), "db zone", note, ruled=False)
    if zone is None:
        kept = database.retry(zones.kept, read_only=True)
        note(f"naive timestamps are read in {kept}" if kept else "no zone is kept with this database")
        return Exit.DONE
    schema.require(database)
    with journaled(ctx, database, "db zone", why) as run, run.work():
        kept = database.retry(partial(zones.keep, zone=zone, who="@".join(who())))
    note(f"naive timestamps are read in {kept}, by every command from now on")
    return Exit.DONE


@app.command(name="places")
def places_(
    ctx: typer.Context,
    place_by: PlaceByOption = None,
    limit: LimitOption = None,
    show_all: AllOption = False,
    output: FormatOption = Format.TABLE,
) -> int:
    """Show contacts that have no step yet.

    Those that the upgrade has to ask about, or cannot place.

    Each with the steps that its trigger, its day and its step number name, and the step that it would get.
    Exit code 3: there are some.
    """
    application: App = ctx.obj
    found = places.listed(application.database("db places"), place_by, listed(limit, show_all))
    rows = [Standing(*(getattr(one, field.name) for field in fields(Standing))) for one in found]
    application.writer(output).write(shown(output, "places", Standing, rows))
    total = found[0].total if found else 0
    note(
        counted(total, "contact")
        if len(found) == total
        else f"the first {len(found):,} of {counted(total, 'contact')}: --limit, or --all"
    )
    return Exit.FINDINGS if found else Exit.DONE


@app.command()
def init(
    ctx: typer.Context,
    distributed: Annotated[
        bool, typer.Option("--distributed", help="Let Citus distribute them; the database has its extension.")
    ] = False,
) -> int:
    """Create the host's tables in an empty database.

    For a demo, for tests, or for a new installation.
    """
    application: App = ctx.obj
    database = application.database("db init")
    if distributed:
        database.retry(citus.pending, read_only=True)
    schema.init(database)
    done: list[Finding] = []
    while plan := schema.following(database, done):
        done += do(database, plan, None)
    if distributed:
        for finding in schema.distribute(database):
            note(f"distribute: {finding.item}")
        database = application.database("db init")
    return remaining(schema.check(database))


@app.command(name="grants")
def grants_(
    ctx: typer.Context,
    role: Annotated[Role, typer.Argument(help="What the role is to do.")],
    to: Annotated[str, typer.Option("--to", metavar="ROLE", help="The database role; it has to exist.")],
    yes: Annotated[bool, typer.Option("--yes", help="Grant it, in one transaction.")] = False,
) -> int:
    """Print the SQL that gives a role what it needs.

    A role gets what it needs for a part of seqdev, and nothing more. tick: tick. enroll: enroll, leads
    import. repair: repair, leads assign and merge, all that audit does. audit: audit, explain, every dry
    run; read-only. owner: db upgrade, db init. Nothing is granted without --yes.
    """
    application: App = ctx.obj
    database = application.database("db grants", ruled=False)
    found, hidden = grants.plan(database, role, to)
    if yes:
        grants.grant(database, found)
    try:
        for one in found:
            typer.echo(visible(f"{one.statement}; -- {one.why}" if one.statement else f"-- {one.why}"))
    except BrokenPipeError as error:
        raise ReaderGoneError from error
    count = sum(one.statement is not None for one in found)
    if yes:
        note(f"granted to {to} what {role} needs: the {counted(count, 'statement')} above")
    else:
        note(f"nothing was changed: {counted(count, 'statement')} to read; --yes runs all, psql -1 does too")
    if hidden:
        note(f"row-level security hides rows of {', '.join(hidden)} from {to}: commands will refuse")
        note(f"a superuser can exempt it: alter role {to} bypassrls")
    refused = count < len(found)
    if refused:
        note("not everything can be granted: see the comments")
    return Exit.FINDINGS if hidden or refused else Exit.DONE


# Last in the help of the group.
app.add_typer(db_server.app)
