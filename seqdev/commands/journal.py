"""``seqdev journal``."""

from datetime import timedelta
from typing import Annotated

import typer

from seqdev.commands.asking import Question, confirm
from seqdev.commands.options import (
    App,
    DryRunOption,
    FormatOption,
    WhyOption,
    YesOption,
    duration,
    ended,
    journaled,
)
from seqdev.errors import Exit, UsageError
from seqdev.journal import prune as pruning
from seqdev.journal.prune import Old, Pruned
from seqdev.output.progress import progress
from seqdev.output.render import Format, Table, Writer, note
from seqdev.output.words import counted, number
from seqdev.postgres import schema

app = typer.Typer(no_args_is_help=True, help="Keep the journal of runs and changes from growing for ever.")

_LEAST = timedelta(days=1)


@app.callback()
def journal() -> None:
    """Keep the journal of runs and changes from growing for ever."""


@app.command()
def prune(
    ctx: typer.Context,
    keep: Annotated[
        timedelta,
        typer.Option(
            parser=duration, metavar="DURATION", help="What began in this time stays: 90d, 52w. At least 1d."
        ),
    ],
    in_effect: Annotated[
        bool, typer.Option("--in-effect", help="Take out also runs whose changes are still in effect.")
    ] = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    why: WhyOption = None,
    output: FormatOption = Format.TABLE,
) -> int:
    """Take old runs out of the journal, with all that they have changed.

    A run goes whole, with its undo, or stays. It stays while its undo is young, and while what it did is
    still in effect: the person is still in the sequence or was stopped, the message is not sent, the lead
    still has that device, the rule that value, the phone is still blocked; repair home, contacts resume and
    undo need that. A run that is gone cannot be undone or shown, and nothing brings it back. Only tables of
    schema seqdev get smaller: their space is used again by the runs to come.
    """
    if keep < _LEAST:
        raise UsageError(
            "--keep is at least 1d: audits and ticks look at the last hours", "for example: --keep 90d"
        )
    app: App = ctx.obj
    old = Old(keep, in_effect)
    writer = app.writer(output)
    database = app.reading("journal prune") if dry_run else app.database("journal prune")
    if not dry_run:
        schema.require(database)
    found = pruning.plan(database, old)
    if dry_run or not found.runs:
        _show(writer, found)
        return Exit.DONE
    question = Question(
        f"Delete {counted(found.runs, 'run')} and {counted(found.changes, 'change')} from the journal?",
        found.runs,
        final=True,
    )
    if not confirm(question, yes):
        note("nothing was changed")
        return Exit.DONE
    with journaled(ctx, database, "journal prune", why) as run:
        gone = Pruned(found.began_before)
        with run.work(), progress("runs") as bar:
            for gone in pruning.prune(run, old):
                run.counts = {
                    "runs": gone.runs,
                    "changes": gone.changes,
                    "began_before": gone.began_before.isoformat(),
                }
                bar(gone.runs)
        _show(writer, gone)
        return ended(run, Exit.DONE)


def _show(writer: Writer, found: Pruned) -> None:
    writer.write(Table("pruned", Pruned, [found], single=True))
    if found.kept_in_effect:
        note(
            "runs that stay, as what they did is still in effect: "
            f"{number(found.kept_in_effect)}. With --in-effect they go as well; then nobody can undo them, "
            "and repair home and contacts resume know of them no more"
        )
