"""What people type for a user, a device or a sequence: an id or its beginning, or a name."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from unicodedata import normalize
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


@dataclass(frozen=True)
class UserNames:
    """The row of ``postgres/lookup/user_names.sql``: how names of users are read, and which cannot be."""

    statement: str | None
    unread: list[str]


@dataclass(frozen=True)
class UserName:
    """A row of the statement in it: a user, and one of its names."""

    id: UUID
    name: str


class Kind(Enum):
    """What can be looked up."""

    USER = Query("postgres/lookup/users.sql", Found)
    DEVICE = Query("postgres/lookup/devices.sql", Found)
    SEQUENCE = Query("postgres/lookup/sequences.sql", Found)


NEAR = Query("postgres/lookup/near.sql", Near)
USER_NAMES = Query("postgres/lookup/user_names.sql", UserNames)

_BY_ID = "its id, or the first four characters of the id or more"


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
    A user is found by what names the host has for users and the role may read, an email only whole.
    A letter with its accent is the same in whichever of its two writings it was typed.
    Raises NotFound for none, with the names that are nearest, UsageError for more than one; an email is never
    among these.
    """
    noun = kind.name.lower()
    if not text.strip():
        # A variable of a script that is not set; and never the one device without a name.
        raise NotFound(f"no {noun} {text!r}", f"give its name, {_BY_ID}")
    given: dict[str, object] = {"text": text, "beginning": beginning}
    kept = UserNames(None, [])
    users: Sequence[UserName] = ()
    if kind is not Kind.USER:
        given["user"] = user
    else:
        kept = transaction.one(USER_NAMES)
        if kept.statement and not _is_id(text):
            users = transaction.made(kept.statement, UserName)
        given |= named(users)
    found: Sequence[Found] = ()
    for spelling in _spellings(text):
        if found := transaction.rows(kind.value, **given | {"text": spelling}):
            break
    if not found:
        if kept.unread and ("@" in text or not kept.statement):
            columns = ", ".join(f"users.{column}" for column in kept.unread)
            raise NotFound(f"no {noun} {text!r}", f"this role may not read {columns}: give {_BY_ID}")
        names = [one.name for one in users]
        near = transaction.rows(NEAR, text=text, kind=noun, user=user, names=names)
        has_names = kind is not Kind.USER or kept.statement is not None
        raise NotFound(f"no {noun} {text!r}", _advice(near, has_names))
    if len(found) > 1:
        candidates = "; ".join(f"{one.id} {one.name or ''}".strip() for one in found[:10])
        more = "; …" if len(found) > 10 else ""
        raise UsageError(f"{noun} {text!r} could be any of: {candidates}{more}", "give more of the id")
    return found[0]


def _spellings(text: str) -> list[str]:
    """``text`` as it was typed, then with each accent in its letter, and beside it, which look alike."""
    if text.isascii():
        return [text]
    return list(dict.fromkeys([text, normalize("NFC", text), normalize("NFD", text)]))


def named(users: Sequence[UserName]) -> dict[str, object]:
    """Names of users, as statements take them."""
    return {"ids": [one.id for one in users], "names": [one.name for one in users]}


def _is_id(text: str) -> bool:
    """Whether it is a whole id, so that no names need be read."""
    try:
        return str(UUID(text)) == text.strip().lower()
    except ValueError:
        return False


def _advice(near: Sequence[Near], has_names: bool) -> str:
    """What to type instead."""
    if near:
        names = [repr(one.name) for one in near]
        return f"did you mean {' or '.join(filter(None, [', '.join(names[:-1]), names[-1]]))}?"
    return f"give its name, {_BY_ID}" if has_names else f"users have no names here: give {_BY_ID}"
