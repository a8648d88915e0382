"""``seqdev leads``."""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from seqdev import gates
from seqdev.commands.group import Group
from seqdev.commands.options import (
    AllOption,
    App,
    DryRunOption,
    FormatOption,
    LimitOption,
    UserOption,
    WhyOption,
    YesOption,
    ended,
    journaled,
    listed,
    open_input,
)
from seqdev.commands.planned import BATCH, BatchOption, PlanOption, Ways, carry_out
from seqdev.errors import Exit, ReadOnly, UsageError
from seqdev.leads.file import LeadFile
from seqdev.leads.headers import Columns
from seqdev.leads.importing import (
    DEVICES,
    Existing,
    Import,
    Rejection,
    Result,
    Summary,
    Target,
    import_leads,
)
from seqdev.leads.rejects import RejectsFile
from seqdev.output.progress import progress
from seqdev.output.render import Format, Table, note
from seqdev.output.tables import LISTED
from seqdev.output.words import are, counted
from seqdev.postgres import lookup, schema
from seqdev.postgres.replica import AT_THE_PRIMARY
from seqdev.postgres.transaction import Transaction
from seqdev.repair.jobs import Job
from seqdev.repair.jobs import assign as assign_leads
from seqdev.repair.jobs import merge as merge_leads

app = typer.Typer(cls=Group, help="Import leads, give them devices, merge those of one person.")


@app.command("import")
def import_(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="CSV file with a header line; - is stdin.")],
    user: Annotated[
        str, typer.Option(metavar="NAME|ID", help="Whose leads they become (name, id or prefix).")
    ],
    device: Annotated[
        str | None,
        typer.Option(metavar="NAME|ID", help="Device that owns the leads whose line names none."),
    ] = None,
    distribute: Annotated[
        bool,
        typer.Option(
            "--distribute",
            help="Spread the leads whose line names no device over the user's devices, so that in the "
            "end they own as even numbers as can be.",
        ),
    ] = False,
    existing: Annotated[
        Existing,
        typer.Option(
            help="Leads the user has already: skip them, or update name and niche, add triggers, and give an "
            "owner where there is none."
        ),
    ] = Existing.SKIP,
    region: Annotated[
        str | None,
        typer.Option(metavar="CC", help="Country of phones without country code, such as MY."),
    ] = None,
    rejects: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write rejected lines to FILE, with the reason, and import the others. Without it, one "
            "rejected line and nothing is imported.",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Only show what would be done, and write the rejected lines. Changes nothing, but needs the "
            "primary, and a role that may create temporary tables.",
        ),
    ] = False,
    why: WhyOption = None,
    output: FormatOption = Format.TABLE,
) -> int:
    """Import leads from a CSV file.

    In one transaction: all lines or none. Delimited by comma, semicolon, tab, or what a first line sep=;
    says; UTF-8, or UTF-16 as Excel writes it. The columns are found by their headers, in any order and
    spelling: phone; and if there, name (or first, middle and last name), niche, trigger (a comma-separated
    list) and device (its name or id). Phones are stored as digits with country code.

    What Google Contacts, HubSpot and Outlook export is read as it is. Of several columns of phones, each
    line's first valid one is taken, in this order: WhatsApp, mobile, phone or primary, home, work, other;
    never fax or pager. What --rejects has written is imported as it was, without its columns line and reason.

    Lines are rejected with a reason: missing_phone, bad_phone, duplicate_phone, no_device, unknown_device,
    device_of_other_user, ambiguous_device, too_long, bad_text, wrong_columns. Exit code 3 if there are any.
    """
    if device and distribute:
        raise UsageError("--device and --distribute exclude each other", "give one of them")
    application: App = ctx.obj
    with ExitStack() as stack:
        leads = LeadFile(stack.enter_context(open_input(file)), region)
        if not (device or distribute or leads.has_devices):
            raise UsageError("no device for the leads", "give --device or --distribute, or a column device")
        kept = stack.enter_context(_rejects_file(rejects, file)) if rejects else None
        database = application.reading("leads import") if dry_run else application.database("leads import")
        if not dry_run:
            schema.require(database)
        elif database.replica:
            raise ReadOnly(
                "the dry run of an import reads the file into a temporary table, which a standby cannot make",
                AT_THE_PRIMARY,
            )

        def resolve(tx: Transaction) -> Target:
            owner = lookup.resolve(tx, lookup.Kind.USER, user)
            return Target(
                user=owner,
                device=lookup.resolve(tx, lookup.Kind.DEVICE, device, owner) if device is not None else None,
                devices=_devices(tx, owner) if distribute else (),
                existing=existing,
            )

        target = database.retry(resolve, read_only=True)
        _say_columns(leads.columns)
        run = None if dry_run else stack.enter_context(journaled(ctx, database, "leads import", why))
        with progress("lines") as bar:
            result = import_leads(database, Import(leads, target, kept), run, bar)
        application.writer(output).write(
            Table("import", Summary, [result.summary], single=True),
            Table("rejected", Rejection, result.rejected),
        )
        return ended(run, _account(result, rejects))


@app.command()
def assign(
    ctx: typer.Context,
    distribute: Annotated[
        bool, typer.Option("--distribute", help="Spread the leads without a device evenly over their user's.")
    ] = False,
    rebalance: Annotated[
        bool,
        typer.Option(
            "--rebalance",
            help="Even out what devices own with the fewest moves, those never written to first.",
        ),
    ] = False,
    user: UserOption = None,
    dry_run: DryRunOption = False,
    plan: PlanOption = None,
    yes: YesOption = False,
    why: WhyOption = None,
    batch_size: BatchOption = BATCH,
    limit: LimitOption = None,
    show_all: AllOption = False,
    output: FormatOption = Format.TABLE,
) -> int:
    """Give leads a device of their user.

    Devices that do not come back (setting gone_statuses) get none. People who are already in a sequence keep
    the device assigned there. Can be undone with repair undo.
    """
    if not (distribute or rebalance):
        raise UsageError("nothing to do", "give --distribute, --rebalance or both")

    def make(tx: Transaction) -> Job:
        owner = lookup.resolve(tx, lookup.Kind.USER, user) if user is not None else None
        return assign_leads(distribute, rebalance, owner)

    return carry_out(
        ctx, "leads assign", make, Ways(yes, dry_run, plan, batch_size, listed(limit, show_all), output, why)
    )


@app.command()
def merge(
    ctx: typer.Context,
    user: UserOption = None,
    dry_run: DryRunOption = False,
    plan: PlanOption = None,
    yes: YesOption = False,
    why: WhyOption = None,
    batch_size: BatchOption = BATCH,
    limit: LimitOption = None,
    show_all: AllOption = False,
    output: FormatOption = Format.TABLE,
) -> int:
    """Merge the leads of one person.

    For leads of a user that have the same phone, in whatever spelling. One of them stays: the one with rows
    to come in a sequence, else the one with the most rows done, else with a device of its user, else written
    as WhatsApp does, else the oldest. It inherits a device, name and niche where it has none, and the others'
    triggers. The others are set aside under a phone that is none; repair undo brings them back.

    In each sequence the person goes on in the spelling that is furthest, under the phone of the lead that
    stays; rows to come in another spelling end. People whom this could send a message twice are refused and
    listed, with exit code 3.
    """

    def make(tx: Transaction) -> Job:
        return merge_leads(lookup.resolve(tx, lookup.Kind.USER, user) if user is not None else None)

    ways = Ways(yes, dry_run, plan, batch_size, listed(limit, show_all), output, why)
    return carry_out(ctx, "leads merge", make, ways, schema.require_but_duplicates)


def _say_columns(columns: Columns) -> None:
    """Which columns are taken, where that is not plain, and which are not."""
    if len(columns.of_phones) > 1:
        labels = ", by their labels" if columns.labelled else ""
        note(f"phone: the first valid one of {', '.join(columns.of_phones)}{labels}")
    if ignored := columns.ignored:
        more = f" and {len(ignored) - LISTED} more" if len(ignored) > LISTED else ""
        note(f"columns ignored: {', '.join(ignored[:LISTED])}{more}")


def _rejects_file(path: Path, source: str) -> RejectsFile:
    if source != "-" and path.exists() and os.path.samefile(path, source):
        raise UsageError(f"{path} is the file to import", "name another file for the rejected lines")
    return RejectsFile(path)


def _devices(tx: Transaction, user: UUID) -> list[UUID]:
    """The devices that leads can be given to; those left out are named on stderr."""
    devices = tx.rows(DEVICES, user=user, **gates.needed_by(DEVICES, tx, tx.settings))
    for device in devices:
        if device.gone:
            note(f"device left out, its status is {device.status}: {device.name or device.id}")
    usable = [device.id for device in devices if not device.gone]
    if not usable:
        raise UsageError("the user has no device to distribute to", "name a device of the user with --device")
    return usable


def _account(result: Result, rejects: Path | None) -> int:
    """Notes for people, and the exit code."""
    rejected = result.summary.rejected
    if result.refused:
        done = "would be" if result.summary.dry_run else "was"
        note(f"nothing {done} imported: {rejected:,} of {counted(result.summary.read, 'line')} rejected")
        if rejected > len(result.rejected):
            note(f"{len(result.rejected)} of them are listed")
        note("correct them, or name a file for them with --rejects FILE and the others are imported")
    elif rejected:
        note(f"{counted(rejected, 'line')} rejected: see {rejects}")
    if blocked := result.summary.blocked:
        people = counted(blocked, "person", "people")
        note(
            f"{people} of the file {are(blocked)} blocked: seqdev enroll refuses them, see seqdev block list"
        )
    return Exit.FINDINGS if rejected else Exit.DONE
