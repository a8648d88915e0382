"""Who an enrolment is about: the leads of typed phones, and who is one person in several spellings."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import Any
from uuid import UUID

from seqdev import gates
from seqdev.phone import national, unwrapped
from seqdev.postgres.engine import Database
from seqdev.postgres.queries import Query
from seqdev.postgres.transaction import Transaction


@dataclass(frozen=True)
class AskedFor:
    """A row of ``enroll/find.sql``."""

    phone: str
    leads: list[UUID] | None


FIND = Query("enroll/find.sql", AskedFor)


@dataclass(frozen=True)
class Portion:
    """Leads to look at; none: all. ``asked``: phones they were found by; ``missing``: those without one."""

    leads: Sequence[UUID] = ()
    asked: int = 0
    missing: Sequence[str] = ()


def portions(
    database: Database, phones: Iterable[str] | None, size: int, user: UUID | None, device: UUID | None
) -> Iterator[Portion]:
    """The leads of ``phones``, ``size`` phones at a time; for None one portion, which stands for all."""
    if phones is None:
        yield Portion()
        return
    remaining = iter(phones)
    while typed := list(islice(remaining, size)):
        given = {"phones": [unwrapped(phone) for phone in typed], "user": user, "device": device}
        found = database.retry(partial(_find, given=given), read_only=True)
        leads = dict.fromkeys(chain.from_iterable(one.leads or () for one in found))
        missing = [phone for phone, one in zip(typed, found, strict=True) if not one.leads]
        yield Portion(list(leads), len(typed), missing)


def _find(tx: Transaction, given: Mapping[str, object]) -> list[AskedFor]:
    return tx.rows(FIND, **given, **national(tx.settings.region))


def same_persons(database: Database, given: Mapping[str, Any]) -> gates.Answers:
    """Which leads are refused since another is the same person, of those that ``given`` narrows it to."""

    def work(tx: Transaction) -> gates.Answers:
        return gates.persons(tx, tx.settings, {**given, "waiting": tx.settings.waiting_statuses})

    return database.retry(work, read_only=True)
