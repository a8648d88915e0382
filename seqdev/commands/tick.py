"""``seqdev tick``."""

from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Annotated

import typer

from seqdev import schema
from seqdev import tick as ticks
from seqdev.claims import Decision, Policy
from seqdev.commands.options import App, DryRunOption, FormatOption, duration, ended, journaled
from seqdev.errors import Exit, UsageError
from seqdev.progress import progress
from seqdev.render import Format, Table
from seqdev.tick import Comparison, Limits, Summary


@dataclass(frozen=True)
class DryRun(Summary):
    """A dry run in JSON: the summary, and what each device would do."""

    devices: list[Decision]


def tick(
    ctx: typer.Context,
    policy: Annotated[
        Policy | None,
        typer.Option(help="What happens to contacts whose device is not available. [default: queue]"),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(min=1, max=100_000, help="Contacts in one transaction.")
    ] = 10_000,
    max_messages: Annotated[int | None, typer.Option(min=1, help="Messages to queue, at most.")] = None,
    budget: Annotated[
        timedelta,
        typer.Option(
            parser=duration, metavar="DURATION", help="Begin no new batch after this time. [default: 50s]"
        ),
    ] = timedelta(seconds=50),
    dry_run: DryRunOption = False,
    compare: Annotated[
        bool, typer.Option("--compare", help="Show what each policy would do, by device; read-only.")
    ] = False,
    output: FormatOption = Format.TABLE,
) -> int:
    """Queue the messages that are due. Meant for cron: overlapping runs are safe and need no lock.

    Prints one summary: due, queued, waiting by reason, ended, chained, failed sends reflected.
    """
    app: App = ctx.obj
    chosen = policy or _policy(app.settings.policy)
    database = app.database("tick")
    writer = app.writer(output)
    if compare:
        writer.write(Table("policies", Comparison, ticks.compare(database)))
        return Exit.DONE
    if dry_run:
        summary, decisions = ticks.plan(database, chosen)
        if output in (Format.JSON, Format.JSONL):
            writer.write(
                Table("summary", DryRun, [DryRun(**asdict(summary), devices=decisions)], single=True)
            )
        else:
            writer.write(
                Table("summary", Summary, [summary], single=True), Table("devices", Decision, decisions)
            )
        return Exit.DONE
    schema.require(database)
    with journaled(ctx, database, "tick") as run:
        with progress("contacts") as bar:
            summary = ticks.tick(run, chosen, Limits(batch_size, max_messages, budget), bar)
        writer.write(Table("summary", Summary, [summary], single=True))
        return ended(run, Exit.DONE)


def _policy(name: str) -> Policy:
    try:
        return Policy(name)
    except ValueError as error:
        raise UsageError(f"no policy {name!r}", f"known: {', '.join(Policy)}") from error
