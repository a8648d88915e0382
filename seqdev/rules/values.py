"""What the value of a rule can be, where the database has to be asked for that."""

from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from seqdev import gates, replies
from seqdev.errors import UsageError
from seqdev.phone import known_region
from seqdev.postgres.queries import Query
from seqdev.postgres.transaction import Transaction
from seqdev.settings import Rules, text_of, value_of


@dataclass(frozen=True)
class Role:
    """A row of ``rules/unread.sql``: a role that ticks, and may not read what a rule names."""

    role: str
    remedy: str


UNREAD = Query("rules/unread.sql", Role)


def kept(tx: Transaction, name: str, value: str) -> str:
    """``value`` as it is kept. Raises UsageError for what the rule cannot be."""
    if name == "zone" and value:
        value = _zone(tx, value)
    if name == "replies_from" and value:
        value = _inbox(tx, value)
    if name == "region" and value:
        value = known_region(value, "the rule region")
    given: dict[str, Any] = {name: value_of(name, value)}
    return text_of(name, replace(Rules(), **given))


def _zone(tx: Transaction, given: str) -> str:
    """The zone ``given`` as the server writes it. Raises UsageError for one that it does not know."""
    known = gates.zones(tx)["zones"].strip("{}").replace('"', "").split(",")
    names = {one.lower(): one for one in [*known, "recipient"]}
    if given.lower() not in names:
        alike = [names[one] for one in get_close_matches(given.lower(), names)]
        raise UsageError(
            f"rule zone cannot be {given!r}: the server knows no such time zone",
            f"did you mean {' or '.join(alike)}?" if alike else "give one such as Asia/Kuala_Lumpur",
        )
    return names[given.lower()]


def _inbox(tx: Transaction, given: str) -> str:
    """The table or view ``given`` with its schema. Raises UsageError where ticks could not read it."""
    found = replies.look(tx, tx.settings, given)
    if found.trouble:
        raise UsageError(
            f"rule replies_from cannot be {given!r}: {found.trouble}",
            "name a table or view with the columns phone, device_id and replied_at, as docs/hosts.md shows",
        )
    assert found.named
    if roles := tx.rows(UNREAD, named=found.named):
        ticking = " and ".join(one.role for one in roles)
        raise UsageError(
            f"rule replies_from cannot be {given!r}: ticks run as {ticking}, which may not read it",
            f"give the right first: {'; '.join(one.remedy for one in roles)}",
        )
    return found.named
