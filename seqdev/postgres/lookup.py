"""What people type for a user, a device or a sequence: an id or its beginning, or a name."""

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


@dataclass(frozen=True)
class Near:
    """A row of ``postgres/lookup/near.sql``: a name that is like what was typed."""

    name: str


class Kind(Enum):
    """What can be looked up."""

    USER = Query("postgres/lookup/users.sql", Found)
    DEVICE = Query("postgres/lookup/devices.sql", Found)
    SEQUENCE = Query("postgres/lookup/sequences.sql", Found)


NEAR = Query("postgres/lookup/near.sql", Near)


def resolve(
    transaction: Transaction, kind: Kind, text: str, user: UUID | None = None, *, beginning: bool = False
) -> UUID:
    """The id of the one that :func:`find` finds."""
    return find(transaction, kind, text, user, beginning=beginning).id


def find(
    transaction: Transaction, kind: Kind, text: str, user: UUID | None = None, *, beginning: bool = False
) -> Found:
    """The one ``kind`` (of ``user``, if given) that ``text`` names.

    An id wins over a name, a name over the same name in another case, and that over the beginning of an id.
    With ``beginning`` the beginning of a name will do where only one has it: for what only reads. What writes
    wants whole names, or a script would mean another device as soon as one of that very name is made.
    Raises NotFound for none, with the names that are nearest, UsageError for more than one.
    """
    given: dict[str, object] = {"text": text}
    if kind is not Kind.USER:
        given |= {"user": user, "beginning": beginning}
    found: Sequence[Found] = transaction.rows(kind.value, **given)
    noun = kind.name.lower()
    if not found:
        raise NotFound(f"no {noun} {text!r}", _advice(transaction, kind, text, user))
    if len(found) > 1:
        named = "; ".join(f"{one.id} {one.name or ''}".strip() for one in found[:10])
        more = "; …" if len(found) > 10 else ""
        raise UsageError(f"{noun} {text!r} could be any of: {named}{more}", "give more of the id")
    return found[0]


def _advice(transaction: Transaction, kind: Kind, text: str, user: UUID | None) -> str:
    """What to type instead."""
    if kind is Kind.USER:
        return "give its id, or the first four characters of it or more"
    near = [repr(one.name) for one in transaction.rows(NEAR, text=text, kind=kind.name.lower(), user=user)]
    if near:
        return f"did you mean {' or '.join(filter(None, [', '.join(near[:-1]), near[-1]]))}?"
    return "give its name, its id, or the first four characters of the id or more"
