"""Ids as people type them: a unique prefix, or a name."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from uuid import UUID

from seqdev.errors import NotFound, UsageError
from seqdev.postgres.queries import Query
from seqdev.postgres.transaction import Transaction


@dataclass(frozen=True)
class Found:
    """A user, device or sequence that fits what was typed."""

    id: UUID
    name: str | None
    user_id: UUID


class Kind(Enum):
    """What can be looked up."""

    USER = Query("postgres/lookup/users.sql", Found)
    DEVICE = Query("postgres/lookup/devices.sql", Found)
    SEQUENCE = Query("postgres/lookup/sequences.sql", Found)


def resolve(transaction: Transaction, kind: Kind, text: str, user: UUID | None = None) -> UUID:
    """The id of the one that :func:`find` finds."""
    return find(transaction, kind, text, user).id


def find(transaction: Transaction, kind: Kind, text: str, user: UUID | None = None) -> Found:
    """The one ``kind`` (of ``user``, if given) whose id begins with ``text`` or that is named so.

    An exact id or name wins over prefixes. Raises NotFound for none, UsageError for more than one.
    """
    given: dict[str, object] = {"text": text}
    if kind is not Kind.USER:
        given["user"] = user
    found: Sequence[Found] = transaction.rows(kind.value, **given)
    exact = [one for one in found if str(one.id) == text.lower()] or [
        one for one in found if one.name == text
    ]
    found = exact or found
    noun = kind.name.lower()
    if not found:
        raise NotFound(
            f"no {noun} {text!r}", "give its id, the first four characters of it or more, or its name"
        )
    if len(found) > 1:
        named = "; ".join(f"{one.id} {one.name or ''}".strip() for one in found[:10])
        more = "; …" if len(found) > 10 else ""
        raise UsageError(f"{noun} {text!r} could be any of: {named}{more}", "give more of the id")
    return found[0]
