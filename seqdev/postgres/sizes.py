"""What seqdev takes on the disk: its own tables, and its indexes on the host's."""

from dataclasses import dataclass

from seqdev.postgres.queries import Query
from seqdev.postgres.transaction import Transaction

LEAST = 8_000_000
"""Bytes: an index that is larger than it has to be by less is not worth a word."""

LARGE = 1_000_000_000
"""Bytes from which on the journal is large."""


@dataclass(frozen=True)
class Size:
    """A row of ``postgres/sizes.sql``."""

    name: str
    kind: str
    bytes: int
    rows: int | None
    expected: int | None
    advice: str | None


SIZES = Query("postgres/sizes.sql", Size)


def look(transaction: Transaction) -> list[Size]:
    """The sizes, the largest first."""
    return transaction.rows(SIZES, schema=transaction.settings.schema, least=LEAST)
