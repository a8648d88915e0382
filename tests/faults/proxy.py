"""A TCP proxy before a server, that breaks connections in the ways networks do. Threads, standard library only."""

import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

UP, DOWN = "up", "down"
"""From the client to the server, and back."""

_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Break:
    """What befalls one connection after ``after`` bytes in the direction ``way``.

    ``kind``: ``reset`` (RST to both), ``fin`` (an orderly end to both), ``half`` (an orderly end to whom the
    bytes were for; the other way goes on), ``hole`` (nothing passes any more, and nobody is told), ``delay`` (each
    piece comes ``seconds`` late). ``whole``: only at the end of a piece, else to the byte.
    ``lost_commit``: the server's answer to the ``after``-th COMMIT is swallowed, then RST to both.
    """

    kind: str
    after: int = 0
    way: str = DOWN
    seconds: float = 0.0
    whole: bool = False


class Proxy:
    """Listens on a port of the loopback for the server with this socket; connections take ``breaks`` in turn."""

    def __init__(
        self,
        upstream: str | Callable[[], socket.socket],
        breaks: list[Break] | None = None,
        vanish: Callable[[], None] = lambda: None,
    ) -> None:
        """``upstream``: the path of a unix socket, or what connects. ``vanish``: called when a connection is in a hole."""
        self.upstream = upstream
        self.vanish = vanish
        self.breaks = list(breaks or [])
        self.watch: Callable[[object, str, bytes], bool] = lambda link, way, piece: True
        """Asked before each piece of a connection goes on, by the thread that has to pass it on; False: reset instead."""
        self.passed = {UP: 0, DOWN: 0}
        self.links: list[_Link] = []
        self.broken = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # A listener that is only closed would go on waiting in accept().
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for link in self.links:
            link.end()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            plan = self.breaks.pop(0) if self.breaks else None
            try:
                server = self._connect()
            except OSError:
                client.close()
                continue
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.links.append(_Link(self, client, server, plan))

    def _connect(self) -> socket.socket:
        if callable(self.upstream):
            return self.upstream()
        server = socket.socket(socket.AF_UNIX)
        server.connect(self.upstream)
        return server


class _Link:
    """One connection: a thread each way."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket, plan: Break | None):
        self._proxy = proxy
        self._client = client
        self._server = server
        self._plan = plan
        self._commits = 0
        self._swallow = threading.Event()
        self._threads = [
            threading.Thread(target=self._pump, args=args, daemon=True)
            for args in ((client, server, UP), (server, client, DOWN))
        ]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Close both ends and wait for the threads."""
        for end in (self._client, self._server):
            _quietly(lambda end=end: end.shutdown(socket.SHUT_RDWR))  # type: ignore[misc]
        for thread in self._threads:
            thread.join()
        for end in (self._client, self._server):
            end.close()

    def _pump(self, source: socket.socket, target: socket.socket, way: str) -> None:
        count = 0
        plan = self._plan
        while True:
            try:
                piece = source.recv(65536)
            except OSError:
                piece = b""
            if not piece:
                _quietly(lambda: target.shutdown(socket.SHUT_WR))
                return
            if plan and plan.kind == "lost_commit":
                if way == UP and _is_commit(piece):
                    self._commits += 1
                    if self._commits == plan.after:
                        self._swallow.set()
                elif way == DOWN and self._swallow.is_set():
                    # The server has committed, and is ready for the next: now the client hears nothing of it.
                    if piece.endswith(b"Z\0\0\0\5I"):
                        self._break("reset")
                        return
                    continue
            elif plan and plan.way == way:
                if plan.kind == "delay":
                    time.sleep(plan.seconds)
                elif count + len(piece) > plan.after:
                    rest = piece if plan.whole else piece[: plan.after - count]
                    if rest:
                        _quietly(lambda rest=rest: target.sendall(rest))  # type: ignore[misc]
                    self._break(plan.kind, target)
                    if plan.kind == "hole":
                        while _received(source):
                            pass
                    return
            if not self._proxy.watch(self, way, piece):
                self._break("reset")
                return
            count += len(piece)
            self._proxy.passed[way] += len(piece)
            if plan and plan.kind == "hole" and self._swallow.is_set():
                continue
            try:
                target.sendall(piece)
            except OSError:
                _quietly(lambda: source.shutdown(socket.SHUT_RDWR))
                return

    def _break(self, kind: str, target: socket.socket | None = None) -> None:
        self._proxy.broken += 1
        if kind == "hole":
            self._swallow.set()
            self._proxy.vanish()
        elif kind == "half" and target:
            _quietly(lambda: target.shutdown(socket.SHUT_WR))
        else:
            for end in (self._client, self._server):
                if kind == "reset" and end.family == socket.AF_INET:
                    # Closed with data unsent and no time to linger: RST. The descriptor stays, for its thread.
                    _quietly(lambda end=end: end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET))  # type: ignore[misc]
                    _quietly(lambda end=end: _reset(end))  # type: ignore[misc]
                else:
                    _quietly(lambda end=end: end.shutdown(socket.SHUT_RDWR))  # type: ignore[misc]


def _reset(end: socket.socket) -> None:
    """RST now, though another thread waits in recv: connecting to nowhere drops the connection at once."""
    # AF_UNSPEC: the kernel's way to say disconnect.
    import ctypes

    ctypes.CDLL(None, use_errno=True).connect(end.fileno(), struct.pack("16x"), 16)


def _received(source: socket.socket) -> bytes:
    try:
        return source.recv(65536)
    except OSError:
        return b""


def _quietly(act: Callable[[], object]) -> None:
    with suppress(OSError):
        act()


def _is_commit(piece: bytes) -> bool:
    """Whether the last message of the piece is the simple query COMMIT."""
    return piece.endswith(b"Q\0\0\0\x0bCOMMIT\0")
