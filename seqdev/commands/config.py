"""``seqdev config``."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated
from uuid import UUID

import typer

from seqdev.commands.group import Group
from seqdev.commands.options import App, FormatOption
from seqdev.errors import Exit, SeqdevError, UsageError
from seqdev.output.columns import Named
from seqdev.output.render import Format, Table, note
from seqdev.output.tables import for_people
from seqdev.postgres import zone as zones
from seqdev.postgres.conninfo import LIBPQ_VARIABLES
from seqdev.postgres.engine import Database
from seqdev.postgres.rules import meant
from seqdev.postgres.transaction import Transaction
from seqdev.rules import rules
from seqdev.rules.rules import Target
from seqdev.settings import KEYS, RULES, Settings, text_of, value_of
from seqdev.url import without_secrets

app = typer.Typer(cls=Group, help="Show every setting and rule, and where its value comes from.")

_HIDDEN = "(hidden)"
_LIBPQ = (
    *LIBPQ_VARIABLES,
    "PGPASSWORD",
    "PGPASSFILE",
    "PGSERVICEFILE",
    "PGSSLMODE",
    "PGSSLROOTCERT",
    "PGOPTIONS",
)


@dataclass(frozen=True)
class Setting:
    """A setting of this host, or a rule of all."""

    name: str
    """The setting, the variable of libpq's, or the rule."""
    value: str
    """Its value; of what may be secret only as much as is none."""
    origin: str
    """Where the value comes from: an option, a variable, the configuration file, the database, a rule of the
    database, a column of the host's and whether it counts, or default."""
    scope: str
    """For whom it holds: host, which is this one; for rules all, user, sequence, device."""
    scope_name: str | None
    """Name of that sequence or device."""
    scope_id: UUID | None
    """Which user, sequence or device; null for host and all."""


@dataclass(frozen=True)
class SettingLine:
    """The same on a screen."""

    name: str
    value: str
    origin: str
    scope: str


@app.callback()
def _group() -> None:
    """What makes a group of one command."""


@app.command()
def show(
    ctx: typer.Context,
    changed: Annotated[bool, typer.Option("--changed", help="Only what is no default.")] = False,
    output: FormatOption = Format.TABLE,
) -> int:
    """Show every setting and rule, its value and its origin.

    Passwords are never shown. Where the database cannot be asked, the settings of the host are shown, and the
    exit code says why there are no rules.
    """
    application: App = ctx.obj
    settings = application.settings
    # What is configured may be what keeps other commands from working.
    database = Database(replace(settings, timezone=""), "config show", note, ruled=False)
    kept: str | None = None
    ruled: list[Setting] = []
    failure: SeqdevError | None = None
    try:
        kept, ruled = database.retry(_kept, read_only=True)
    except SeqdevError as error:
        failure = error
    found = [*_of_host(settings, kept), *ruled]
    shown = [one for one in found if not changed or one.origin != "default"]
    application.writer(output).write(_table(output, shown))
    for words in _contradictions(settings, ruled):
        note(words)
    if failure:
        note("the rules are not shown: the database could not be asked")
        raise failure
    return Exit.DONE


def _table(output: Format, found: list[Setting]) -> Table:
    """For people with whose it is in one column: most of them are of the host or of all."""
    if not for_people(output):
        return Table("settings", Setting, found)
    lines = [SettingLine(one.name, one.value, one.origin, _whose(one)) for one in found]
    return Table("settings", SettingLine, lines)


def _whose(one: Setting) -> str:
    """For whom a setting holds. Users have no name there."""
    if one.scope_id is None:
        return one.scope
    return (
        f"{one.scope} {str(one.scope_id)[:8] if one.scope == 'user' else Named(one.scope_name, one.scope_id)}"
    )


def _kept(tx: Transaction) -> tuple[str | None, list[Setting]]:
    """The zone that the database keeps, and its rules."""
    found = rules.listed(tx, Target()) if tx.one(zones.READABLE).rules else []
    found += rules.of_host(tx, Target(), found)
    origins = {"rule": "rule of the database"}
    return zones.kept(tx), [
        Setting(
            one.name, one.value, origins.get(one.source, one.source), one.scope, one.scope_name, one.scope_id
        )
        for one in found
    ]


def _of_host(settings: Settings, zone: str | None) -> Iterator[Setting]:
    """The settings of this host, and libpq's variables where they are set."""
    for name in KEYS:
        if name in RULES:
            continue
        origin = settings.origins.get(name, "default")
        value = _without_secret(name, text_of(name, settings))
        if name == "timezone" and zone:
            value, origin = zone, "the database"
        yield Setting(name, value, origin, "host", None, None)
    for name in _LIBPQ:
        if given := os.environ.get(name):
            yield Setting(name, _HIDDEN if name == "PGPASSWORD" else given, name, "host", None, None)


def _without_secret(name: str, value: str) -> str:
    if name == "database_url" and value:
        try:
            return without_secrets(value)[0]
        except UsageError:
            return f"{_HIDDEN} cannot be read"
    # Its arguments may be what opens the safe.
    return f"{value.split()[0]} …" if name == "password_command" and len(value.split()) > 1 else value


def _contradictions(settings: Settings, ruled: list[Setting]) -> Iterator[str]:
    """Rules that this host holds otherwise than the database, in words."""
    of_all = {one.name: one.value for one in ruled if one.scope == "all"}
    for name, where in settings.held.items():
        own = getattr(settings, name)
        if name in of_all and meant(own) != meant(value_of(name, of_all[name])):
            yield (
                f"{name} is {text_of(name, settings)!r} in {where}: commands that decide by it refuse, as "
                "every host obeys the database"
            )
