"""Citus, the distributed Postgres: what of a database it has spread over its nodes."""

from dataclasses import dataclass

from seqdev.postgres.queries import Query


@dataclass(frozen=True)
class Distributed:
    """The row of ``postgres/distributed.sql``."""

    distributed: bool


DISTRIBUTED = Query("postgres/distributed.sql", Distributed)
