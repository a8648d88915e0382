"""``seqdev top``."""

import sys
from datetime import timedelta
from importlib.util import find_spec
from typing import Annotated

import typer

from seqdev.commands.options import (
    AllOption,
    App,
    FormatOption,
    LimitOption,
    UserOption,
    duration,
    listed,
)
from seqdev.errors import Exit, UsageError
from seqdev.output.render import Format, Table, note
from seqdev.output.screen import Said, width_of
from seqdev.output.tables import for_people
from seqdev.output.text import is_unicode
from seqdev.output.words import number
from seqdev.top import view
from seqdev.top.asking import Asking, Watched
from seqdev.top.rows import Device, Minute
from seqdev.top.top import look
from seqdev.top.view import DeviceLine, Service

_SHORTEST = timedelta(seconds=1)


def top(
    ctx: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="Print the page once, and end.")] = False,
    every: Annotated[
        timedelta,
        typer.Option(
            parser=duration,
            metavar="DURATION",
            show_default=False,
            help="How often to look anew; less often where the database is slow. [default: 2s]",
        ),
    ] = timedelta(seconds=2),
    user: UserOption = None,
    limit: LimitOption = None,
    show_all: AllOption = False,
    output: FormatOption = Format.TABLE,
) -> int:
    """Watch the service; read-only.

    The last tick, who has paused, the backlog, the last 60 minutes of ticks, who waits and why, and every
    device: its state, what is due, in flight, sent in an hour and a day of how many it may, and how long
    until its work is done. On a terminal the page is looked at anew every two seconds: press ? for the keys.
    With --once, with --limit or --all, with another format than table, or where stdout is no terminal, it is
    printed once.
    Asks by one connection, no statement for longer than ten seconds, and rests nine times as long as an
    answer has taken.
    """
    app: App = ctx.obj
    if every < _SHORTEST:
        raise UsageError("--every is a second or more", "for example: --every 5s")
    database = app.reading("top")
    once = once or limit is not None or show_all
    if not once and output is Format.TABLE and sys.stdin.isatty() and sys.stdout.isatty():
        if find_spec("textual") is None:
            raise UsageError(
                "the live screen needs Textual, which is not installed",
                "pip install 'seqdev[top]'; or, without it: seqdev top --once",
            )
        # Only here: it takes long to load.
        from seqdev.top.screen import watch

        watched = Watched(every, user, app.settings.mask, app.clock)
        return watch(Asking(database, watched))
    found = look(database, user)
    writer = app.writer(output)
    if not for_people(output):
        writer.write(
            Table("devices", Device, found.devices[:limit]),
            Table("service", Service, [view.service(found)], single=True),
            Table("minutes", Minute, found.minutes),
        )
        return Exit.DONE
    devices = [view.line(one, found.at) for one in found.devices[: listed(limit, show_all)]]
    lines = view.head(found, app.clock, is_unicode(sys.stdout), width_of(sys.stdout))
    writer.write(Said([*lines, ""], indent=view.INDENT), Table("devices", DeviceLine, devices))
    if len(found.devices) > len(devices):
        note(f"{number(len(found.devices))} devices, {len(devices)} shown: --limit, or --all")
    return Exit.DONE
