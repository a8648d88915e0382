"""The nodes of a Citus that runs already: databases on all of them, and what befalls their sessions and machines.

``SEQDEV_TEST_CITUS_URL`` names the coordinator; its workers are those that the URL's own database knows. Where
``SEQDEV_TEST_CITUS_NODES=kill`` is set too, nodes are stopped and killed, and started again as they were: they have to
run on this machine, and for nothing else.
"""

import os
import random
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import psutil
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.faults.proxy import DOWN, Proxy
from tests.faults.world import wait
from tests.world import citus

_COMMITS = re.compile(rb"Q....(PREPARE TRANSACTION|COMMIT PREPARED) 'citus_\d+_(\d+)_", re.DOTALL)
"""A statement of Citus's commits, and the process of the coordinator whose it is."""

_MAY_KILL = os.environ.get("SEQDEV_TEST_CITUS_NODES") == "kill"

TICKS = "select pid from pg_stat_activity where datname = current_database() and application_name ~ '^seqdev tick' and state <> 'idle'"
"""Sessions of ticks that are at work, on the coordinator."""
_ENDED = """
    select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and state <> 'idle'
      and substring(application_name from 'gpid=([0-9]+)')::bigint %% 10000000000 = any(%s)
    order by random() limit 1
"""
"""One of their sessions on a worker, which carry the process of the coordinator's."""


class Nodes:
    """The coordinator, and two workers or more. Skips the test where there are none."""

    def __init__(self) -> None:
        if not citus.URL:
            pytest.skip("SEQDEV_TEST_CITUS_URL NAMES NONE: nothing was shown about faults on Citus")
        with psycopg.connect(citus.URL, autocommit=True) as connection:
            self.version = value(connection, "select extversion from pg_extension where extname = 'citus'")
            asked = "select nodename, nodeport from pg_dist_node where noderole = 'primary' and groupid > 0 order by 2"
            found = connection.execute(asked).fetchall() if self.version else []
        if len(found) < 2:
            pytest.skip("NO WORKERS: nothing was shown about faults between nodes (citus_add_node, twice)")
        self.coordinator = citus.server()
        self.addresses = [(str(host), int(port)) for host, port in found]
        self.workers = [make_conninfo(self.coordinator, host=host, port=port) for host, port in found]

    @property
    def all(self) -> list[str]:
        """The conninfo of each, the coordinator's first; a database's name is to be added."""
        return [self.coordinator, *self.workers]

    def make(self, name: str, addresses: list[tuple[str, int]]) -> str:
        """A database on all of them, whose coordinator reaches the workers by ``addresses``: its conninfo."""
        for node in self.all:
            with psycopg.connect(node, dbname="postgres", autocommit=True) as connection:
                # Not passed on: each node is told by itself.
                connection.execute("set citus.enable_create_database_propagation = off")
                connection.execute(f"create database {name}".encode())
            with psycopg.connect(node, dbname=name, autocommit=True) as connection:
                connection.execute("create extension citus")
        url = f"{self.coordinator} dbname={name}"
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"alter database {name} set citus.shard_count = {citus.SHARDS}".encode())
            info = connection.info
            connection.execute("select citus_set_coordinator_host(%s, %s)", [info.host, info.port])
            for address in addresses:
                connection.execute("select citus_add_node(%s, %s)", address)
        return url

    def drop(self, name: str) -> None:
        """Drop the database of that name everywhere, with what is prepared in it."""
        for node in self.all:
            with psycopg.connect(node, dbname=name, autocommit=True) as connection:
                for (gid,) in connection.execute(
                    "select gid from pg_prepared_xacts where database = current_database()"
                ).fetchall():
                    with suppress(psycopg.errors.UndefinedObject):
                        connection.execute(f"rollback prepared '{gid}'".encode())
            with psycopg.connect(node, dbname="postgres", autocommit=True) as connection:
                connection.execute("set citus.enable_create_database_propagation = off")
                citus.manage(connection, f"drop database {name} with (force)")

    def end_session(self, name: str, worker: bool, chance: random.Random) -> int:
        """End a random session of a tick's in the database of that name, on a worker or the coordinator; how many."""
        with psycopg.connect(f"{self.coordinator} dbname={name}", autocommit=True) as connection:
            if not (pids := [pid for (pid,) in connection.execute(TICKS.encode())]):
                return 0
            if not worker:
                asked = "select pg_terminate_backend(pid) from pg_stat_activity where pid = %s"
                return len(connection.execute(asked, [chance.choice(pids)]).fetchall())
        with psycopg.connect(f"{chance.choice(self.workers)} dbname={name}", autocommit=True) as connection:
            return len(connection.execute(_ENDED.encode(), [pids]).fetchall())


def value(connection: "psycopg.Connection[Any]", statement: str) -> Any:
    """The first value of the first row; None where there is none."""
    row = connection.execute(statement.encode()).fetchone()
    return row[0] if row else None


Act = Callable[[int], bool]
"""Called with the process of the coordinator whose statement it is; False cuts the line."""


class Wire:
    """What runs between the coordinator and a worker: it sees the commits go by, and stops what it is told to."""

    def __init__(self, worker: str) -> None:
        self._address = conninfo_to_dict(worker)
        self._lock = threading.Lock()
        self._wanted: tuple[bytes, Act] | None = None
        self._mute: object = None
        self.spared: set[int] = set()
        """Processes of the coordinator whose commits go on."""
        self.proxy = Proxy(self._connect)
        self.proxy.watch = self._watch

    def next(self, words: str, act: Act, *, mute: bool = False) -> None:
        """Once: call ``act`` before the next statement that begins with ``words`` goes on.

        ``mute``: the worker gets it, and the line is cut before the answer comes back.
        """
        with self._lock:
            self._wanted = words.encode(), (lambda pid: act(pid) and self._silence()) if mute else act

    def done(self) -> bool:
        """Whether what ``next`` has asked for has happened."""
        with self._lock:
            return self._wanted is None

    def _connect(self) -> socket.socket:
        return socket.create_connection((str(self._address["host"]), int(self._address["port"] or 5432)))

    def _silence(self) -> bool:
        self._mute = threading.current_thread()
        return True

    def _watch(self, link: object, way: str, piece: bytes) -> bool:
        if way == DOWN:
            return link is not self._mute
        found = _COMMITS.match(piece)
        with self._lock:
            if not (
                found and self._wanted and found[1] == self._wanted[0] and int(found[2]) not in self.spared
            ):
                return True
            act, self._wanted = self._wanted[1], None
        goes_on = act(int(found[2]))
        if self._mute is threading.current_thread():
            self._mute = link
        return goes_on


@contextmanager
def wires(nodes: Nodes) -> Iterator[list[Wire]]:
    """A wire to each worker; none, where the coordinator does not run on this machine, or encrypts."""
    with psycopg.connect(citus.URL) as connection:
        local = connection.info.host in ("127.0.0.1", "localhost") or connection.info.host.startswith("/")
        plain = "sslmode=disable" in value(connection, "show citus.node_conninfo")
    made = [Wire(worker) for worker in nodes.workers] if local and plain else []
    with ExitStack() as stack:
        for wire in made:
            stack.enter_context(wire.proxy)
        yield made


class Machine:
    """A node as the processes that it consists of: to be stopped and killed, and started as it was."""

    def __init__(self, node: str) -> None:
        """Skips the test unless nodes may be killed."""
        if not _MAY_KILL:
            pytest.skip(
                "NODES MAY NOT BE KILLED: nothing was shown about that (SEQDEV_TEST_CITUS_NODES=kill, on this machine)"
            )
        self._node = node
        self._find()
        self._argv, self._folder = self._postmaster.cmdline(), self._postmaster.cwd()
        self._binary, self._environment = self._postmaster.exe(), self._postmaster.environ()
        self._uid, self._gid = self._postmaster.uids().real, self._postmaster.gids().real

    def _find(self) -> None:
        with psycopg.connect(self._node, dbname="postgres") as connection:
            postmaster = psutil.Process(connection.info.backend_pid).parent()
        assert postmaster, "a backend without a postmaster"
        self._postmaster = postmaster

    def pause(self) -> None:
        """Stop all of it: connections stay, and nobody answers."""
        for process in self._all():
            process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """After ``pause``. Those that go on first may end others."""
        for process in self._all():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL to all of it, as if the machine were gone."""
        gone = self._all()
        for process in gone:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(gone, timeout=30)

    def start(self) -> None:
        """As it was started before, and wait until it takes connections."""
        with open(os.path.join(self._folder, "seqdev-tests.log"), "ab") as log:
            subprocess.Popen(
                self._argv,
                executable=self._binary,
                cwd=self._folder,
                env=self._environment,
                user=self._uid,
                group=self._gid,
                extra_groups=[],
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait(self._answers)
        self._find()

    def _answers(self) -> bool:
        try:
            psycopg.connect(self._node, dbname="postgres", connect_timeout=2).close()
        except psycopg.OperationalError:
            time.sleep(0.1)
            return False
        return True

    def _all(self) -> list[psutil.Process]:
        # The postmaster first: a stopped one starts no others.
        return [self._postmaster, *self._postmaster.children(recursive=True)]
