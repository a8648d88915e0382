"""``seqdev report``."""

import sys
from datetime import datetime
from enum import StrEnum
from io import StringIO
from pathlib import Path
from typing import Annotated

import typer

from seqdev.commands.options import App, UntilOption, since_option, window_of
from seqdev.errors import Exit, OutputError, ReaderGoneError, UsageError
from seqdev.files import plain_file, put
from seqdev.moments import Moment
from seqdev.output.render import Format, Writer, note
from seqdev.output.words import Clock, number
from seqdev.report.evidence import Evidence, collect

_STDOUT = Path("-")


class ReportFormat(StrEnum):
    """In which form evidence is written."""

    HTML = "html"
    JSON = "json"


def report(
    ctx: typer.Context,
    since: Annotated[Moment | None, since_option("What happened", "1d")] = None,
    until: UntilOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            show_default=False,
            help="File to write; - is stdout. [default: stdout; on a terminal, of HTML, a new file]",
        ),
    ] = None,
    form: Annotated[ReportFormat, typer.Option("--format", help="Output format.")] = ReportFormat.HTML,
    show_phones: Annotated[
        bool, typer.Option("--show-phones", help="Show phones whole; without it their middle is hidden.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
) -> int:
    """One file about an incident, to attach to its ticket; read-only.

    A timeline, who was affected by cause, device and sequence, what is open and what is repaired, what was
    run and how to take it back, the capacity of the devices, rules, versions, and what the audits find: all
    of one instant. The file needs neither the network nor scripts. Names of people, texts of messages and
    reasons that people have given are never in it.
    """
    app: App = ctx.obj
    if output and output != _STDOUT:
        _require_new(output, force)
    masked = app.settings.mask or not show_phones
    evidence = collect(app.reading("report"), window_of(ctx, since, until), masked=masked)
    text = _html(evidence, app.clock) if form is ReportFormat.HTML else _json(evidence)
    if output is None and form is ReportFormat.HTML and sys.stdout.isatty():
        output = _named(app.clock.at(evidence.about.at))
        _require_new(output, force)
    if output is None or output == _STDOUT:
        _print(text)
    else:
        put(plain_file(output), text, 0o600)
        note(f"the report is in {output}: {number(len(text.encode()))} bytes")
    return Exit.DONE


def _html(evidence: Evidence, clock: Clock) -> str:
    # Here, and not above: its library is for whoever wants HTML.
    from seqdev.report.page import render

    return "".join(render(evidence, clock))


def _json(evidence: Evidence) -> str:
    text = StringIO()
    Writer(Format.JSON, out=text).write(*evidence.published())
    return text.getvalue()


def _named(at: datetime) -> Path:
    return Path(f"seqdev-report-{at:%Y%m%dT%H%M%S}.html")


def _require_new(path: Path, force: bool) -> None:
    if plain_file(path).exists() and not force:
        raise UsageError(f"{path} is there already", "name another file, or write over it with --force")


def _print(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError as error:
        raise ReaderGoneError from error
    except OSError as error:
        raise OutputError(f"stdout cannot be written: {error.strerror}") from error
