"""Leads: the import of a file of them, everything or nothing."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from uuid import UUID

from seqdev import gates, signals
from seqdev.errors import Refused
from seqdev.journal.runs import Run
from seqdev.leads.file import LeadFile
from seqdev.leads.rejects import RejectsFile
from seqdev.output.columns import Seconds, Verdict
from seqdev.output.tables import LISTED
from seqdev.phone import national
from seqdev.postgres.engine import Database
from seqdev.postgres.queries import Query
from seqdev.postgres.transaction import Transaction

_REPORT_EVERY = 1000


class Existing(StrEnum):
    """What happens to leads that the user has already."""

    SKIP = "skip"
    UPDATE = "update"


@dataclass(frozen=True)
class Device:
    """A row of ``leads/devices.sql``."""

    id: UUID
    name: str | None
    status: str | None
    gone: bool


@dataclass(frozen=True)
class Count:
    """A row of ``leads/counts.sql``: how many lines come to an outcome."""

    outcome: str
    rejected: bool
    lines: int


@dataclass(frozen=True)
class RejectedLine:
    """A row of ``leads/rejected.sql``."""

    line: int
    reason: str
    of_line: int | None
    raw: str | None


@dataclass(frozen=True)
class BlockedPeople:
    """The row of ``leads/blocked.sql``."""

    people: int


BLOCKED = Query("leads/blocked.sql", BlockedPeople)
STAGE: Query[None] = Query("leads/stage.sql", type(None))
OUTCOME: Query[None] = Query("leads/outcome.sql", type(None))
COPY: Query[None] = Query("leads/copy.sql", type(None))
JUDGE: Query[None] = Query("leads/judge.sql", type(None))
DEVICES = Query("leads/devices.sql", Device)
DISTRIBUTE: Query[None] = Query("leads/distribute.sql", type(None))
COUNTS = Query("leads/counts.sql", Count)
REJECTED = Query("leads/rejected.sql", RejectedLine)
INSERT: Query[None] = Query("leads/insert.sql", type(None))
UPDATE: Query[None] = Query("leads/update.sql", type(None))
DEVICE_GONE: Query[None] = Query("leads/device_gone.sql", type(None))


@dataclass(frozen=True)
class Target:
    """Whose the leads become, and which device owns those whose line names none.

    ``device``: that one; else ``devices``: evenly spread over these; else a line without device is rejected.
    """

    user: UUID
    device: UUID | None
    devices: Sequence[UUID]
    existing: Existing


@dataclass(frozen=True)
class Summary:
    """What an import did."""

    run_id: UUID | None
    """The run in the journal; null in a dry run."""
    dry_run: bool
    """Whether nothing was written."""
    read: int
    """Lines read: the sum of the next five, unless nothing was imported."""
    imported: int
    """New leads."""
    updated: int
    """Leads that the user had, and that were changed."""
    unchanged: int
    """Leads that had all that their line says."""
    skipped: int
    """Leads that the user had, left as they are."""
    rejected: int
    """Lines rejected."""
    reasons: Mapping[str, int]
    """Rejected lines, by reason."""
    blocked: int
    """People whose phone is blocked, of lines that are not rejected: nobody enrols them."""
    duration: Seconds
    """Seconds that the import took."""


@dataclass(frozen=True)
class Rejection:
    """A line that was rejected."""

    line: int
    """Number of the line."""
    reason: Verdict
    """Why, as one word."""
    of_line: int | None
    """For a duplicate: the line that has the phone first."""


@dataclass(frozen=True)
class Result:
    """The account of an import. ``refused``: nothing was imported, because of the lines in ``rejected``."""

    summary: Summary
    rejected: list[Rejection]
    refused: bool


@dataclass(frozen=True)
class Import:
    """What is to be imported. Rejected lines go to ``rejects``; without it, one of them stops the import."""

    file: LeadFile
    target: Target
    rejects: RejectsFile | None


def import_leads(
    database: Database, what: Import, run: Run | None, progress: Callable[[int], None] = lambda _: None
) -> Result:
    """Import ``what`` in one transaction, or without a ``run``: tell what that would do.

    ``progress`` is told the number of records read so far. Raises what ends ``run``: nothing is imported.
    """
    result: Result | None = None
    with run.work() if run else nullcontext():
        result = _import(database, what, run, progress)
    if not result:
        assert run
        assert run.ended
        raise run.ended
    if run:
        run.counts = _counts(result.summary)
    return result


def _import(database: Database, what: Import, run: Run | None, progress: Callable[[int], None]) -> Result:
    started = time.monotonic()
    file, target, rejects = what.file, what.target, what.rejects
    write = run is not None
    # No limit of time for a statement: the COPY lasts as long as the file does.
    with database.transaction(statement_timeout=timedelta(0), rollback=not write) as tx:
        # Nothing is written yet: no need to wait for anything.
        with signals.at_once():
            _stage(tx, file, rejects is not None, progress)
        tx.execute(
            JUDGE,
            user=target.user,
            device=target.device,
            distribute=bool(target.devices),
            existing=target.existing.value,
            **national(tx.settings.region),
        )
        if target.devices:
            tx.execute(DISTRIBUTE, user=target.user, devices=target.devices)
        counts = tx.rows(COUNTS)
        written = None
        while write and (rejects or not any(count.rejected for count in counts)):
            if written := _write(tx, target.user):
                break
            counts = tx.rows(COUNTS)
        reasons = {count.outcome: count.lines for count in counts if count.rejected}
        lines = {count.outcome: count.lines for count in counts if not count.rejected}
        blocked = tx.one(BLOCKED, user=target.user, **gates.blocked(tx, must=write)).people
        refused = bool(reasons) and rejects is None
        listed = tx.rows(REJECTED, most=LISTED) if refused else []
        planned = (0, 0) if refused else (lines.get("new", 0), lines.get("update", 0))
        imported, updated = written or planned
        # Before the commit: without its rejected lines an import is worth less than none.
        if rejects:
            rejects.write(_rejected_rows(tx, file))
            rejects.publish()
    summary = Summary(
        run_id=run.id if run else None,
        dry_run=not write,
        read=sum(count.lines for count in counts),
        imported=imported,
        updated=updated,
        unchanged=0 if refused else lines.get("unchanged", 0) + lines.get("update", 0) - updated,
        skipped=0 if refused else lines.get("skipped", 0) + lines.get("new", 0) - imported,
        rejected=sum(reasons.values()),
        reasons=reasons,
        blocked=blocked,
        duration=round(time.monotonic() - started, 3),
    )
    return Result(summary, [Rejection(one.line, one.reason, one.of_line) for one in listed], refused)


def _write(tx: Transaction, user: UUID) -> tuple[int, int] | None:
    """Leads inserted and updated; None: none yet, since a device is gone, whose lines are rejected now.

    What others did to these leads since they were judged, is left as it is.
    """
    tx.constraints_immediate()
    try:
        with tx.savepoint():
            return tx.execute(INSERT, user=user), tx.execute(UPDATE)
    except Refused:
        if not tx.execute(DEVICE_GONE):
            raise
        return None


def _stage(tx: Transaction, file: LeadFile, keep_cells: bool, progress: Callable[[int], None]) -> None:
    """Stream the records into a table that is gone at the end of the transaction."""
    tx.execute(STAGE)
    tx.execute(OUTCOME)
    with tx.copy(COPY) as copy:
        for number, line in enumerate(file, start=1):
            # JSON, because neither NUL nor bytes that are no UTF-8 can be text on the server.
            raw = json.dumps(line.cells) if keep_cells else None
            copy.write_row(
                (line.line, line.phone, line.name, line.niche, line.trigger, line.device, line.reason, raw)
            )
            if number % _REPORT_EVERY == 0:
                progress(number)


def _rejected_rows(tx: Transaction, file: LeadFile) -> Iterator[Sequence[object]]:
    yield ["line", "reason", *file.headers]
    for one in tx.stream(REJECTED, most=None):
        reason = f"{one.reason} of line {one.of_line}" if one.of_line else one.reason
        yield [one.line, reason, *json.loads(one.raw or "[]")]


def _counts(summary: Summary) -> dict[str, object]:
    return {
        "read": summary.read,
        "imported": summary.imported,
        "updated": summary.updated,
        "unchanged": summary.unchanged,
        "skipped": summary.skipped,
        "rejected": summary.rejected,
    }
