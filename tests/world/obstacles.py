"""What makes a command slow, or stops it in the middle."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from seqdev.postgres.queries import ROOT
from tests.world import citus
from tests.world.host import Connect, Host
from tests.world.sessions import stopped
from tests.world.ticks import Ticks
from tests.world.waiting import until

_WAIT_FOR_42 = "while not pg_try_advisory_xact_lock_shared(42) loop perform pg_sleep(0.01); end loop;"
"""Stops, without waiting for a lock: a tick does not wait long for one."""


def halt(host: Host, connect: Connect, database: str) -> Callable[[], object]:
    """Every message stops in its writing until what is returned is called. Not by a lock: a tick gives way."""
    host.rows(
        f"create function halt() returns trigger language plpgsql as $$ begin {_WAIT_FOR_42} return new; end $$"
    )
    host.rows("create trigger halt before insert on broadcast_messages for each row execute function halt()")
    holder = connect(database)
    holder.execute("select pg_advisory_lock(42)")
    return lambda: holder.execute("select pg_advisory_unlock(42)")


def slow(host: Host, table: str, event: str, seconds: float) -> None:
    """Each row that is written takes its time."""
    host.rows(
        f"create function slow() returns trigger language plpgsql as"
        f" $$ begin perform pg_sleep({seconds}); return new; end $$"
    )
    host.rows(f"create trigger slow before {event} on {table} for each row execute function slow()")


def hold(other: Host, table: str, where: str, *given: object) -> int:
    """Lock rows in an open transaction; how many. Where Citus locks none of several shards, by writing them as they are."""
    if not citus.URL:
        return len(other.rows(f"select 1 from {table} where {where} for update", *given))
    # As the host's own statements of one phone: they do not wait for one another either.
    other.rows("set local citus.enable_deadlock_prevention = off")
    return len(other.rows(f"update {table} set id = id where {where} returning 1", *given))


@contextmanager
def stuck_tick(
    host: Host, connect: Connect, ticks: Ticks, lead: UUID, *options: object, **environment: object
) -> Iterator[Any]:
    """A tick stopped in the middle of its batch, at the message of a lead, until the block ends."""
    phone = host.value("select phone from leads where id = %s", lead)
    host.rows(
        "create function stop() returns trigger language plpgsql as"
        f" $$ begin {_WAIT_FOR_42} return new; end $$"
    )
    host.rows(
        "create trigger stop before insert on broadcast_messages for each row"
        f" when (new.recipient_phone = '{phone}') execute function stop()"
    )
    holder = connect(host.url)
    with holder.transaction():
        holder.execute("select pg_advisory_xact_lock(42)")
        process = ticks.start(*options, **environment)
        until(lambda: stopped(host) == 1, "the tick to be in its batch")
        yield process


@contextmanager
def stopped_statement(host: Host, connect: Connect, statement: str) -> Iterator[None]:
    """Within the block, the first ``statement`` that looks at a contact's phone stops there: after its start, when
    what it sees is settled, and before it comes to its locks. The host's schema has an operator for its phones
    that fits better than the server's, and does it. Other files' comments name the statement, too: it is known by
    its first line.

    Where the tables are distributed, it is the file for that, and stops on the node of a person, whose session runs
    another statement: it is asked for whom.
    """
    running = "current_query()"
    if citus.URL:
        # pg_stat_activity knows the sessions of this node: all of them, where there is one. It is read anew each time.
        running = (
            "(select s.query from pg_stat_clear_snapshot() cross join pg_stat_activity as s"
            " where s.pid = citus_backend_gpid() % 10000000000)"
        )
        distributed = statement.replace(".sql", "_distributed.sql")
        statement = distributed if (ROOT / distributed).is_file() else statement
    host.rows("create sequence stops")
    host.rows(
        "create function stop_matches(a varchar, b varchar) returns boolean language plpgsql as $$ begin"
        f" if {running} like '/* seqdev {statement} */%' and nextval('stops') = 1"
        f" then {_WAIT_FOR_42} end if; return a::text ~ b::text; end $$"
    )
    host.rows("create operator ~ (leftarg = varchar, rightarg = varchar, function = stop_matches)")
    holder = connect(host.url)
    with holder.transaction():
        holder.execute("select pg_advisory_xact_lock(42)")
        yield
