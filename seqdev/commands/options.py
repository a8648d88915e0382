"""What the commands share: the application behind a command, common options, the question before a write."""

import codecs
import re
import sys
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import BufferedReader, TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO, TypedDict
from uuid import UUID

import typer

from seqdev import moments
from seqdev.errors import UsageError
from seqdev.files import awaited, opened
from seqdev.moments import Moment, Window
from seqdev.output.render import Format, Writer, note
from seqdev.output.tables import LISTED
from seqdev.output.words import Clock, zone_named
from seqdev.settings import Settings, parse_duration

if TYPE_CHECKING:
    from seqdev.journal.runs import Run
    from seqdev.postgres.engine import Database

_ID = re.compile(r"(?=[0-9-]*[a-f])[0-9a-f-]{4,8}", re.IGNORECASE)
"""The beginning of an id. Digits alone could be a phone's."""
_MOST_DIGITS = 7


class _Reading(TypedDict):
    """How a file is read as text."""

    encoding: str
    errors: str
    newline: str


@dataclass(frozen=True)
class App:
    """What the global options say, handed to every command."""

    settings: Settings
    typed: tuple[str, ...] = ()
    """The whole command line."""
    instants: list[list[datetime]] = field(default_factory=list)
    """Of the last transaction of each database of the command. A database itself would stay open here."""
    noted: list[str] = field(default_factory=list)
    """What the databases of the command have said: each line once."""

    def database(self, command: str, ruled: bool = True) -> "Database":
        """The database for ``command``, which the server shows as its application name.

        ``ruled``: the command decides by the rules that are kept there.
        """
        # Not with the module: the help, and what is completed, are to be there at once.
        from seqdev.postgres.engine import Database

        database = Database(self.settings, command, self._note_once, ruled)
        self.instants.append(database.instants)
        return database

    def reading(self, command: str, ruled: bool = True) -> "Database":
        """The database for a ``command`` that only reads: SchemaError where that would run code of others.

        What the upgrade has not made yet is empty to it.
        """
        from seqdev.postgres import schema

        database = self.database(command, ruled)
        schema.require_trusted(database)
        database.stand_in()
        return database

    def _note_once(self, words: str) -> None:
        if words not in self.noted:
            self.noted.append(words)
            note(words)

    def writer(self, output: Format, out: TextIO | None = None) -> Writer:
        """The writer of this command's output, to ``out`` (default stdout)."""
        return Writer(output, self.settings.mask, out, self.clock)

    @property
    def clock(self) -> Clock:
        """The zone in which instants are shown, and the server's now. Raises UsageError for no such zone."""
        return Clock(zone_named(self.settings.shown_zone), self._now)

    def _now(self) -> datetime:
        """The instant of the last transaction, by the server's clock; where there was none, by ours."""
        return next((one[0] for one in reversed(self.instants) if one), datetime.now(UTC))


def duration(text: str | timedelta) -> timedelta:
    """``90s``, ``15m``, ``1h``, ``2d`` of an option as a timedelta; a default is one already."""
    if isinstance(text, timedelta):
        return text
    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def moment(text: str | Moment) -> Moment:
    """``2h``, ``yesterday``, ``14:30``, ``2026-11-26 14:30`` of an option as a Moment."""
    if isinstance(text, Moment):
        return text
    try:
        return moments.moment(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def since_option(meaning: str, default: str = "") -> Any:
    """The option ``--since`` of a command: what ``meaning`` says, from then on; without it ``default``."""
    shown = f" [default: {default}]" if default else ""
    return typer.Option(
        "--since",
        parser=moment,
        metavar="WHEN",
        show_default=False,
        help=f"{meaning} from then on: 90m, 1w, yesterday, 14:30, 2026-11-26.{shown}",
    )


def window_of(ctx: typer.Context, since: Moment | None, until: Moment | None = None) -> Window:
    """The time that was typed, by the clock that people see."""
    app: App = ctx.obj
    return Window(since, until, app.clock.zone)


MOST = 2**31 - 1
"""The most of anything that can be asked for: what the server's integers hold."""

FormatOption = Annotated[Format, typer.Option("--format", help="Output format.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do it without asking.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only show what would be done; read-only.")]
UntilOption = Annotated[
    Moment | None,
    typer.Option(
        "--until",
        parser=moment,
        metavar="WHEN",
        help="And before that, written alike. [default: now]",
    ),
]
AtOption = Annotated[
    Moment | None,
    typer.Option(
        "--at",
        parser=moment,
        metavar="WHEN",
        help="How it stood then, as far as the journal and the rows tell: 2h, yesterday 14:30.",
    ),
]
UserOption = Annotated[
    str | None, typer.Option("--user", metavar="NAME|ID", help="Only this user (name, id or prefix).")
]
LimitOption = Annotated[
    int | None,
    typer.Option("--limit", min=1, max=MOST, metavar="N", help=f"Rows to list, at most. [default: {LISTED}]"),
]
AllOption = Annotated[bool, typer.Option("--all", help="List all rows (--limit still bounds them).")]


def listed(limit: int | None, show_all: bool) -> int | None:
    """How many rows to list, by what was typed; None: all."""
    return limit or (None if show_all else LISTED)


def reason_of(why: str) -> str:
    """What was typed as the reason, on one line. Raises UsageError where it says nothing."""
    if not (words := " ".join(why.split())):
        raise UsageError("--why is empty", "say what for: it is all that others get to know")
    return words


WhyOption = Annotated[
    str | None,
    typer.Option(
        "--why", metavar="TEXT", parser=reason_of, help="What for: kept in the journal, seqdev runs shows it."
    ),
]
RequiredWhyOption = Annotated[
    str,
    typer.Option(
        "--why",
        metavar="TEXT",
        parser=reason_of,
        help="What for: kept with what is stopped, and in the journal.",
    ),
]


@contextmanager
def journaled(
    ctx: typer.Context, database: "Database", command: str, why: str | None = None
) -> Iterator["Run"]:
    """A run of ``command`` in the journal, and what it is ``for``: see ``runs.journaled``."""
    from seqdev.journal import runs

    with runs.journaled(database, command, runs.Purpose(arguments(ctx), why)) as run:
        yield run


def ended(run: "Run | None", code: int) -> int:
    """The exit code of a command, which the journal gets too."""
    if run:
        run.exit_code = int(code)
    return code


def arguments(ctx: typer.Context) -> str:
    """The options that were typed, global ones included, as the journal keeps them.

    Values are kept that can be nothing but harmless: words that the option itself lists, durations, small
    numbers, ids. Any other is ``…``: it could be a phone, a file, a password.
    """
    words: list[str] = []
    root = ctx.find_root()
    for context in [root] if root is ctx else [root, ctx]:
        for parameter in context.command.params:
            name = parameter.name or ""
            source = context.get_parameter_source(name)
            if source is None or source.name != "COMMANDLINE":
                continue
            value = context.params.get(name)
            option = max(parameter.opts, key=len) if parameter.param_type_name == "option" else None
            for one in value if isinstance(value, list | tuple) else [value]:
                words += [option] if option else []
                if not isinstance(one, bool):
                    listed = hasattr(parameter.type, "choices")
                    words.append(str(one) if listed else _harmless(one))
    return " ".join(words)


def _harmless(value: object) -> str:
    if isinstance(value, timedelta):
        return f"{int(value.total_seconds())}s"
    if isinstance(value, Moment):
        return str(value)
    if (isinstance(value, int) and len(str(value)) <= _MOST_DIGITS) or _is_id(value):
        return str(value)
    return "…"


def _is_id(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        return str(UUID(value)) == value.lower()
    except ValueError:
        return _ID.fullmatch(value) is not None


@contextmanager
def open_input(name: str) -> Iterator[TextIO]:
    """The text file ``name``, or stdin for ``-``: UTF-8, or the UTF-16 that Excel writes, with its mark.

    What is neither becomes surrogates, which no text has. Raises UsageError when it cannot be read.
    """
    if name == "-":
        if isinstance(sys.stdin, TextIOWrapper) and isinstance(sys.stdin.buffer, BufferedReader):
            awaited(sys.stdin.buffer, "stdin", note)
            sys.stdin.reconfigure(**_reading(sys.stdin.buffer))
        yield sys.stdin
        return
    with ExitStack() as stack:
        try:
            file = stack.enter_context(opened(Path(name), note))
            text = stack.enter_context(TextIOWrapper(file, **_reading(file)))
        except OSError as error:
            raise UsageError(f"cannot read {name}: {error.strerror}") from error
        yield text


def _reading(file: BufferedReader) -> _Reading:
    """How the text in ``file`` is to be read, by its first bytes."""
    if file.peek(2)[:2] in (BOM_UTF16_LE, BOM_UTF16_BE):
        return _Reading(encoding="utf-16", errors=_to_surrogate.__name__, newline="")
    return _Reading(encoding="utf-8-sig", errors="surrogateescape", newline="")


def _to_surrogate(error: UnicodeError) -> tuple[str, int]:
    """What stands for bytes that are no UTF-16."""
    assert isinstance(error, UnicodeDecodeError)
    return "\udcff", error.end


codecs.register_error(_to_surrogate.__name__, _to_surrogate)
