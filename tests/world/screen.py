"""What a terminal of some width shows of what is printed in this process: stdout is a pseudo-terminal."""

import fcntl
import os
import pty
import struct
import sys
import termios
import threading
from collections.abc import Callable

import pytest


def on_screen(width: int, work: Callable[[], object]) -> str:
    """What ``work`` prints to a terminal of ``width`` columns; its stderr goes where it went."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    shown = bytearray()

    def listen() -> None:
        while True:
            try:
                if not (read := os.read(ours, 65_536)):
                    return
            except OSError:  # the other end is closed
                return
            shown.extend(read)

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        with pytest.MonkeyPatch.context() as patch, open(theirs, "w", encoding="utf-8") as terminal:
            patch.delenv("COLUMNS", raising=False)
            patch.setattr(sys, "stdout", terminal)
            work()
    finally:
        listener.join()
        os.close(ours)
    return shown.decode().replace("\r\n", "\n")
