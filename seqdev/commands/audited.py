"""What the commands of ``seqdev audit`` share: to look, to show what is found, and what comes next."""

import shlex
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer

from seqdev.audit import audit, then, view
from seqdev.audit.audit import Criteria, Kind, Result
from seqdev.audit.rows import WRITERS, Session
from seqdev.audit.summary import Summary
from seqdev.commands.following import advise, first_of
from seqdev.commands.options import App, listed
from seqdev.errors import Exit, UsageError
from seqdev.journal.past import Unknown
from seqdev.output.render import Format, Table, note
from seqdev.output.screen import Said
from seqdev.output.tables import for_people
from seqdev.output.tables import shown as fitted
from seqdev.output.text import is_unicode
from seqdev.output.words import are, counted
from seqdev.postgres.queries import Query

_LOOK_BACK = (
    *("seqdev repair assigned", "seqdev repair failed", "seqdev repair written-by-other"),
    *("seqdev audit writers", "seqdev audit contacts", "seqdev audit mismatches"),
)
"""Commands that look at a time, as the audits do that name them."""


@dataclass(frozen=True)
class Shown:
    """How an audit is to be shown."""

    output: Format
    limit: int | None
    everything: bool

    @property
    def rows(self) -> int | None:
        """Rows to list; None: all."""
        return listed(self.limit, self.everything)


def look(ctx: typer.Context, query: Query[Any], criteria: Criteria, shown: Shown) -> int:
    """Run the audit ``query`` and show what it finds: the exit code."""
    app: App = ctx.obj
    database = app.reading(f"audit {Path(query.path).stem}")
    unknown: list[Unknown] = []
    if criteria.at:
        criteria = ends_at(app, criteria)
        result, unknown = then.find(database, query, criteria)
    else:
        result = audit.find(database, query, criteria)
    tables: list[Table | Said] = [
        fitted(shown.output, result.name, result.query.row, result.rows),
        fitted(shown.output, "found", Kind, result.kinds),
    ]
    if criteria.at:
        tables.append(Table("cannot_be_known", Unknown, unknown))
    elif query is WRITERS:
        tables += _sessions(app, result.found, shown.output)
    if result.summary and for_people(shown.output) and not result.summary.is_empty:
        told = view.said(result.name, result.summary, app.clock, is_unicode(sys.stdout))
        tables.insert(0, told)
    elif result.summary and shown.output is Format.JSON:
        tables.append(Table("summary", Summary, [result.summary], single=True))
    app.writer(shown.output).write(*tables)
    say(result.found, result.over, len(result.rows), result.total)
    advise(shown.output, _following(result, criteria))
    return Exit.FINDINGS if result.found > result.over else Exit.DONE


def ends_at(app: App, criteria: Criteria) -> Criteria:
    """``criteria`` whose time ends at an instant of the past, in the zone that people see."""
    if criteria.window.until:
        raise UsageError("--until and --at do not go together", "--at is the end of the time looked at")
    return replace(criteria, window=replace(criteria.window, zone=app.clock.zone))


def _following(result: Result[Any], criteria: Criteria) -> str:
    """The command that goes on from what an audit has found, for as much of it as was looked at.

    Of the past none: what to do about it, an audit of now says.
    """
    if criteria.at:
        return ""
    command = first_of(list(view.advice(result)))
    window = criteria.window
    narrow: list[tuple[str, object]] = list(result.narrow.items())
    if command.startswith(_LOOK_BACK):
        if window.until and not command.startswith("seqdev audit"):
            return ""
        narrow += [("--since", window.since), ("--until", window.until)]
    elif not command.startswith("seqdev repair ") or command.startswith("seqdev repair device "):
        narrow = []
    return command + "".join(f" {option} {shlex.quote(str(one))}" for option, one in narrow if one)


def _sessions(app: App, found: int, output: Format) -> list[Table | Said]:
    """Whose sessions it could be, where messages are found; in JSON always."""
    if not (output is Format.JSON or (found and for_people(output))):
        return []
    sessions = audit.sessions(app.reading("audit writers"))
    hidden = sum(one.sessions for one in sessions if one.hidden)
    if hidden:
        note(
            f"of {counted(hidden, 'session')} this role may not see where they come from: "
            "a superuser can grant pg_read_all_stats to it"
        )
    if not sessions:
        note("no other program that may write messages is connected now")
    return [Table("sessions", Session, sessions)]


def say(found: int, over: int, listed: int = 0, total: int = 0) -> None:
    """The account on stderr: what was found, of what, what of it is over, and what is not listed."""
    text = f"{found:,} found" + (f" among {counted(total, 'row')}" if total and total != found else "")
    if over:
        text += f", of which {over:,} {are(over)} over: nothing has to be done"
    note(text + (f", {listed:,} shown: --limit, or --all" if listed < total else ""))
