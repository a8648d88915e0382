"""``seqdev metrics``."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from seqdev import files
from seqdev.commands.options import App
from seqdev.errors import Exit


class Label(StrEnum):
    """What the room of devices can be told by."""

    DEVICE = "device"


def metrics(
    ctx: typer.Context,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", metavar="FILE", help="Write to FILE, whole or not at all. [default: stdout]"
        ),
    ] = None,
    by: Annotated[
        list[Label] | None,
        typer.Option("--by", help="Tell the room of devices by device: a line for each."),
    ] = None,
) -> int:
    """How the service does, as OpenMetrics text; read-only.

    Backlog, who waits and why, room of devices, mismatches and failed messages of the last hour, the last
    tick, runs, and the pause. For the textfile collector of Prometheus' node exporter, and its kin.
    """
    from seqdev.metrics import service
    from seqdev.metrics.text import text

    app: App = ctx.obj
    if output:
        files.plain_file(output)
    found = text(service.measure(app.reading("metrics"), by_device=Label.DEVICE in (by or ())))
    if output:
        files.put(output, found)
    else:
        typer.echo(found, nl=False)
    return Exit.DONE
