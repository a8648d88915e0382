"""Enrolment: leads whose triggers call for a sequence get the row of its entry step."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

from seqdev import gates
from seqdev.enroll.people import portions, same_persons
from seqdev.enroll.rows import (
    APPLY,
    PICK,
    PLAN,
    SEQUENCES,
    SHARE_LIST,
    Enrolment,
    Picked,
    Refusal,
    Target,
    Unmatched,
    Verdict,
)
from seqdev.errors import Cancelled
from seqdev.journal.runs import Run
from seqdev.output.text import Phone
from seqdev.phone import national
from seqdev.postgres.bisect import Divisible, Found, bisect
from seqdev.postgres.engine import Database
from seqdev.postgres.transaction import Transaction

BATCH = 10_000
"""Leads looked at in one transaction."""

MANY = 100
"""Leads that the database refuses, at which an enrolment ends, if they are more than those it takes."""

_FIRST = UUID(int=0)
_UNLIMITED = 2**31 - 1
_NOT_REFUSED = {"enrolled", "already_in", "over_limit"}


@dataclass(frozen=True)
class _EnrolledBatch:
    """What came of a batch. ``reasons``: why the database refused leads; ``whole``: all were tried."""

    rows: list[Verdict]
    last: UUID | None
    looked_at: int
    reasons: Sequence[str] = ()
    complete: bool = True


@dataclass(frozen=True)
class Selection:
    """Whom to look at. ``phones``: as they were typed, any number of them; None: everybody."""

    sequences: Sequence[UUID] = ()
    user: UUID | None = None
    device: UUID | None = None
    phones: Iterable[str] | None = None
    limit: int | None = None
    listed: int | None = 20
    """Refused leads to name; None: all."""


@dataclass
class Result:
    """The account of an enrolment."""

    targets: Sequence[Target]
    counts: dict[UUID, Counter[str]] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    unmatched: list[Unmatched] = field(default_factory=list)
    missing: int = 0
    """Phones asked for that no lead has."""
    asked: int = 0
    """Phones asked for by name."""
    looked_at: int = 0
    enrolled: int = 0
    refused: int = 0
    over_limit: bool = False
    reasons: Counter[str] = field(default_factory=Counter)
    """Why the database refused leads."""
    stopped: bool = False
    """Whether the database refused so many that the others were not tried."""
    run: UUID | None = None
    """The run, for the journal of who enters again; None: nothing is written."""

    def enrolments(self) -> Iterator[Enrolment]:
        """One row a sequence."""
        for target in self.targets:
            count = self.counts.get(target.id, Counter())
            refused = sum(number for verdict, number in count.items() if verdict not in _NOT_REFUSED)
            yield Enrolment(
                sequence=target.name,
                sequence_id=target.id,
                matched=count.total(),
                enrolled=count["enrolled"],
                already_in=count["already_in"],
                refused=refused,
            )


def enroll(
    database: Database,
    selection: Selection,
    run: Run | None,
    progress: Callable[[Result], None] = lambda _: None,
) -> Result:
    """Enrol all in ``selection`` who match, or without a ``run``: tell, read-only, what that would do.

    Works in transactions of BATCH leads, fewer where the server cancels that; ended at any point, a second
    run goes on where the first stopped, because everybody enrolled is found already in. A lead that the
    database refuses is refused, and the others go on.
    """
    targets = database.retry(
        lambda tx: tx.rows(
            SEQUENCES,
            sequences=selection.sequences,
            user=selection.user,
            **gates.needed_by(SEQUENCES, tx, tx.settings),
        ),
        read_only=True,
    )
    result = Result(targets, run=run.id if run else None)
    with run.work() if run else nullcontext():
        _process(database, selection, result, run is not None, progress)
    if run:
        run.counts = {"matched": result.looked_at, "enrolled": result.enrolled, "refused": result.refused}
    return result


def _process(
    database: Database, selection: Selection, result: Result, write: bool, progress: Callable[[Result], None]
) -> None:
    names = {target.id: target.name for target in result.targets}
    for portion in portions(database, selection.phones, BATCH, selection.user, selection.device):
        result.asked += portion.asked
        result.missing += len(portion.missing)
        shown = None if selection.listed is None else max(0, selection.listed - len(result.unmatched))
        result.unmatched += [Unmatched("--phones", Phone(one), None) for one in portion.missing[:shown]]
        if portion.asked and not portion.leads:
            continue
        about: dict[str, Any] = {
            "sequences": selection.sequences,
            "user": selection.user,
            "device": selection.device,
            "leads": portion.leads,
        }
        about |= same_persons(database, about)
        for did in _batches(database, about, selection, result, write):
            _add(result, did, names, selection)
            progress(result)
        if result.over_limit or result.stopped:
            break


def _batches(
    database: Database, about: Mapping[str, Any], selection: Selection, result: Result, write: bool
) -> Iterator[_EnrolledBatch]:
    """What comes of the leads, a batch at a time, until nobody is left or ``result`` is to hold no more."""
    batch = BATCH
    after = _FIRST
    while True:
        given = {
            **about,
            "after": after,
            "batch": batch,
            "most": _UNLIMITED if selection.limit is None else selection.limit - result.enrolled,
            "listed": BATCH if selection.listed is None else max(0, selection.listed - len(result.refusals)),
        }
        work = partial(_batch, write=write, given=given, result=result)
        try:
            did = database.retry(work, read_only=not write)
        except Cancelled:
            if batch == 1:
                raise
            batch = batch // 2
            continue
        yield did
        if did.looked_at < batch or did.last is None or result.over_limit or result.stopped:
            return
        after = did.last


def _batch(transaction: Transaction, write: bool, given: Mapping[str, Any], result: Result) -> _EnrolledBatch:
    settings = transaction.settings
    if write:
        transaction.one(SHARE_LIST)
    given = {
        **given,
        "waiting": settings.waiting_statuses,
        **national(settings.region),
        **gates.blocked(transaction, must=write),
        **gates.again(transaction, settings, given),
        **gates.needed_by(APPLY if write else PLAN, transaction, settings),
    }
    if not write:
        rows = transaction.rows(PLAN, **given)
        return _EnrolledBatch(rows, rows[0].last, rows[0].looked_at)
    transaction.constraints_immediate()
    given |= {"run": result.run, "done": settings.done_statuses}
    leads = _Leads(transaction, given, result)
    found = bisect(transaction, leads)
    rows = [row for rows in found.done for row in rows]
    if not leads.picked:
        # Refused, and gone when they were looked for: there are no more.
        return _EnrolledBatch(rows, rows[0].last, rows[0].looked_at) if rows else _EnrolledBatch([], None, 0)
    if found.refused:
        rows += leads.part([lead for lead, _ in found.refused], refused=True)
    reasons = [why for _, why in found.refused]
    return _EnrolledBatch(rows, leads.picked[-1].lead_id, len(leads.picked), reasons, found.complete)


class _Leads(Divisible[Picked, list[Verdict]]):
    """The leads of a batch, to be enrolled; done: what was decided for them."""

    def __init__(self, transaction: Transaction, given: Mapping[str, Any], result: Result) -> None:
        self.picked: list[Picked] = []
        """The leads one by one, once the database has refused them together."""
        self._transaction = transaction
        self._given = given
        self._result = result
        self._enrolled = 0

    def whole(self) -> list[Verdict]:
        return self._transaction.rows(APPLY, now=self._transaction.now, **self._given)

    def items(self) -> list[Picked]:
        given = {name: self._given[name] for name in PICK.statement.parameters}
        self.picked = self._transaction.rows(PICK, **given)
        return self.picked

    def part(self, items: Sequence[Picked], refused: bool = False) -> list[Verdict]:
        most = self._given["most"] - self._enrolled
        only = {"after": _FIRST, "leads": [lead.lead_id for lead in items], "most": most}
        given = {**self._given, **only}
        rows = self._transaction.rows(APPLY, now=self._transaction.now, refused=refused, **given)
        self._enrolled += sum(row.people for row in rows if row.verdict == "enrolled")
        return rows

    def is_enough(self, found: Found[Picked, list[Verdict]]) -> bool:
        refused = self._result.reasons.total() + len(found.refused)
        return refused >= MANY and refused > self._result.enrolled + self._enrolled


def _add(result: Result, did: _EnrolledBatch, names: dict[UUID, str | None], selection: Selection) -> None:
    result.looked_at += did.looked_at
    result.reasons.update(did.reasons)
    result.stopped = not did.complete
    for row in did.rows:
        if row.sequence_id is None or row.verdict is None:
            continue
        result.counts.setdefault(row.sequence_id, Counter())[row.verdict] += row.people
        if row.verdict == "enrolled":
            result.enrolled += row.people
        elif row.verdict == "over_limit":
            result.over_limit = True
        elif row.verdict != "already_in":
            result.refused += row.people
            for lead, phone in zip(row.leads or (), row.phones or (), strict=True):
                if selection.listed is None or len(result.refusals) < selection.listed:
                    shown = Phone(phone) if phone is not None else None
                    result.refusals.append(Refusal(names[row.sequence_id], shown, row.verdict, lead))
