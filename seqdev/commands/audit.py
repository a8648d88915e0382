"""``seqdev audit``."""

from dataclasses import replace
from typing import Annotated, Any

import typer

from seqdev.audit import audit
from seqdev.audit import replies as audit_replies
from seqdev.audit import rows as audit_rows
from seqdev.audit.audit import Criteria
from seqdev.audit.replies import Replies
from seqdev.audit.rows import IfLost
from seqdev.commands import audit_all, audit_run
from seqdev.commands.audited import Shown, ends_at, look
from seqdev.commands.group import Group
from seqdev.commands.options import (
    AllOption,
    App,
    AtOption,
    FormatOption,
    LimitOption,
    UntilOption,
    UserOption,
    since_option,
    window_of,
)
from seqdev.errors import Exit, UsageError
from seqdev.moments import EVER, Moment
from seqdev.output.render import Format, note
from seqdev.output.tables import shown as fitted

app = typer.Typer(
    cls=Group,
    help="Find what went wrong, and the repair that fits; read-only. Exit code 3: something was found.",
)

MatchesOption = Annotated[
    bool, typer.Option("--matches", help="List the messages from the assigned device too.")
]
SequenceOption = Annotated[
    str | None, typer.Option(metavar="NAME|ID", help="Only this sequence (name, id or prefix).")
]
DeviceOption = Annotated[
    str | None, typer.Option(metavar="NAME|ID", help="Only this device (name, id or prefix).")
]


def _since(default: str) -> Any:
    return since_option("Look", default)


@app.command()
def mismatches(
    ctx: typer.Context,
    since: Annotated[Moment | None, _since("1h")] = None,
    until: UntilOption = None,
    user: UserOption = None,
    sequence: SequenceOption = None,
    device: DeviceOption = None,
    limit: LimitOption = None,
    matches: MatchesOption = False,
    show_all: AllOption = False,
    at: AtOption = None,
    output: FormatOption = Format.TABLE,
) -> int:
    """Messages from another device than the one assigned.

    Which, when, why, and the repair.
    """
    shown = Shown(output, limit, show_all)
    criteria = Criteria(
        window_of(ctx, since, until), user, sequence, device, matches=matches, limit=shown.rows, at=at
    )
    return look(ctx, audit_rows.MISMATCHES, criteria, shown)


@app.command()
def devices(
    ctx: typer.Context,
    lost: Annotated[
        str | None,
        typer.Option(
            "--if-lost", metavar="NAME|ID", help="What would be lost with this device; nothing else."
        ),
    ] = None,
    user: UserOption = None,
    sequence: SequenceOption = None,
    device: DeviceOption = None,
    limit: LimitOption = None,
    show_all: AllOption = False,
    at: AtOption = None,
    output: FormatOption = Format.TABLE,
) -> int:
    """Every device: its people, its backlog, what it sends.

    Devices in trouble come first. A zombie is online, yet a message has waited for more than 15 minutes and
    none was sent in that time.
    With --if-lost, exit code 3 says that the user's other devices cannot take its work.
    """
    if lost is None:
        shown = Shown(output, limit, show_all)
        return look(
            ctx, audit_rows.DEVICES, Criteria(EVER, user, sequence, device, limit=shown.rows, at=at), shown
        )
    if sequence or device or limit or show_all or at:
        raise UsageError("--if-lost takes no other option than --user and --format", "leave the others out")
    app: App = ctx.obj
    row = audit.if_lost(app.reading("audit devices"), lost, user)
    app.writer(output).write(replace(fitted(output, "if_lost", IfLost, [row]), single=True))
    if not row.fits:
        note("the user's other devices cannot take its work: see room and due")
    if row.people:
        note(f"once it is lost: seqdev repair device {str(row.device_id)[:8]} --spread --queue --dry-run")
    return Exit.DONE if row.fits else Exit.FINDINGS


@app.command()
def contacts(
    ctx: typer.Context,
    since: Annotated[Moment | None, _since("1d")] = None,
    until: UntilOption = None,
    user: UserOption = None,
    sequence: SequenceOption = None,
    device: DeviceOption = None,
    limit: LimitOption = None,
    show_all: AllOption = False,
    at: AtOption = None,
    output: FormatOption = Format.TABLE,
) -> int:
    """Contacts that are inconsistent, stuck or overdue.

    Inconsistent: done, but the message or the next step is missing.

    --since bounds what is done and what was written; what is not done is looked at whatever its age.
    """
    shown = Shown(output, limit, show_all)
    criteria = Criteria(window_of(ctx, since, until), user, sequence, device, limit=shown.rows, at=at)
    return look(ctx, audit_rows.CONTACTS, criteria, shown)


@app.command()
def sequences(
    ctx: typer.Context,
    user: UserOption = None,
    sequence: SequenceOption = None,
    limit: LimitOption = None,
    show_all: AllOption = False,
    at: AtOption = None,
    output: FormatOption = Format.TABLE,
) -> int:
    """Sequences that cannot run as they are.

    No entry step, dangling or looping triggers, gaps, inactive.
    """
    shown = Shown(output, limit, show_all)
    return look(ctx, audit_rows.SEQUENCES, Criteria(EVER, user, sequence, limit=shown.rows, at=at), shown)


@app.command()
def leads(
    ctx: typer.Context,
    user: UserOption = None,
    sequence: SequenceOption = None,
    device: DeviceOption = None,
    limit: LimitOption = None,
    show_all: AllOption = False,
    at: AtOption = None,
    output: FormatOption = Format.TABLE,
) -> int:
    """Leads without a device, or with bad data.

    No device of their user, a bad or shared phone, or triggers that no sequence has.
    """
    shown = Shown(output, limit, show_all)
    return look(ctx, audit_rows.LEADS, Criteria(EVER, user, sequence, device, limit=shown.rows, at=at), shown)


@app.command()
def collisions(
    ctx: typer.Context,
    since: Annotated[Moment | None, _since("1d")] = None,
    until: UntilOption = None,
    user: UserOption = None,
    sequence: SequenceOption = None,
    device: DeviceOption = None,
    limit: LimitOption = None,
    show_all: AllOption = False,
    at: AtOption = None,
    output: FormatOption = Format.TABLE,
) -> int:
    """People whom two devices of one user write to.

    Or will write to: rows that are due count, and campaigns too.
    """
    shown = Shown(output, limit, show_all)
    criteria = Criteria(window_of(ctx, since, until), user, sequence, device, limit=shown.rows, at=at)
    return look(ctx, audit_rows.COLLISIONS, criteria, shown)


@app.command()
def writers(
    ctx: typer.Context,
    since: Annotated[Moment | None, _since("1d")] = None,
    until: UntilOption = None,
    user: UserOption = None,
    sequence: SequenceOption = None,
    device: DeviceOption = None,
    limit: LimitOption = None,
    show_all: AllOption = False,
    at: AtOption = None,
    output: FormatOption = Format.TABLE,
) -> int:
    """Messages of sequences that seqdev did not make.

    They are the sign of a second processor.
    """
    shown = Shown(output, limit, show_all)
    criteria = Criteria(window_of(ctx, since, until), user, sequence, device, limit=shown.rows, at=at)
    return look(ctx, audit_rows.WRITERS, criteria, shown)


@app.command()
def failed(
    ctx: typer.Context,
    since: Annotated[Moment | None, _since("1d")] = None,
    until: UntilOption = None,
    user: UserOption = None,
    sequence: SequenceOption = None,
    device: DeviceOption = None,
    limit: LimitOption = None,
    show_all: AllOption = False,
    at: AtOption = None,
    output: FormatOption = Format.TABLE,
) -> int:
    """Messages of sequences that were not sent.

    By cause, as the error of the broadcast worker tells it, device and step.
    """
    shown = Shown(output, limit, show_all)
    criteria = Criteria(window_of(ctx, since, until), user, sequence, device, limit=shown.rows, at=at)
    return look(ctx, audit_rows.FAILED, criteria, shown)


@app.command()
def replies(
    ctx: typer.Context,
    since: Annotated[Moment | None, _since("7d")] = None,
    until: UntilOption = None,
    user: UserOption = None,
    sequence: SequenceOption = None,
    device: DeviceOption = None,
    limit: LimitOption = None,
    show_all: AllOption = False,
    at: AtOption = None,
    output: FormatOption = Format.TABLE,
) -> int:
    """Who writes back: by sequence, step and device.

    Of the messages that sequences have sent in this time, how many were replied to, before the person got
    the next one. Where the host keeps what is written to its devices. Finds nothing: the exit code is 0.
    """
    app: App = ctx.obj
    shown = Shown(output, limit, show_all)
    criteria = Criteria(window_of(ctx, since, until), user, sequence, device, limit=shown.rows, at=at)
    if at:
        criteria = ends_at(app, criteria)
    found = audit_replies.find(app.reading("audit replies"), criteria)
    app.writer(output).write(fitted(output, "replies", Replies, found))
    if not found:
        note("no sequence has sent anything in that time")
    elif len(found) < found[0].total:
        note(f"{found[0].total:,} rows, {len(found)} shown: --limit, or --all")
    return Exit.DONE


# Last in the help of the group.
app.add_typer(audit_all.app)
app.add_typer(audit_run.app)
