"""Who would wait however long, and whatever device is online: data that a person has to put right.

What a tick would do, as of an instant at which every contact is due and no device is full; and the steps
that contacts may still come to.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta

from seqdev import gates
from seqdev.errors import Cancelled, PermissionRefused
from seqdev.output.words import are, counted
from seqdev.postgres.engine import Database
from seqdev.postgres.findings import Finding
from seqdev.postgres.queries import Query
from seqdev.postgres.transaction import Transaction
from seqdev.settings import Policy, Settings
from seqdev.tick.decisions import decide

FAR = timedelta(days=36_500)
"""From now: by then everybody is due."""

TIMEOUT = timedelta(seconds=30)
"""Longest run: a million people on their way take some ten seconds."""

_PAUSED = "paused"
_WAIT, _NOT_SENT = "contacts that wait", "steps that are not sent"


@dataclass(frozen=True)
class Unsent:
    """A row of ``probe/steps.sql``."""

    reason: str
    steps: int


STEPS = Query("probe/steps.sql", Unsent)


def look(database: Database) -> list[Finding]:
    """A finding for each reason, with the number of contacts or steps; or that there is none."""

    def work(transaction: Transaction) -> list[Finding]:
        settings = replace(transaction.settings.everybody(Policy.QUEUE), max_lateness=timedelta(0))
        return [*_steps(transaction, settings), *_contacts(transaction, settings)]

    try:
        return database.retry(
            work,
            read_only=True,
            statement_timeout=TIMEOUT,
        )
    except (PermissionRefused, Cancelled) as error:
        return [Finding(_WAIT, "ok", f"not looked at: {error.message}; seqdev audit all tells", None, None)]


def _contacts(transaction: Transaction, settings: Settings) -> Iterator[Finding]:
    waiting = Counter[str]()
    for decision in decide(transaction, settings, transaction.now + FAR, timed=False):
        waiting[decision.decision] += decision.contacts
    ready = waiting.pop("queue", 0)
    if not waiting:
        yield Finding(
            _WAIT, "ok", f"none of {ready:,} who are active for another reason than time", None, None
        )
    for reason, number in waiting.most_common():
        active = f"{counted(number, 'active contact')} {are(number, 'wait')}"
        why = (
            f"{active}, and are sent nothing however long that is; who they are:"
            " seqdev audit all, and what to do: seqdev explain PHONE"
        )
        if reason == _PAUSED:
            why = f"{active} until somebody resumes what is paused: seqdev audit all"
        yield Finding(f"{_WAIT}: {reason}", "advised", why, None, None)


def _steps(transaction: Transaction, settings: Settings) -> Iterator[Finding]:
    unsent = transaction.rows(STEPS, **gates.handed_to(STEPS, gates.steps(transaction, settings)))
    if not unsent:
        yield Finding(_NOT_SENT, "ok", "every step of an active sequence has something to send", None, None)
    for one in unsent:
        steps = f"{counted(one.steps, 'step')} of active sequences"
        why = f"{steps}: whoever comes there waits; see: seqdev audit sequences"
        if one.reason == _PAUSED:
            why = f"{steps} {are(one.steps)} paused: seqdev audit sequences"
        yield Finding(f"{_NOT_SENT}: {one.reason}", "advised", why, None, None)
