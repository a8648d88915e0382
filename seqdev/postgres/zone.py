"""The zone in which a host's naive timestamps are read: a fact of the database, kept there."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from seqdev.errors import UsageError
from seqdev.postgres.queries import Query
from seqdev.settings import Settings

if TYPE_CHECKING:
    from seqdev.postgres.transaction import Transaction

DEFAULT = "UTC"
"""Where no zone is kept with the database, and none is configured."""


@dataclass(frozen=True)
class Readable:
    """The row of ``postgres/kept.sql``: what is kept with the database and can be read, and is it Citus."""

    zone: bool
    rules: bool
    blocked: bool
    citus: bool


@dataclass(frozen=True)
class Zone:
    """The row of ``postgres/zone.sql`` and ``postgres/set_zone.sql``."""

    zone: str


READABLE = Query("postgres/kept.sql", Readable)
KEPT = Query("postgres/zone.sql", Zone)
SET = Query("postgres/set_zone.sql", Zone)


def kept(transaction: "Transaction") -> str | None:
    """The zone that is kept with the database; None: none is, or the role may not read it."""
    return _read(transaction) if transaction.one(READABLE).zone else None


def _read(transaction: "Transaction") -> str | None:
    rows = transaction.rows(KEPT)
    return rows[0].zone if rows else None


def keep(transaction: "Transaction", zone: str, who: str) -> str:
    """Keep ``zone`` with the database; the zone. Raises UsageError for one that the server does not know."""
    return transaction.one(SET, zone=zone, now=transaction.now, who=who).zone


def decide(transaction: "Transaction", settings: Settings, readable: bool) -> str:
    """The zone to read by. Raises UsageError where another is configured than is kept with the database."""
    given, found = settings.timezone, _read(transaction) if readable else None
    if found is None:
        return given or DEFAULT
    if given and given != found:
        raise UsageError(
            f"the time zone {given!r} is configured, and this database keeps {found!r}",
            f"leave the setting out; if it is the database that is wrong: seqdev db zone {given}",
        )
    return found
