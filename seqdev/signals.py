"""SIGTERM and SIGINT: the process ends within seconds, and what it is writing ends at a batch boundary.

At once, by an :class:`Interrupted` out of whatever goes on: in commands that only read, while idle, before
anything is written. In ``deferred`` work the signal waits for a ``check`` between two batches; a batch
that takes longer than the grace is ended by the same exception: the driver cancels the statement for it.
Once a signal has come, a timer repeats the exception, so that not even a silent server holds the process.
"""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from seqdev.errors import Interrupted

GRACE = 3.5
"""Seconds that a batch has left when a signal comes."""

_CANCELLING = 2.0
"""Seconds for the server to cancel what it does."""
_AGAIN = 0.4
_ACCOUNT = 0.6
"""Seconds for the account of what was done, and its entry in the journal."""

_received: int | None = None
_time_is_up = False
_deferred = False


def install() -> None:
    """Take over SIGTERM and SIGINT of this process. For its entry point only."""
    for number in (signal.SIGTERM, signal.SIGINT):
        # Whoever ignores a signal, as nohup or a shell does for its background jobs, has decided.
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _receive)
    signal.signal(signal.SIGALRM, _repeat)


def only_elsewhere() -> None:
    """Signals are for the main thread: the one that calls this is never interrupted by them."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGALRM})


def settle() -> None:
    """No more exceptions: from here on the process ends by itself."""
    global _deferred
    _deferred = True
    if _received is not None:
        signal.setitimer(signal.ITIMER_REAL, 0)


def ignore() -> None:
    """The process has done all: a signal that comes now changes nothing."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def received() -> int | None:
    """The signal that has come; None: none has."""
    return _received


def name(number: int) -> str:
    """What people are told of it."""
    return f"ended by {signal.Signals(number).name}"


def time_is_up() -> bool:
    """Whether the grace of a signal is over: nothing is waited for any more."""
    return _time_is_up


def check() -> None:
    """A batch boundary: raise Interrupted where a signal has come."""
    if _received is not None:
        raise Interrupted(_received)


def leave_time() -> None:
    """The work has ended: what is left to do is not to be interrupted too soon."""
    if _received is not None:
        left, _ = signal.getitimer(signal.ITIMER_REAL)
        signal.setitimer(signal.ITIMER_REAL, max(left, _ACCOUNT), _AGAIN)


def sleep(seconds: float) -> None:
    """Sleep, idle: a signal ends it at once, in deferred work too. Raises Interrupted."""
    with at_once():
        time.sleep(seconds)


@contextmanager
def deferred() -> Iterator[None]:
    """Signals wait for a ``check``, though not for long."""
    with _set(True):
        yield


@contextmanager
def at_once() -> Iterator[None]:
    """Signals raise Interrupted at once, also in deferred work."""
    with _set(False):
        check()
        yield


@contextmanager
def _set(deferred: bool) -> Iterator[None]:
    global _deferred
    before, _deferred = _deferred, deferred
    try:
        yield
    finally:
        _deferred = before


def _receive(number: int, _: FrameType | None) -> None:
    global _received
    if _received is not None:
        return
    _received = number
    signal.setitimer(signal.ITIMER_REAL, GRACE if _deferred else _CANCELLING, _AGAIN)
    if not _deferred:
        raise Interrupted(number)


def _repeat(_: int, __: FrameType | None) -> None:
    global _time_is_up
    if _received is not None:
        _time_is_up = True
        raise Interrupted(_received)
