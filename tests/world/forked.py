"""Processes of seqdev that start in no time: forked from one that has imported what commands import.

They are processes like any other, with a pid, signals, an exit code and pipes of their own. What differs from
``python -m seqdev`` is that the half second of imports is over, so that tests which start many can afford to.
Tests of the start itself, of locales and of what a process list shows take ``command`` instead.
"""

import gc
import importlib
import json
import os
import pkgutil
import random
import selectors
import signal
import socket
import struct
import subprocess
import sys
import time
from contextlib import suppress
from functools import cache
from typing import Any

from tests.world.command import ROOT

_MOST = 1 << 18
"""Bytes of a request: arguments and environment."""


class Forked(subprocess.Popen[str]):
    """``subprocess.Popen`` of a command line of seqdev, without the program: ``Forked(["tick"], stdout=PIPE)``."""

    def __init__(self, argv: list[str], **options: Any) -> None:
        self._status: socket.socket | None = None
        super().__init__(argv, text=True, **options)

    def _execute_child(
        self, args: Any, _: Any, __: Any, ___: Any, ____: Any, cwd: Any, env: Any, *rest: Any
    ) -> None:
        p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite = rest[3:9]
        request = {"argv": args, "cwd": str(cwd or ROOT), "env": dict(os.environ if env is None else env)}
        self._status, theirs = socket.socketpair()
        streams = [own if own != -1 else number for number, own in enumerate((p2cread, c2pwrite, errwrite))]
        with theirs:
            socket.send_fds(_server(), [json.dumps(request).encode()], [*streams, theirs.fileno()])
        self.pid = self._received()
        self._child_created = True
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)  # type: ignore[attr-defined]

    def _received(self) -> int:
        assert self._status
        said = self._status.recv(4)
        assert said, "the process that forks has ended"
        (number,) = struct.unpack("i", said)
        return int(number)

    def _ended(self) -> bool:
        assert self._status
        with selectors.DefaultSelector() as selector:
            selector.register(self._status, selectors.EVENT_READ)
            return bool(selector.select(0))

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        if self.returncode is None and self._status and self._ended():
            self._try_wait(0)
        return self.returncode

    def _try_wait(self, flags: int) -> tuple[int, int]:
        if flags & os.WNOHANG and not self._ended():
            return 0, 0
        status = self._received()
        assert self._status
        self._status.close()
        self.returncode = os.waitstatus_to_exitcode(status)
        return self.pid, status


@cache
def _server() -> socket.socket:
    """The connection to the process that forks; it ends with this one."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        subprocess.Popen(
            [sys.executable, "-m", "tests.world.forked", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            cwd=ROOT,
        )
    return ours


def import_everything() -> None:
    """Import all of seqdev, and what it imports late."""
    import tabulate  # noqa: F401

    import seqdev

    for module in pkgutil.walk_packages(seqdev.__path__, "seqdev."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    gc.freeze()


def _serve(requests: socket.socket) -> None:
    running: dict[int, tuple[int, socket.socket]] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(requests, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is requests:
                    message, fds, *_ = socket.recv_fds(requests, _MOST, 4)
                    if not message:
                        return
                    child = os.fork()
                    if child == 0:
                        _run(json.loads(message), fds[:3])
                    status = socket.socket(fileno=fds[3])
                    for fd in fds[:3]:
                        os.close(fd)
                    status.sendall(struct.pack("i", child))
                    ending = os.pidfd_open(child)
                    running[ending] = child, status
                    selector.register(ending, selectors.EVENT_READ)
                else:
                    assert isinstance(key.fileobj, int)
                    selector.unregister(key.fileobj)
                    child, status = running.pop(key.fileobj)
                    os.close(key.fileobj)
                    _, code = os.waitpid(child, 0)
                    # Whoever started it may be gone.
                    with status, suppress(BrokenPipeError):
                        status.sendall(struct.pack("i", code))


def _run(request: dict[str, Any], streams: list[int]) -> None:
    """Be seqdev: never returns."""
    code: Any = 1
    try:
        for number, fd in enumerate(streams):
            os.dup2(fd, number)
        os.closerange(3, 256)
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["env"])
        time.tzset()
        random.seed()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = os.fdopen(2, "w", 1, "utf-8", "backslashreplace", closefd=False)
        sys.argv = ["seqdev", *request["argv"]]
        if "SEQDEV_TEST_CITUS_URL" in os.environ:
            # As in tests/conftest.py.
            progress: Any = importlib.import_module("seqdev.output.progress")
            progress._EVERY = 3600.0
        from seqdev.__main__ import entry

        entry()
        code = 0
    except SystemExit as ended:
        code = ended.code or 0
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    import_everything()
    _serve(socket.socket(fileno=int(sys.argv[1])))
