"""``seqdev explain``."""

from typing import Annotated

import typer

from seqdev.commands.following import advise
from seqdev.commands.options import App, AtOption, FormatOption, UserOption, window_of
from seqdev.errors import Exit
from seqdev.explain import then, then_view
from seqdev.explain import view as explain_view
from seqdev.explain.explain import explain as read
from seqdev.explain.explain import writings
from seqdev.explain.rows import Explanation, Step, Story
from seqdev.explain.then_rows import Past, PastStep
from seqdev.moments import Window
from seqdev.output.render import Format, Table, note
from seqdev.repair import homecoming

_AWAY = ("device_offline", "device_away", "device_gone")
"""Reasons that hold for everybody whose device it is."""


def explain(
    ctx: typer.Context,
    phone: Annotated[str, typer.Argument(metavar="PHONE", help="The person's phone, in any writing.")],
    user: UserOption = None,
    at: AtOption = None,
    output: FormatOption = Format.TABLE,
) -> int:
    """Tell the story of one person, and what stops them.

    Their leads, enrolments and steps. For each waiting step: the first gate that stops it, since when,
    what would unblock it, when it is next eligible, and what each policy would do. Exit code 3 when
    nothing is known of the phone.

    With --at: the steps as they stood then, what could have stopped them, the ticks around, and what cannot
    be known, such as the status of a device.
    """
    app: App = ctx.obj
    if at is not None:
        return _stood(app, phone, user, window_of(ctx, None, at), output)
    database = app.reading("explain")
    found = read(database, phone, user)
    waits = {one.step.contact_id for story in found.stories for one in story.waiting}
    for row in homecoming.planned(database) if waits else []:
        if row.row_id in waits:
            note(
                f"a tick would first give {row.sequence or 'the sequence'} back to its own device, "
                f"{row.to_name or row.to_device}, by the rule return_home"
            )
    if app.settings.mask:
        found = explain_view.masked(found, {writing for writing in writings(phone) if len(writing) > 6})
    writer = app.writer(output)
    if output is Format.JSON:
        writer.write(Table("explanation", Explanation, [found], single=True))
    elif output is Format.JSONL:
        writer.write(Table("stories", Story, found.stories))
    elif output in (Format.CSV, Format.TSV):
        steps = [step for story in found.stories for one in story.enrolments for step in one.steps]
        writer.write(Table("steps", Step, steps))
    else:
        explain_view.write_screen(writer, found)
        advise(output, _more_about(found))
    if found.known:
        return Exit.DONE
    note(f"nothing is known of this phone{' with this user' if user else ''}")
    note(
        "see the phones that end in the same digits"
        if found.near
        else "check the digits and the country code"
    )
    return Exit.FINDINGS


def _more_about(found: Explanation) -> str:
    """What shows who else waits for the device that stops somebody; empty where no device does."""
    for story in found.stories:
        for one in story.waiting:
            if one.reason in _AWAY and one.step.device_id:
                return f"seqdev audit devices --if-lost {str(one.step.device_id)[:8]}"
    return ""


def _stood(app: App, phone: str, user: str | None, window: Window, output: Format) -> int:
    """How it stood at an instant of the past."""
    found = then.stood(app.reading("explain"), phone, user, window)
    if app.settings.mask:
        found = explain_view.masked(found, {writing for writing in writings(phone) if len(writing) > 6})
    writer = app.writer(output)
    if output is Format.JSON:
        writer.write(Table("then", Past, [found], single=True))
    elif output in (Format.JSONL, Format.CSV, Format.TSV):
        writer.write(Table("steps", PastStep, found.steps))
    else:
        then_view.write_screen(writer, found)
    if found.known:
        return Exit.DONE
    whose = " with this user" if user else ""
    note(f"no step of this phone is there now{whose}: what was deleted is not known")
    return Exit.FINDINGS
