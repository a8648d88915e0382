"""Citus, the distributed Postgres: how it has spread the host's tables over its nodes."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from seqdev.errors import SchemaError, UsageError
from seqdev.postgres.findings import Finding
from seqdev.postgres.queries import Query
from seqdev.postgres.zone import READABLE

if TYPE_CHECKING:
    from seqdev.postgres.transaction import Transaction


@dataclass(frozen=True)
class Node:
    """The row of ``postgres/distributed.sql``."""

    tables: int
    is_worker: bool
    coordinator: str | None


@dataclass(frozen=True)
class Spread(Finding):
    """A row of ``postgres/distribution.sql``: a finding, and the statement that puts it right by hand."""

    statement: str | None


NODE = Query("postgres/distributed.sql", Node)
DISTRIBUTION = Query("postgres/distribution.sql", Spread)
CHECK_NODES = Query("postgres/check_nodes.sql", Finding)


def is_distributed(transaction: "Transaction") -> bool:
    """Whether any of the host's tables is. Raises SchemaError on a node where seqdev's own tables are not."""
    node = transaction.one(NODE)
    if node.is_worker:
        named = f": {node.coordinator}" if node.coordinator else ""
        raise SchemaError(
            "this is a worker of Citus, where seqdev's own tables are not",
            f"connect to its coordinator{named}",
        )
    return node.tables > 0


def distribution(transaction: "Transaction") -> list[Spread]:
    """What of it is in order and what is not, in the order in which it has to be put right.

    Nothing, where nothing is distributed: that is as good.
    """
    if not transaction.distributed:
        return []
    found = transaction.rows(DISTRIBUTION, schema=transaction.settings.schema)
    return [
        replace(one, why=f"{one.why}; by hand, in this order: {one.statement}")
        if one.statement and not one.remedy
        else one
        for one in found
    ]


def pending(transaction: "Transaction") -> list[Spread]:
    """What has yet to be done until the host's tables are distributed, in order: each has a statement.

    Raises UsageError where there is no Citus.
    """
    if not transaction.one(READABLE).citus:
        raise UsageError("this database has no Citus", "on each of its nodes: create extension citus")
    found = transaction.rows(DISTRIBUTION, schema=transaction.settings.schema)
    return [one for one in found if one.statement]
