"""Waiting for what takes a moment, and work beside the test."""

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

PATIENCE = 60.0
"""Seconds after which a test gives up waiting for something that takes a moment."""


@contextmanager
def in_background(*loops: Callable[[threading.Event], None]) -> Iterator[None]:
    """Run functions beside the block, each until the event is set; what they raise is raised here."""
    ended = threading.Event()
    raised: list[BaseException] = []

    def guarded(loop: Callable[[threading.Event], None]) -> None:
        try:
            loop(ended)
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=guarded, args=(loop,)) for loop in loops]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    if raised:
        raise raised[0]


def until(
    condition: Callable[[], Any],
    what: str,
    patience: float = PATIENCE,
    process: "subprocess.Popen[str] | None" = None,
) -> None:
    """Wait until ``condition`` holds. ``process``: it must not end meanwhile."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"waited {patience} s for this: {what}"
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.005)
