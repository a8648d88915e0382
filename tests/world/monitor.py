"""A monitor that takes pings, as healthchecks.io does; one that hangs, and one that answers with an error."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Monitor(ThreadingHTTPServer):
    """Remembers what it was told: paths and bodies, in order. ``answer``: a status, or None to never answer."""

    daemon_threads = True

    def __init__(self, answer: int | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.told: list[tuple[str, str]] = []
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/secret-5f1c"

    @property
    def paths(self) -> list[str]:
        return [path.removeprefix("/secret-5f1c") for path, _ in self.told]


class _Handler(BaseHTTPRequestHandler):
    server: Monitor

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.told.append((self.path, body))
        if self.server.answer is None:
            # A little at a time, so that no read ever waits for long.
            while not self.server.over.wait(0.1):
                self.wfile.write(b"HTTP/1.0 200 OK\r\nX-Wait: " if not self.server.over.is_set() else b".")
            return
        self.send_response(self.server.answer)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def monitor(answer: int | None = 200) -> Iterator[Monitor]:
    """A monitor that listens, closed in the end."""
    with Monitor(answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            server.shutdown()
            thread.join()


def seconds(begun: float) -> float:
    """Since then."""
    return time.monotonic() - begun
