"""``seqdev explain``."""

from typing import Annotated

import typer

from seqdev.commands.options import App, FormatOption, UserOption
from seqdev.errors import Exit
from seqdev.explain import view as explain_view
from seqdev.explain.explain import explain as read
from seqdev.explain.explain import writings
from seqdev.explain.rows import Explanation, Step, Story
from seqdev.output.render import Format, Table, note
from seqdev.repair import homecoming


def explain(
    ctx: typer.Context,
    phone: Annotated[str, typer.Argument(metavar="PHONE", help="The person's phone, in any writing.")],
    user: UserOption = None,
    output: FormatOption = Format.TABLE,
) -> int:
    """Tell the story of one person, and what stops them.

    Their leads, enrolments and steps. For each waiting step: the first gate that stops it, since when,
    what would unblock it, when it is next eligible, and what each policy would do. Exit code 3 when
    nothing is known of the phone.
    """
    app: App = ctx.obj
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
    if found.known:
        return Exit.DONE
    note(f"nothing is known of this phone{' with this user' if user else ''}")
    note(
        "see the phones that end in the same digits"
        if found.near
        else "check the digits and the country code"
    )
    return Exit.FINDINGS
