"""``seqdev forecast``."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Any

import typer

from seqdev.commands.options import (
    MOST,
    AllOption,
    App,
    FormatOption,
    LimitOption,
    UserOption,
    duration,
    listed,
)
from seqdev.errors import Exit, UsageError
from seqdev.forecast import forecast as look
from seqdev.forecast import view
from seqdev.forecast.forecast import Question
from seqdev.forecast.world import LIMITS, Otherwise
from seqdev.journal import pause
from seqdev.output.render import Format, note
from seqdev.output.tables import for_people
from seqdev.settings import value_of

_HOUR = timedelta(hours=1)
_CHANGEABLE = ("policy", "window", *LIMITS, "max_lateness", "default_delay", "without_lead")
"""Rules that a forecast can be asked to take otherwise."""

_SHORTEST = timedelta(minutes=1)


def forecast(
    ctx: typer.Context,
    days: Annotated[
        int, typer.Option(min=1, max=92, help="How far to look: days of 24 hours, from now.")
    ] = 14,
    enroll: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SEQUENCE=PEOPLE",
            help="As if so many people were enrolled now, on the devices by their share of the user's leads; "
            "may be repeated.",
        ),
    ] = None,
    changed: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="RULE=VALUE",
            help=f"As if this rule were set, for everybody ({', '.join(_CHANGEABLE)}), and what that would "
            "change for each device; may be repeated.",
        ),
    ] = None,
    one_more_device: Annotated[
        bool,
        typer.Option(
            "--one-more-device",
            help="As if each user had one device more, and what that would change; it takes people of others,"
            " so under a policy that moves them.",
        ),
    ] = False,
    every: Annotated[
        timedelta,
        typer.Option(
            parser=duration,
            metavar="DURATION",
            show_default=False,
            help="Time from tick to tick: an hour, or a part of one. [default: 1m]",
        ),
    ] = _SHORTEST,
    user: UserOption = None,
    device: Annotated[
        str | None, typer.Option(metavar="NAME|ID", help="Only this device (name, id or prefix).")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Do not try what would help those who have to wait.")
    ] = False,
    limit: LimitOption = None,
    show_all: AllOption = False,
    output: FormatOption = Format.TABLE,
) -> int:
    """What every device will have to send by day; read-only.

    By the rules in force: when who is due, the room of each device, until when people wait for it, for which
    limit, and what would help. As if a tick ran every minute, the broadcast worker sent at once, nobody
    enrolled but those of --enroll, and devices, rules and sequences stayed as they are.
    """
    app: App = ctx.obj
    if every < _SHORTEST or _HOUR % every:
        raise UsageError("--every is to be an hour or a part of one: 1m, 5m, 10m, 15m, 30m, 1h", "see --help")
    as_it_is = Question(
        days=days, every=every, user=user, device=device, enroll=_people(enroll or ()), changes=not quick
    )
    rules = dict(_changed(text) for text in changed or ())
    limits = {
        name: "none" if value is None else str(value) for name, value in rules.items() if name in LIMITS
    }
    others = {name: value for name, value in rules.items() if name not in (*LIMITS, "window")}
    question = replace(as_it_is, otherwise=Otherwise(limits, rules.get("window"), one_more=one_more_device))
    database = app.reading("forecast")
    tried = replace(app, settings=app.settings.for_this_run(**others)).reading("forecast")
    found = look.forecast(tried, question)
    if rules or one_more_device:
        found = look.compared(found, look.forecast(database, replace(as_it_is, changes=False)))
    people = for_people(output)
    most = listed(limit, show_all)
    tables = view.for_people(found, most, app.clock) if people else view.published(found)
    app.writer(output).write(*tables)
    for line in view.account(found, question, app.clock):
        note(line)
    if most is not None and len(found.devices) > most and people:
        note(f"{most} of {len(found.devices)} devices shown: --limit, or --all")
    if paused := database.retry(pause.look, read_only=True):
        note(f"paused {paused.told(app.clock)}; this is as if it went on now")
    return Exit.DONE


def _people(asked: Sequence[str]) -> dict[str, int]:
    people: dict[str, int] = {}
    for text in asked:
        name, equals, number = text.rpartition("=")
        if not (equals and name and number.isascii() and number.isdigit() and 0 < int(number) <= MOST):
            raise UsageError(
                f"--enroll {text!r} is not SEQUENCE=PEOPLE", "for example: --enroll welcome=5000"
            )
        people[name] = people.get(name, 0) + int(number)
    return people


def _changed(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or name not in _CHANGEABLE:
        raise UsageError(
            f"--with {text!r} is not RULE=VALUE of a rule that can be tried",
            f"these can: {', '.join(_CHANGEABLE)}",
        )
    return name, value_of(name, value)
