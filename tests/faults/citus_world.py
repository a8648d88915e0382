"""A world that Citus has spread over its nodes."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psycopg
from psycopg.rows import namedtuple_row

from tests.faults.databases import build
from tests.faults.nodes import Nodes, value
from tests.faults.processes import Forks
from tests.faults.record import Held
from tests.faults.world import World, wait
from tests.world.host import Host

POLICIES = ("queue", "strict", "fallback", "reassign")
"""Of the users, one each."""

CAPACITY = 40
"""Messages in flight on a device of the user under strict: fewer than there are people for it."""

ROOM = 5_000
"""The same for the others: room for all."""

_TABLES = "users user_devices sequences sequence_steps leads sequence_contacts broadcast_messages"

_AT_WORK = "select count(*) from pg_stat_activity where datname = current_database() and application_name ~ '^citus_internal' and state <> 'idle'"
_PREPARED = "select count(*) from pg_prepared_xacts where database = current_database()"


class CitusWorld(World):
    """The same on several nodes. The account is taken from copies on the coordinator."""

    def __init__(self, url: str, nodes: Nodes, forks: Forks, held: Held) -> None:
        self.nodes = nodes
        self.name = str(psycopg.conninfo.conninfo_to_dict(url)["dbname"])
        super().__init__(url, Host(connect(url)), forks, held)

    @classmethod
    def made(cls, url: str, nodes: Nodes, forks: Forks, held: Held, people: int) -> "CitusWorld":
        """With so many people a user, and a user for each policy. What was there before is gone."""
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("drop schema if exists was cascade")
            connection.execute(
                f"truncate {', '.join(_TABLES.split())}, seqdev.change, seqdev.rule cascade".encode()
            )
        build(url, people, len(POLICIES))
        world = cls(url, nodes, forks, held)
        for number, policy in enumerate(POLICIES, 1):
            user = world.host.value("select md5('user ' || %s)::uuid", str(number))
            world.host.rule("policy", policy, user=user)
            for name in ("max_in_flight", "max_per_hour", "max_per_day"):
                strict = policy == "strict" and name == "max_in_flight"
                world.host.rule(name, CAPACITY if strict else ROOM, user=user)
        return world

    def connect_anew(self) -> None:
        """After the coordinator was away, and the session that looks at it with it."""
        self.host.connection.close()
        self.host.connection = connect(self.url)

    def reconcile(self) -> None:
        """Every row, now, and no device has got more than it may."""
        with self._copies():
            super().reconcile()
            over = self.host.rows(
                "select m.device_id, count(*) from broadcast_messages m where m.user_id = md5('user 2')::uuid"
                " and m.status = 'pending' group by 1 having count(*) > %s",
                self.capacity,
            )
            assert not over, f"more than {self.capacity} in flight: {over}"

    def rest(self, policy: str = "queue") -> None:
        """Without rules, all who are due may go."""
        self.host.rows("delete from seqdev.rule where name ~ '^(policy|max_)'")
        self.capacity = ROOM
        super().rest(policy)

    capacity = CAPACITY

    def nothing_left_behind(self, within: float = 10.0) -> float:
        """Also on the workers: no session at work, and nothing prepared, once Citus has looked for that.

        It does so by itself every minute.
        """
        took = super().nothing_left_behind(within)
        for node in self.nodes.all:
            self._none(node, _AT_WORK, within)
        self.host.rows("select recover_prepared_transactions()")
        for node in self.nodes.all:
            self._none(node, _PREPARED, 0)
        return took

    def _none(self, node: str, count: str, within: float) -> None:
        """Wait for there to be none of what the statement counts on the node."""
        with psycopg.connect(f"{node} dbname={self.name}", autocommit=True) as connection:
            wait(lambda: value(connection, count) == 0, within)
            assert value(connection, count) == 0, f"left behind on {node}: {count}"

    @contextmanager
    def _copies(self) -> Iterator[None]:
        """Look at local copies of the host's tables, which any statement can join."""
        for table in _TABLES.split():
            self.host.rows(f"create temporary table {table} as table public.{table}")
            self.host.rows(f"analyze {table}")
        try:
            yield
        finally:
            for table in _TABLES.split():
                self.host.rows(f"drop table pg_temp.{table}")


def connect(url: str) -> "psycopg.Connection[object]":
    """A connection of the host's, as it likes them."""
    return psycopg.connect(url, autocommit=True, row_factory=namedtuple_row)


_NEW_LEADS = """
    insert into leads (id, user_id, device_id, phone, name, trigger)
    select md5('new lead ' || u || ' ' || n)::uuid, md5('user ' || u)::uuid, md5('device ' || u || 1 + n %% 4)::uuid,
        '601995' || lpad(n::text, 6, '0'), 'CANARY-NAME new', 'WARM,KEEP'
    from generate_series(1, %(users)s::integer) u, generate_series(%(first)s::integer, %(last)s::integer) n
"""
_NEW_CONTACTS = """
    insert into sequence_contacts (id, sequence_id, sequence_stepid, contact_phone, contact_name, assigned_device_id,
        next_trigger_time, user_id)
    select md5('new contact ' || u || ' ' || n)::uuid, md5('warm' || u)::uuid, md5('warm1' || u)::uuid,
        '601995' || lpad(n::text, 6, '0'), 'CANARY-NAME new', md5('device ' || u || 1 + n %% 4)::uuid,
        now() at time zone 'UTC' - interval '1 minute', md5('user ' || u)::uuid
    from generate_series(1, %(users)s::integer) u, generate_series(%(first)s::integer, %(last)s::integer) n
"""
_BATCH = 30


def newcomers(
    world: CitusWorld, known: Callable[[int], None] = lambda pid: None
) -> Callable[[threading.Event], None]:
    """The host, to whom people come all the time: somebody is always due. ``known``: told of each of its sessions."""

    def loop(over: threading.Event) -> None:
        batch, host = 0, None
        while not over.wait(0.05):
            try:
                if host is None:
                    host = Host(connect(world.url))
                    known(host.connection.info.backend_pid)
                if host.value("select count(*) from sequence_contacts where status = 'active'") > 400:
                    continue
                given = {"users": len(POLICIES), "first": batch * _BATCH + 1, "last": (batch + 1) * _BATCH}
                come = host.value(
                    "select count(*) from leads where phone = '601995' || lpad(%s::text, 6, '0')",
                    given["first"],
                )
                if not come:
                    with host.connection.transaction():
                        # In the copies as well: these rows are the host's doing, not seqdev's.
                        for table, phone, made in (
                            ("leads", "phone", _NEW_LEADS),
                            ("sequence_contacts", "contact_phone", _NEW_CONTACTS),
                        ):
                            host.rows(made, given)
                            host.rows(
                                f"insert into was.{table} select * from {table} where {phone} between"
                                " '601995' || lpad(%(first)s::integer::text, 6, '0') and '601995' || lpad(%(last)s::integer::text, 6, '0')",
                                given,
                            )
                batch += 1
            except psycopg.Error:
                # A node is gone for now. What was committed, the next look shows.
                with suppress(psycopg.Error):
                    if host:
                        host.connection.close()
                host = None
                time.sleep(0.2)
        if host:
            host.connection.close()

    return loop
