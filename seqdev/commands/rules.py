"""``seqdev rules``."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated

import typer

from seqdev.commands.asking import Question, confirm, somebody_is_there
from seqdev.commands.group import Group
from seqdev.commands.options import (
    AllOption,
    App,
    DryRunOption,
    FormatOption,
    LimitOption,
    WhyOption,
    YesOption,
    ended,
    journaled,
    listed,
)
from seqdev.errors import Exit
from seqdev.output.render import Format, note
from seqdev.output.tables import shown
from seqdev.output.words import counted
from seqdev.postgres import schema
from seqdev.postgres.transaction import Transaction
from seqdev.rules import rules
from seqdev.rules.rules import Change, PastChange, Rule

app = typer.Typer(cls=Group, help="Show and set the rules that every host obeys.")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The rule.")]
UserOption = Annotated[
    str | None, typer.Option("--user", metavar="NAME|ID", help="For this user (name, id or prefix).")
]
SequenceOption = Annotated[
    str | None, typer.Option("--sequence", metavar="NAME|ID", help="For this sequence.")
]
DeviceOption = Annotated[str | None, typer.Option("--device", metavar="NAME|ID", help="For this device.")]


@dataclass(frozen=True)
class _Ways:
    """How changes are shown and carried out."""

    yes: bool
    dry_run: bool
    why: str | None
    output: Format
    said: list[str] = field(default_factory=list)
    """What there is to say about the plan."""


@app.command("list")
def list_(
    ctx: typer.Context,
    user: UserOption = None,
    sequence: SequenceOption = None,
    device: DeviceOption = None,
    output: FormatOption = Format.TABLE,
) -> int:
    """Show every rule, its value and where it comes from.

    With --user, --sequence or --device: what holds for these, by the most specific rule.
    """
    application: App = ctx.obj
    database = application.reading("rules list", ruled=False)

    def work(tx: Transaction) -> list[Rule]:
        whose = rules.target(tx, user, sequence, device, beginning=True)
        found = rules.listed(tx, whose)
        return [*found, *rules.of_host(tx, whose, found)]

    found = database.retry(work, read_only=True)
    application.writer(output).write(shown(output, "rules", Rule, found))
    idle = [
        one.source.removesuffix(rules.NOT_COUNTED)
        for one in found
        if one.name in rules.TIMES and one.source.endswith(rules.NOT_COUNTED)
    ]
    if idle:
        note(rules.not_counted(idle))
    return Exit.DONE


@app.command()
def get(
    ctx: typer.Context,
    name: NameArgument,
    user: UserOption = None,
    sequence: SequenceOption = None,
    device: DeviceOption = None,
    output: FormatOption = Format.TABLE,
) -> int:
    """Show the value of a rule, and which rule decides.

    The most specific wins: the device's, its user's, that for all, else the default.
    """
    application: App = ctx.obj
    database = application.reading("rules get", ruled=False)
    found = database.retry(
        lambda tx: rules.listed(tx, rules.target(tx, user, sequence, device, beginning=True), name),
        read_only=True,
    )
    application.writer(output).write(replace(shown(output, "rule", Rule, found[:1]), single=True))
    return Exit.DONE


@app.command("set")
def set_(
    ctx: typer.Context,
    name: NameArgument,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="Its value; several with commas.")],
    user: UserOption = None,
    sequence: SequenceOption = None,
    device: DeviceOption = None,
    why: WhyOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    output: FormatOption = Format.TABLE,
) -> int:
    """Set a rule, for all or a part.

    It holds for every host from its next batch on; a more specific rule wins. Shows what it was and becomes.
    """

    ways = _Ways(yes, dry_run, why, output)

    def plan(tx: Transaction) -> list[Change]:
        whose = rules.target(tx, user, sequence, device)
        change = rules.planned(tx, name, whose, value)
        ways.said[:] = filter(None, [rules.ignored(tx, change, whose)])
        return [change]

    return _carry_out(ctx, "rules set", plan, ways)


@app.command()
def unset(
    ctx: typer.Context,
    name: NameArgument,
    user: UserOption = None,
    sequence: SequenceOption = None,
    device: DeviceOption = None,
    why: WhyOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    output: FormatOption = Format.TABLE,
) -> int:
    """Take a rule away.

    The next less specific one holds then, or the default.
    """

    def plan(tx: Transaction) -> list[Change]:
        return [rules.planned(tx, name, rules.target(tx, user, sequence, device), None)]

    return _carry_out(ctx, "rules unset", plan, _Ways(yes, dry_run, why, output))


@app.command()
def adopt(
    ctx: typer.Context,
    why: WhyOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    output: FormatOption = Format.TABLE,
) -> int:
    """Make this host's settings the rules of all hosts.

    For the rules that its configuration file and environment hold, which belong there no longer.
    """
    application: App = ctx.obj
    held = application.settings.held
    code = _carry_out(
        ctx,
        "rules adopt",
        lambda tx: rules.adopted(tx, application.settings),
        _Ways(yes, dry_run, why, output),
    )
    if held:
        note("once they are rules, they may be taken out of " + ", ".join(sorted(set(held.values()))))
    else:
        note("neither the configuration file nor the environment of this host holds a rule")
    return code


@app.command()
def history(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Only this rule.")] = None,
    limit: LimitOption = None,
    show_all: AllOption = False,
    output: FormatOption = Format.TABLE,
) -> int:
    """Show who has changed rules, when and what for."""
    application: App = ctx.obj
    database = application.reading("rules history", ruled=False)
    found = database.retry(lambda tx: rules.history(tx, name, listed(limit, show_all)), read_only=True)
    application.writer(output).write(shown(output, "history", PastChange, found))
    if not found:
        note("no such rule was ever set")
    elif len(found) < found[0].total:
        note(f"{found[0].total:,} changes, {len(found)} shown: --limit, or --all")
    return Exit.DONE


def _carry_out(
    ctx: typer.Context, command: str, make: Callable[[Transaction], Sequence[Change]], ways: _Ways
) -> int:
    """Plan what ``make`` makes, show it, ask, do it, show what was done."""
    application: App = ctx.obj
    database = application.database(command, ruled=False)
    if not ways.dry_run:
        schema.require(database)
    planned = database.retry(make, read_only=True)
    changes = [one for one in planned if one.old_value != one.new_value]
    for words in ways.said:
        note(words)
    table = shown(ways.output, "changes", Change, changes)
    writer = application.writer(ways.output)
    if ways.dry_run or not changes:
        writer.write(table)
        note(
            f"{counted(len(changes), 'rule')} would change"
            if changes
            else "nothing to do: all of it holds already"
        )
        return Exit.DONE
    if not ways.yes and somebody_is_there():
        application.writer(Format.TABLE, sys.stderr).write(shown(Format.TABLE, "changes", Change, changes))
    if not confirm(Question("Change this for every host?"), ways.yes):
        note("nothing was changed")
        return Exit.DONE
    with journaled(ctx, database, command, ways.why) as run:
        with run.work():
            database.retry(partial(rules.apply, run=run.id, changes=changes))
            run.counts = {"changed": len(changes)}
        if not run.ended:
            writer.write(table)
            note(f"done; to take it back: seqdev repair undo {run.id}")
        return ended(run, Exit.DONE)
