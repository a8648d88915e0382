"""A database that is not the host's, or another schema of it: there no advice to change it is good."""

from collections.abc import Sequence
from dataclasses import dataclass

from seqdev.postgres.queries import Query
from seqdev.postgres.transaction import Transaction


@dataclass(frozen=True)
class Strange:
    """A row of ``postgres/strange.sql``."""

    lacks: str
    others: int
    schema_there: bool


@dataclass(frozen=True)
class Words:
    """What is wrong, and what to do."""

    what: str
    help: str


STRANGE = Query("postgres/strange.sql", Strange)


def look(transaction: Transaction, schema: str) -> Words | None:
    """Why this does not look like the host's database; None where it does."""
    found: Sequence[Strange] = transaction.rows(STRANGE, schema=schema)
    if not found:
        return None
    (one,) = found
    lacks = one.lacks if one.schema_there else "that schema"
    what = (
        f"this does not look like the host's database: {transaction.database}, schema {schema}, lacks {lacks}"
    )
    help_ = (
        "check the connection before anything else: --database-url (or SEQDEV_DATABASE_URL), --schema; "
        "then seqdev db check"
    )
    if one.schema_there and not one.others:
        help_ += "; only a new installation begins with seqdev db init"
    return Words(what, help_)
