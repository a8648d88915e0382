"""The root command: global options, the commands, and the one boundary where errors become exit codes."""

import os
import signal
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.main
from typer._click.shell_completion import CompletionItem
from typer.core import TyperGroup

from seqdev import __version__, signals
from seqdev import settings as config
from seqdev.commands.group import Group, HelpContext
from seqdev.commands.options import App
from seqdev.errors import Exit, Interrupted, OutputError, ReaderGoneError, SeqdevError, code_of
from seqdev.output.render import note
from seqdev.output.text import escape_what_cannot_be_written
from seqdev.output.words import zone_named
from seqdev.url import refuse_secret

COMMANDS = {
    "enroll": "Enrol the leads whose triggers call for a sequence.",
    "tick": "Queue the messages that are due.",
    "audit": "Find what went wrong, and the repair that fits; read-only.",
    "explain": "Tell the story of one person, and what stops them.",
    "repair": "Correct what audits find.",
    "contacts": "Stop, resume or restart one person, skip a step.",
    "block": "Keep a list of phones that are never written to.",
    "leads": "Import leads, give them devices, merge those of one person.",
    "runs": "Show who ran what, newest first, and how it ended.",
    "journal": "Keep the journal of runs and changes from growing for ever.",
    "rules": "Show and set the rules that every host obeys.",
    "forecast": "What every device will have to send by day; read-only.",
    "stats": "Count people in sequences, and messages; read-only.",
    "metrics": "How the service does, as OpenMetrics text; read-only.",
    "top": "Watch the service; read-only.",
    "report": "One file about an incident, to attach to its ticket; read-only.",
    "pause": "Pause all commands that write, or one sequence, device or user.",
    "resume": "Lift the pause, or that of one sequence, device or user.",
    "db": "Check and upgrade the database; the embedded server.",
    "demo": "Show seqdev at work, in a scratch database.",
    "config": "Show every setting and rule, and where its value comes from.",
    "help": "Explain a topic: incident, policies, reasons, exit-codes, time-zones, rules.",
    "man": "Show the manual page of a command.",
    "completion": "Print what makes a shell complete commands, options and names.",
}
"""The commands, each a module of its name below ``seqdev.commands``, with the first sentence of its help:
what lists them all need not import them all."""


_OFFLINE = ("completion", "help", "man")


class Commands(Group):
    """The commands, imported one by one as they are asked for: a tick does not wait for the audits."""

    def list_commands(self, _: object) -> list[str]:
        """The names, in the order of the help."""
        return list(COMMANDS)

    def format_commands(self, _: object, formatter: Any) -> None:
        """The list of the help."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, ctx: Any, incomplete: str) -> list[CompletionItem]:
        """What can be typed where a command is due."""
        commands = [
            CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)
        ]
        # Not the group's own, which imports each.
        return commands + super(TyperGroup, self).shell_complete(ctx, incomplete)

    def get_command(self, _: object, cmd_name: str) -> Any:
        """The command or group ``cmd_name``; None where there is none."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"seqdev.commands.{cmd_name}")
        group = getattr(module, "app", None)
        if group is None:
            group = typer.Typer()
            group.command()(getattr(module, cmd_name))
        group.rich_markup_mode = None
        group._add_completion = False
        command = typer.main.get_command(group)
        command.name = cmd_name
        for one in (command, *getattr(command, "commands", {}).values()):
            one.context_class = HelpContext
        return command


app = typer.Typer(
    name="seqdev",
    cls=Commands,
    help="Enrol people into message sequences, process what is due, and find and repair what went wrong.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 done, 1 unexpected, 2 usage, 3 findings or refusals, 4 paused, 10 schema, "
    "12 permission, 13 unavailable, 14 stale plan, 128+n signal n.",
)


def _show_version(ctx: typer.Context, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        typer.echo(f"seqdev {__version__}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    database_url: Annotated[
        str | None,
        typer.Option(
            "--database-url",
            metavar="URL",
            help="Database to work on. Without it: SEQDEV_DATABASE_URL, PG* variables, the embedded server.",
        ),
    ] = None,
    config_file: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", envvar="SEQDEV_CONFIG", help="Configuration file (TOML)."),
    ] = None,
    schema: Annotated[
        str | None, typer.Option(metavar="NAME", help="Schema of the host's tables. [default: public]")
    ] = None,
    timezone: Annotated[
        str | None,
        typer.Option(metavar="ZONE", help="Time zone of naive timestamps. [default: the database's]"),
    ] = None,
    zone: Annotated[
        str | None,
        typer.Option(
            metavar="ZONE", help="Time zone in which tables show instants. [default: the terminal's]"
        ),
    ] = None,
    mask: Annotated[bool, typer.Option("--mask", help="Hide phones on screen.")] = False,
    _debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Global options; they stand before the command."""
    if ctx.invoked_subcommand in _OFFLINE:
        # These need no setting: one that is wrong is no reason to leave a person without help.
        ctx.obj = App(config.Settings())
        return
    typed = tuple(ctx.obj or ())
    if database_url:
        refuse_secret(database_url)
    flags = {
        **{"database_url": database_url, "schema": schema, "timezone": timezone, "shown_zone": zone},
        "mask": mask or None,
    }
    settings = config.load(config_file, os.environ, flags, note)
    zone_named(settings.shown_zone)
    ctx.obj = App(settings, typed)


def main(argv: list[str] | None = None) -> int:
    """Run the command line ``argv`` (default: the process's own) and return the exit code.

    The one error boundary: no exception leaves it, and no traceback is shown without ``--debug``.
    """
    arguments = sys.argv[1:] if argv is None else argv
    # Stderr does so by itself.
    escape_what_cannot_be_written(sys.stdout)
    caught: BaseException
    try:
        code = int(app(args=arguments, prog_name="seqdev", standalone_mode=False, obj=arguments) or 0)
        # Typer takes any KeyboardInterrupt for itself, and makes this of it.
        if code != 128 + signal.SIGINT or signals.received() is None:
            return code
        caught, failure, hint, exit_code = _interrupted()
    except SeqdevError as error:
        caught, failure, hint, exit_code = error, error.message, error.hint, code_of(error)
    except typer.TyperException as error:
        # Typer breaks some messages into lines.
        caught, failure, exit_code = error, " ".join(error.format_message().split()), error.exit_code
        context = getattr(error, "ctx", None)
        hint = f"see {context.command_path if context else 'seqdev'} --help"
    except (typer.Abort, KeyboardInterrupt):
        caught, failure, hint, exit_code = _interrupted()
    except ReaderGoneError as error:
        _forget_stdout()
        return code_of(error)
    except SystemExit:
        # Typer's answer when whoever reads the help has closed the pipe.
        return code_of(ReaderGoneError())
    except Exception as error:  # the boundary
        failure, hint = f"unexpected error: {type(error).__name__}", "run with --debug for more"
        caught, exit_code = error, int(Exit.UNEXPECTED)
        if isinstance(error, OSError) and _is_of_echo(error):
            caught = OutputError(f"stdout cannot be written: {error.strerror}")
            failure, hint = caught.message, ""
    signals.settle()
    if isinstance(caught, OutputError):
        _forget_stdout()
    if "--debug" in arguments:
        # Where SQLAlchemy was not loaded, no server has said anything.
        if "sqlalchemy" in sys.modules:
            import_module("seqdev.postgres.errors").without_values(caught)
        traceback.print_exception(caught)
    if failure:
        note(failure)
    if hint:
        note(hint)
    return exit_code


def _interrupted() -> tuple[BaseException, str, str, int]:
    """What has been caught, what to say of it, and the exit code."""
    number = signals.received()
    if number is None:
        return KeyboardInterrupt(), "interrupted", "", 128 + signal.SIGINT
    caught = Interrupted(number)
    return caught, signals.name(number), "", code_of(caught)


def _is_of_echo(error: OSError) -> bool:
    """Whether it was Typer that could not print: a help, the version."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return frame.f_code is typer.echo.__code__


def _forget_stdout() -> None:
    """What is still in the buffer would fail again when the process ends: let it go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
