"""Progress of long work, on stderr: a live line on a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from seqdev.output.render import note

_EVERY = 10.0
"""Seconds between two lines where stderr is no terminal."""


@contextmanager
def progress(what: str) -> Iterator[Callable[[int], None]]:
    """A function to call with the number of ``what`` done so far."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.theme import Theme

        columns = (SpinnerColumn(), TextColumn("{task.completed:,} {task.description}"), TimeElapsedColumn())
        # Rich's own is yellow, which nobody can read on white.
        console = Console(stderr=True, theme=Theme({"progress.elapsed": "none"}))
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(what, total=None)
            yield lambda done: bar.update(task, completed=done)
        return
    last = time.monotonic()

    def line(done: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _EVERY:
            last = time.monotonic()
            note(f"{done:,} {what}")

    yield line
