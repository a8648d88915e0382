"""What a tick tells others when it has ended: a monitor by a ping, and a file of metrics."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from seqdev import files, ping
from seqdev.errors import Paused, SeqdevError, code_of
from seqdev.output.render import note
from seqdev.tick.tick import Summary


@dataclass
class Account:
    """What is to be told of a run: its exit code, its summary, if it got so far, and lines about it."""

    exit_code: int = 0
    summary: Summary | None = None
    lines: list[str] = field(default_factory=list)

    def ended_by(self, error: BaseException) -> None:
        """The run came to no good end. Of a pause, only that: why somebody has paused is theirs."""
        self.exit_code = code_of(error)
        words = error.message if isinstance(error, SeqdevError) else type(error).__name__
        self.lines.append("paused" if isinstance(error, Paused) else words)

    def __str__(self) -> str:
        """The account as a monitor shows it."""
        summary = [json.dumps(asdict(self.summary), default=str)] if self.summary else []
        return "\n".join([f"exit code {self.exit_code}", *summary, *self.lines])


@contextmanager
def telling(url: str, file: Path | None) -> Iterator[Account]:
    """Tell the monitor of ``url`` how the block begins and ends, and write it to ``file``.

    However the block ends; neither changes how. Raises UsageError where one of them cannot be used at all.
    """
    if url:
        ping.check(url)
    if file:
        files.plain_file(file)
    began, started = datetime.now(UTC), time.monotonic()
    monitor = ping.Ping(url) if url else None
    account = Account()
    try:
        yield account
    except BaseException as error:
        account.ended_by(error)
        raise
    finally:
        if file:
            _write(file, account, began, timedelta(seconds=round(time.monotonic() - started, 3)))
        if monitor and (trouble := monitor.end(account.exit_code, str(account))):
            note(f"the monitor was not told how this run ended: {trouble}")


def _write(file: Path, account: Account, began: datetime, lasted: timedelta) -> None:
    from seqdev.metrics.run import measured
    from seqdev.metrics.text import text

    try:
        files.put(file, text(measured(account.summary, began, lasted, account.exit_code)))
    except SeqdevError as error:
        note(f"the metrics of this run were not written: {error.message}")
