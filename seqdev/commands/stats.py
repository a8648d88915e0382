"""``seqdev stats``."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

import typer

from seqdev.commands.options import (
    AllOption,
    App,
    FormatOption,
    LimitOption,
    UntilOption,
    UserOption,
    listed,
    since_option,
    window_of,
)
from seqdev.errors import Exit
from seqdev.moments import Moment
from seqdev.output.columns import Named
from seqdev.output.render import Format, Table, note
from seqdev.output.tables import for_people, made, published
from seqdev.stats import stats as numbers
from seqdev.stats.stats import Asked, By, Numbers, Totals

_ALWAYS = ("enrolled", "waiting", "sent", "failed")
_COUNTS = (
    *("enrolled", "waiting", "due", "queued", "sent", "failed", "replied", "ended", "stopped"),
    *("other", "other_messages"),
)
"""Numbers as people see them, the most wanted first; those that are zero everywhere only if always wanted."""


def stats(
    ctx: typer.Context,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="WHAT,…", help=f"A line for each: {', '.join(By)}, or several of them: device,day."
        ),
    ] = None,
    since: Annotated[Moment | None, since_option("What was", "with day: 7d")] = None,
    until: UntilOption = None,
    user: UserOption = None,
    sequence: Annotated[
        str | None, typer.Option(metavar="NAME|ID", help="Only this sequence (name, id or prefix).")
    ] = None,
    device: Annotated[
        str | None, typer.Option(metavar="NAME|ID", help="Only this device (name, id or prefix).")
    ] = None,
    limit: LimitOption = None,
    show_all: AllOption = False,
    output: FormatOption = Format.TABLE,
) -> int:
    """Count people in sequences, and messages; read-only.

    People, once in each sequence: enrolled, and of these waiting (a step is to come), stopped, ended, and
    other, whose status no rule names. Rows that are due. Messages of sequences: queued, sent, failed, other.
    With a window: messages made in it, and people whose last step was done in it.
    """
    app: App = ctx.obj
    asked = Asked(
        by=_by(by),
        window=window_of(ctx, since, until),
        user=user,
        sequence=sequence,
        device=device,
        limit=listed(limit, show_all),
    )
    found = numbers.count(app.reading("stats"), asked)
    totals = Totals(**(found[0].found if found else dict.fromkeys(Totals.__dataclass_fields__, 0)))
    if for_people(output):
        app.writer(output).write(_for_people(found, totals, asked.by))
    else:
        app.writer(output).write(
            published("numbers", Numbers, found), Table("total", Totals, [totals], single=True)
        )
    if found and len(found) < found[0].total:
        note(f"{found[0].total:,} lines, {len(found)} shown: --limit, or --all")
    return Exit.DONE


def _by(text: str | None) -> list[By]:
    """What was asked for; a step is named with its sequence."""
    try:
        asked = [By(one.strip().lower()) for one in text.split(",")] if text is not None else []
    except ValueError:
        raise typer.BadParameter(
            f"--by {text!r} is not among: {', '.join(By)}; several with commas between them"
        ) from None
    if By.STEP in asked:
        asked.append(By.SEQUENCE)
    return [one for one in By if one in asked]


def _for_people(found: Sequence[Numbers], totals: Totals, by: Sequence[By]) -> Table:
    """A line for each group, and one of all; without groups the numbers below one another."""
    counts = [name for name in _COUNTS if getattr(totals, name) or name in _ALWAYS]
    counts = [name for name in counts if getattr(totals, name) is not None]
    kinds: dict[str, Any] = {one.value: _KINDS.get(one, str) for one in by} | dict.fromkeys(counts, int)
    numbers = [getattr(totals, name) for name in counts]
    if not by:
        return replace(made("numbers", kinds, [numbers]), single=True)
    rows = [[*(_cell(one, name) for name in by), *(getattr(one, name) for name in counts)] for one in found]
    return made("numbers", kinds, [*rows, ["all", *[None] * (len(by) - 1), *numbers]])


_KINDS = {By.SEQUENCE: Named, By.DEVICE: Named, By.STEP: int}


def _cell(one: Numbers, by: By) -> Any:
    """What a line is about, also where that is nothing."""
    if by in (By.SEQUENCE, By.DEVICE):
        identity = getattr(one, f"{by}_id")
        return "(none)" if identity is None else Named(getattr(one, by), identity)
    if by is By.STEP:
        return "(none)" if one.step_id is None else "(gone)" if one.step is None else one.step
    value = str(one.user_id)[:8] if by is By.USER and one.user_id else getattr(one, _FIELDS.get(by, by))
    return "(none)" if value is None else value


_FIELDS = {By.USER: "user_id"}
