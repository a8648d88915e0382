"""A probe: people made for it enter every sequence and go through all its steps, and all is rolled back.

Nobody else ever sees them. It runs the very statements of ``enroll`` and ``tick``, so that whatever refuses
those (a unique index, a check constraint, a trigger, a rule) refuses the probe beforehand.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Generic, TypeVar
from uuid import UUID

from seqdev import gates, replies
from seqdev.enroll.rows import APPLY
from seqdev.errors import PermissionRefused, ReadOnly, Refused, SeqdevError, Unavailable
from seqdev.output.words import are, counted
from seqdev.parameters import window
from seqdev.postgres.bisect import Divisible, bisect
from seqdev.postgres.engine import Database
from seqdev.postgres.findings import Finding
from seqdev.postgres.queries import Query
from seqdev.postgres.transaction import Transaction
from seqdev.probe.waits import FAR
from seqdev.settings import Policy, Settings
from seqdev.tick.claims import CLAIM
from seqdev.tick.replied import STOP_REPLIED

MOST_SEQUENCES = 200
"""Sequences that people are made for."""

MOST_STEPS = 200
"""Steps that each of them goes through, at most."""

LOCK_TIMEOUT = timedelta(seconds=1)
"""Nobody is to wait behind a probe that waits itself."""

STATEMENT_TIMEOUT = timedelta(seconds=10)
"""Longest run of one of its statements."""

_NAMED = 3
_SWALLOWED = "a trigger of the host's keeps a row from being written, without an error"

T = TypeVar("T")


@dataclass(frozen=True)
class Risk:
    """A row of ``probe/risks.sql``."""

    table_name: str
    trigger_name: str
    function_name: str


@dataclass(frozen=True)
class Person:
    """A row of ``probe/make_leads.sql``."""

    lead_id: UUID
    sequence_id: UUID
    sequence_name: str | None


@dataclass(frozen=True)
class Due:
    """A row of ``probe/due.sql``."""

    contact_id: UUID
    device_id: UUID
    sequence_id: UUID
    sequence_name: str | None
    step_id: UUID
    day: int | None


@dataclass(frozen=True)
class Untried:
    """The row of ``probe/untried.sql``."""

    steps: int
    contacts: int


RISKS = Query("probe/risks.sql", Risk)
MAKE_LEADS = Query("probe/make_leads.sql", Person)
DUE = Query("probe/due.sql", Due)
UNTRIED = Query("probe/untried.sql", Untried)


@dataclass
class Probed:
    """What came of it. ``not_made`` says why there was none."""

    findings: list[Finding] = field(default_factory=list)
    not_made: str | None = None


def probe(database: Database, risk: bool) -> Probed:
    """Enrol and claim people made for it, and roll back.

    Without ``risk`` not where a trigger could do something that no rollback takes back.
    """
    if not risk:
        schema = database.settings.schema
        risks = database.retry(lambda tx: tx.rows(RISKS, schema=schema), read_only=True)
        if risks:
            first = risks[0]
            what = f"trigger {first.trigger_name} of {first.table_name} (function {first.function_name})"
            return Probed(
                not_made=f"{what} could do what no rollback takes back; --probe makes it all the same"
            )
    careful = copy(database)
    careful.settings = replace(
        database.settings, lock_timeout=min(LOCK_TIMEOUT, database.settings.lock_timeout)
    )
    made = _Probe(careful.settings)
    try:
        with careful.transaction(rollback=True, statement_timeout=STATEMENT_TIMEOUT) as transaction:
            made.run(transaction)
    except (PermissionRefused, ReadOnly, Unavailable) as error:
        return Probed(not_made=error.message)
    except SeqdevError as error:
        why = f"{error.message}; a command that does the same ends so, too"
        return Probed([Finding(f"probe: {made.stage}", "advised", why, None, None)])
    return Probed(made.findings())


class _Each(Divisible[T, None], Generic[T]):
    """Something that is done with each of ``items``."""

    def __init__(self, items: Sequence[T], work: Callable[[Sequence[T]], None]) -> None:
        self._items = items
        self._work = work

    def whole(self) -> None:
        self._work(self._items)

    def items(self) -> Sequence[T]:
        return self._items

    def part(self, items: Sequence[T]) -> None:
        self._work(items)


class _Probe:
    """One probe, in its transaction."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.refused: dict[tuple[str, str], list[str]] = {}
        """The steps that were refused, by what was tried and why."""
        self.stage = "a lead"
        self._sequences = self._claims = 0
        self._stopped: set[UUID] = set()
        """Sequences in which the person was refused, and does not go on."""
        self._untried = Untried(0, 0)

    def run(self, transaction: Transaction) -> None:
        transaction.constraints_immediate()
        steps = gates.steps(transaction, self._settings)
        people = self._made(transaction, steps)
        self._sequences = len(people)
        self.stage = "enrolment"
        entered = self._enrolled(transaction, steps, people)
        self._replied(transaction, steps, entered)
        self.stage = "claim"
        tried, steps_tried = set[UUID](), set[UUID]()
        for _ in range(MOST_STEPS):
            due = transaction.rows(
                DUE, leads=[person.lead_id for person in entered], **gates.handed_to(DUE, steps)
            )
            due = [one for one in due if one.contact_id not in tried]
            if not due:
                break
            tried |= {one.contact_id for one in due}
            steps_tried |= {one.step_id for one in due}
            self._claimed(transaction, steps, due)
        if not people and self.refused:
            return
        given = {"tried": steps_tried, "without": self._stopped, **gates.handed_to(UNTRIED, steps)}
        self._untried = transaction.one(UNTRIED, **given)

    def findings(self) -> list[Finding]:
        """What was refused, or that nothing was."""
        follows = {
            "a lead": "leads import adds no such lead; the probe ends here",
            "enrolment": "enroll refuses these people (refused_by_database)",
            "reply": "a tick cannot stop people here who have replied: they go on",
            "claim": "a tick sends nothing here, and quarantines the contacts",
        }
        found = [
            Finding(f"probe: {stage}", "advised", f"{reason}; {follows[stage]}: {_named(places)}", None, None)
            for (stage, reason), places in self.refused.items()
        ]
        if self._untried.steps:
            number = self._untried.contacts
            standing = f"{counted(number, 'active contact')} {are(number, 'stand')}"
            why = (
                f"{counted(self._untried.steps, 'step')}, at which {standing}:"
                " no step leads there from where their sequence is entered (see: seqdev audit sequences);"
                " what the database refuses there shows only when a tick comes to it"
            )
            found.append(Finding("probe: steps not tried", "advised", why, None, None))
        if found:
            return found
        if not self._sequences:
            why = "nothing to try: no active sequence has an entry step to send and a device of its user"
        else:
            entered = counted(self._sequences, "sequence")
            why = f"{entered} entered and {counted(self._claims, 'step')} claimed, and rolled back"
        return [Finding("probe: enrolment and claim", "ok", why, None, None)]

    def _made(self, transaction: Transaction, steps: gates.Answers) -> list[Person]:
        try:
            with transaction.savepoint():
                return transaction.rows(MAKE_LEADS, most=MOST_SEQUENCES, **gates.handed_to(MAKE_LEADS, steps))
        except Refused as refusal:
            self._note(refusal.reason, "every sequence")
            return []

    def _enrolled(self, transaction: Transaction, steps: gates.Answers, people: list[Person]) -> list[Person]:
        def enrol(some: Sequence[Person]) -> None:
            verdicts = transaction.rows(
                APPLY,
                now=transaction.now,
                leads=[person.lead_id for person in some],
                sequences=[person.sequence_id for person in some],
                most=len(people) ** 2,
                listed=0,
                waiting=self._settings.waiting_statuses,
                # Each is another person.
                same_leads=(),
                same_sequences=(),
                same_are_in=(),
                # And nobody's phone.
                blocked_digits=(),
                blocked_users=(),
                # Nor anybody who was there before.
                again_leads=(),
                again_sequences=(),
                **gates.handed_to(APPLY, steps),
            )
            enrolled = {one.sequence_id for one in verdicts if one.verdict == "enrolled"}
            if any(person.sequence_id not in enrolled for person in some):
                raise Refused(_SWALLOWED)

        if not people:
            return []
        refused = bisect(transaction, _Each(people, enrol)).refused
        for person, reason in refused:
            self._note(reason, person.sequence_name or str(person.sequence_id))
            self._stopped.add(person.sequence_id)
        without = {person for person, _ in refused}
        return [person for person in people if person not in without]

    def _replied(self, transaction: Transaction, steps: gates.Answers, people: list[Person]) -> None:
        """Where people leave when they reply, whether their rows may say so; nothing of it stays."""
        stops = replies.stops_on_reply(transaction, self._settings)
        if not stops.sequences or not people:
            return
        self.stage = "reply"
        leads = [person.lead_id for person in people]
        due = transaction.rows(DUE, leads=leads, **gates.handed_to(DUE, steps))
        due = [one for one in due if one.sequence_id in set(stops.sequences)]

        def stop(some: Sequence[Due]) -> None:
            transaction.execute(
                STOP_REPLIED,
                now=transaction.now,
                run=UUID(int=0),
                tables=["sequence_contacts"] * len(some),
                rows=[one.contact_id for one in some],
                ats=[transaction.now] * len(some),
                waiting=self._settings.waiting_statuses,
            )

        with transaction.undone():
            for one, reason in bisect(transaction, _Each(due, stop)).refused if due else []:
                self._note(reason, one.sequence_name or str(one.sequence_id))

    def _claimed(self, transaction: Transaction, steps: gates.Answers, due: list[Due]) -> None:
        devices = gates.devices(
            transaction,
            self._settings,
            Policy.QUEUE,
            gates.Asked(devices={one.device_id for one in due}, counted="no"),
        )
        given: Mapping[str, Any] = {
            **window(self._settings, transaction.now + FAR),
            **gates.handed_to(CLAIM, steps, devices),
            "oldest": "-infinity",
            "own": False,
            "waiting": self._settings.waiting_statuses,
            "done": self._settings.done_statuses,
        }

        def claim(some: Sequence[Due]) -> None:
            claims = transaction.rows(
                CLAIM,
                now=transaction.now,
                contacts=[one.contact_id for one in some],
                onto=[one.device_id for one in some],
                take=len(some),
                most=len(some),
                **given,
            )
            if any(one.swallowed for one in claims):
                raise Refused(_SWALLOWED)

        refused = bisect(transaction, _Each(due, claim)).refused
        self._claims += len(due) - len(refused)
        for one, reason in refused:
            self._note(reason, f"{one.sequence_name}, day {one.day}")
            self._stopped.add(one.sequence_id)

    def _note(self, reason: str, place: str) -> None:
        self.refused.setdefault((self.stage, reason), []).append(place)


def _named(places: list[str]) -> str:
    distinct = list(dict.fromkeys(places))
    more = f" and {len(distinct) - _NAMED} more" if len(distinct) > _NAMED else ""
    return ", ".join(distinct[:_NAMED]) + more
