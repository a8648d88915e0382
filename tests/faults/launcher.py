"""Failpoints: runs seqdev, and ends it with SIGKILL at a named point, without a line for that in the product.

    python -m tests.faults.launcher POINT HIT -- seqdev's arguments…
    python -m tests.faults.launcher trace FILE -- seqdev's arguments…     writes the points it passes to FILE
    python -m tests.faults.launcher serve                                 runs what stdin asks for, one JSON a line

The points are where the process talks to the server or makes a file appear: ``<sql file>:before`` and
``:after`` around each statement, ``commit:before``, ``commit:sent`` (the server has it, nobody reads the
answer), ``commit:after``, ``replace:before`` and ``:after`` around os.replace. A new statement becomes a failpoint
by itself. HIT counts the passes, from 1.

SEQDEV_FAULTS_CLOCK shifts the clock of the process by so many seconds.
"""

import datetime
import json
import os
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.world.forked import import_everything

_NAMED = re.compile(rb"/\* seqdev (\S+) \*/")

Passed = Callable[[str], None]


def killer(point: str, hit: int) -> Passed:
    """Ends this process at the ``hit``-th pass of ``point``."""
    counts = Counter[str]()

    def passed(name: str) -> None:
        counts[name] += 1
        if name == point and counts[name] == hit:
            os.kill(os.getpid(), signal.SIGKILL)

    return passed


def tracer(path: str) -> Passed:
    """Writes each pass to the file."""
    file = open(path, "a", buffering=1)  # noqa: SIM115

    def passed(name: str) -> None:
        file.write(name + "\n")

    return passed


def patch(passed: Passed) -> None:
    """Make every point call ``passed``."""
    import psycopg
    from psycopg import ServerCursor
    from psycopg._connection_base import BaseConnection

    def around(owner: Any, method: str) -> None:
        original = getattr(owner, method)

        def wrapped(self: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
            name = _name(query)
            passed(f"{name}:before")
            result = original(self, query, *args, **kwargs)
            passed(f"{name}:after")
            return result

        setattr(owner, method, wrapped)

    around(psycopg.Cursor, "execute")
    around(ServerCursor, "execute")
    around(psycopg.Cursor, "copy")

    internal = BaseConnection._exec_command

    def command(self: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
        if query != b"COMMIT":
            return (yield from internal(self, query, *args, **kwargs))
        passed("commit:before")
        passed_sent(self.pgconn, passed)
        result = yield from internal(self, query, *args, **kwargs)
        passed("commit:after")
        return result

    BaseConnection._exec_command = command  # type: ignore[method-assign, assignment]

    replace = os.replace

    def replaced(*args: Any, **kwargs: Any) -> None:
        passed("replace:before")
        replace(*args, **kwargs)
        passed("replace:after")

    os.replace = replaced


def passed_sent(pgconn: Any, passed: Passed) -> None:
    """The point after the COMMIT has gone out. Whoever is ended there has sent it; the others send it later."""
    kill = os.kill

    def send_and_kill(pid: int, number: int) -> None:
        pgconn.send_query(b"COMMIT")
        while pgconn.flush():
            pass
        kill(pid, number)

    os.kill = send_and_kill
    try:
        passed("commit:sent")
    finally:
        os.kill = kill


def _name(query: Any) -> str:
    text = query if isinstance(query, bytes) else str(query).encode()
    found = _NAMED.search(text)
    return found[1].decode() if found else "ddl"


def shift_clock(seconds: float) -> None:
    """The clock of this process, not that of the server."""
    now, delta = time.time, datetime.timedelta(seconds=seconds)
    real = datetime.datetime

    class Shifted(real):  # type: ignore[misc, valid-type]
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return real.now(tz) + delta

        @classmethod
        def today(cls) -> Any:
            return real.now() + delta

    time.time = lambda: now() + seconds
    for name, module in list(sys.modules.items()):
        if name.startswith("seqdev") and getattr(module, "datetime", None) is real:
            module.datetime = Shifted  # type: ignore[attr-defined]


def run(point: str, hit: str, argv: list[str]) -> int:
    """seqdev, with the failpoint set; its exit code."""
    from seqdev.cli import main

    if point == "trace":
        patch(tracer(hit))
    elif point:
        patch(killer(point, int(hit)))
    if clock := os.environ.get("SEQDEV_FAULTS_CLOCK"):
        import seqdev.enroll.enroll
        import seqdev.repair.jobs
        import seqdev.tick.tick  # noqa: F401

        shift_clock(float(clock))
    return main(argv)


def serve() -> None:
    """Forks a process for each request, so that none of them has to import everything anew.

    A request: argv, environment, point, hit, kill_after (seconds, or null), out, err (paths). The answer: the
    exit code, or minus the signal.
    """
    # What the commands import late, too: it is most of the time that a command takes.
    import_everything()
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            null = os.open(os.devnull, os.O_RDONLY)
            os.dup2(null, 0)
            for stream, path in ((1, request["out"]), (2, request["err"])):
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
            os.environ.clear()
            os.environ.update(request["environment"])
            code = 1
            try:
                code = run(request["point"], str(request["hit"]), request["argv"])
                sys.stdout.flush()
            finally:
                os._exit(code)
        if request["kill_after"] is not None:
            ends = time.monotonic() + request["kill_after"]
            ended, status = os.waitpid(child, os.WNOHANG)
            while not ended and time.monotonic() < ends:
                time.sleep(0.001)
                ended, status = os.waitpid(child, os.WNOHANG)
            if not ended:
                os.kill(child, signal.SIGKILL)
                _, status = os.waitpid(child, 0)
        else:
            _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        separator = sys.argv.index("--")
        sys.exit(run(sys.argv[1], sys.argv[2], sys.argv[separator + 1 :]))
