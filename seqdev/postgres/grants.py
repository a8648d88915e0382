"""What a database role needs to run a part of seqdev, and nothing more."""

from dataclasses import dataclass
from enum import StrEnum

from seqdev.errors import UsageError
from seqdev.postgres import schema
from seqdev.postgres.engine import Database
from seqdev.postgres.queries import Query
from seqdev.postgres.transaction import Transaction


class Role(StrEnum):
    """The parts of seqdev that a role can be made for."""

    TICK = "tick"
    ENROLL = "enroll"
    REPAIR = "repair"
    AUDIT = "audit"
    PRUNE = "prune"
    OWNER = "owner"


@dataclass(frozen=True)
class Grant:
    """A GRANT statement and what it is for. Without a statement: what cannot be granted, and why."""

    statement: str | None
    why: str


@dataclass(frozen=True)
class Grantee:
    """The row of ``postgres/grants/role.sql``: does the role exist, and which tables hide rows from it."""

    exists: bool
    hidden: list[str]


GRANTS: tuple[Query[Grant], ...] = tuple(Query(f"postgres/grants/{role}.sql", Grant) for role in Role)
GRANTEE = Query("postgres/grants/role.sql", Grantee)


def plan(database: Database, role: Role, to: str) -> tuple[list[Grant], list[str]]:
    """The grants that make ``to`` a ``role``, and the tables of which row-level security hides rows from it.

    Raises UsageError when there is no such role on the server, SchemaError when the tables are not ready:
    privileges on columns can only be granted once the columns are there.
    """
    where = database.settings.schema
    found = database.retry(lambda tx: tx.one(GRANTEE, to=to, schema=where), read_only=True)
    if not found.exists:
        raise UsageError(
            f"there is no role {to!r} on this server",
            "make it first: create role … login, or nologin for a group",
        )
    if role is not Role.OWNER:
        schema.require(database)
    query = dict(zip(Role, GRANTS, strict=True))[role]
    return database.retry(lambda tx: tx.rows(query, to=to, schema=where), read_only=True), found.hidden


def grant(database: Database, grants: list[Grant]) -> None:
    """Run the statements of ``grants``, all of them or none."""
    statements = [one.statement for one in grants if one.statement]

    def work(transaction: Transaction) -> None:
        for statement in statements:
            transaction.ddl(statement)

    database.retry(work)
