"""The demo's stage: its scratch database, the narrator, and how commands and the world's doings are played.

Commands are run as a user would type them, through ``Seqdev``, which runs a command line. What the rest of
the world does (devices, the broadcast worker, time) is played by the statements below ``sql/demo/``.
"""

import csv
import shlex
import shutil
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from seqdev.errors import Exit, SeqdevError, Unavailable
from seqdev.output.render import Table, Writer
from seqdev.output.text import Phone, restored
from seqdev.postgres.engine import Database
from seqdev.postgres.queries import Query
from seqdev.repair import history as repair_history

DATABASE = "seqdev_demo"

Seqdev = Callable[[list[str]], int]
"""Runs a command line of seqdev on the scratch database, and returns its exit code."""

_PAUSE = 0.5
"""Seconds before a paragraph, where a person reads along."""
_WIDTH = 88
_REFUSED = "part of the work was refused, for the reasons listed"
_UNUSED = "(137|412|705)$"
"""Phones whose messages fail."""


@dataclass(frozen=True)
class Locked:
    """The row of ``demo/lock.sql``."""

    locked: bool


@dataclass(frozen=True)
class Step:
    """A row of ``demo/recreate.sql``."""

    statement: str


@dataclass(frozen=True)
class Carried:
    """A row of ``demo/triggers.sql``: how many leads carry a trigger list."""

    user_id: UUID
    trigger: str | None
    leads: int


@dataclass(frozen=True)
class Device:
    """A row of ``demo/devices.sql``."""

    device: str
    phone: Phone | None
    status: str
    leads: int
    pending: int


@dataclass(frozen=True)
class Worked:
    """The row of ``demo/worker.sql``: what the broadcast worker did."""

    sent: int
    failed: int
    waiting: int


@dataclass(frozen=True)
class Standing:
    """A row of ``demo/standing.sql``: the people at one step."""

    sequence: str
    day: int
    waiting: int
    completed: int
    failed: int


@dataclass(frozen=True)
class Promises:
    """The row of ``demo/promises.sql``: all messages, and those that should not be."""

    messages: int
    twice: int
    wrong_device: int
    other_user: int


@dataclass(frozen=True)
class ToCome:
    """A row of ``demo/to_come.sql``: the people whose step is still to come, by device."""

    sequence: str
    device: str
    status: str
    waiting: int


@dataclass(frozen=True)
class Rejected:
    """A line of a file of rejected leads."""

    line: int
    reason: str
    phone: Phone
    name: str


LOCK = Query("demo/lock.sql", Locked)
RECREATE = Query("demo/recreate.sql", Step)
CAST: Query[None] = Query("demo/cast.sql", type(None))
SIGN_UPS: Query[None] = Query("demo/sign_ups.sql", type(None))
TRIGGERS = Query("demo/triggers.sql", Carried)
TROUBLE: Query[None] = Query("demo/trouble.sql", type(None))
DEVICES = Query("demo/devices.sql", Device)
WORKER = Query("demo/worker.sql", Worked)
RECOVER: Query[None] = Query("demo/recover.sql", type(None))
MOVE_ON: Query[None] = Query("demo/move_on.sql", type(None))
STANDING = Query("demo/standing.sql", Standing)
PROMISES = Query("demo/promises.sql", Promises)
TO_COME = Query("demo/to_come.sql", ToCome)


def recreate(server: Database) -> None:
    """Make the scratch database anew. ``server`` is connected to another database, and keeps the demo's lock.

    Raises Unavailable while another demo is running on this server.
    """
    with server.transaction() as tx:
        if not tx.one(LOCK).locked:
            raise Unavailable("another demo is running on this server", "wait until it has ended")
        steps = tx.rows(RECREATE, name=DATABASE)
    for step in steps:
        server.autocommit(step.statement)


class Narrator:
    """Tells the story on stderr: in colour and with pauses on a terminal, in plain lines elsewhere."""

    def __init__(self, chapters: int) -> None:
        """``chapters``: how many the story has."""
        self._chapters = chapters
        self._chapter = 0
        self._width = _WIDTH
        self._styled: Callable[[str, str], None] | None = None
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.text import Text

            console = Console(stderr=True)
            self._width = min(_WIDTH, console.width)
            self._styled = lambda text, style: console.print(Text(text, style), soft_wrap=True)

    def chapter(self, title: str, text: str) -> None:
        """Open the next chapter with its first paragraph."""
        self._chapter += 1
        heading = f"{self._chapter}/{self._chapters}  {title}"
        self._pause()
        self._print(f"\n{heading}\n{'-' * len(heading)}", "bold magenta")
        self._print("\n" + self._fill(text))

    def say(self, text: str) -> None:
        """A paragraph."""
        self._pause()
        self._print("\n" + self._fill(text))

    def command(self, line: str) -> None:
        """A command line."""
        self._print(f"\n$ {line}", "bold cyan")

    def aside(self, text: str) -> None:
        """A remark on what has happened."""
        self._print("\n" + self._fill(f"[{text}]"), "italic")

    def gap(self) -> None:
        """An empty line before a table; on a terminal it brings its own."""
        if not self._styled:
            self._print("")

    def _fill(self, text: str) -> str:
        return textwrap.fill(text, self._width, break_long_words=False, break_on_hyphens=False)

    def _pause(self) -> None:
        if self._styled and sys.stdout.isatty():
            time.sleep(_PAUSE)

    def _print(self, text: str, style: str = "") -> None:
        if self._styled:
            self._styled(text, style)
        else:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()


class Stage:
    """What the story is told with."""

    def __init__(self, seqdev: Seqdev, database: Database, writer: Writer, chapters: int) -> None:
        """``chapters``: how many the story has."""
        self._seqdev = seqdev
        self._database = database
        self._writer = writer
        self._narrator = Narrator(chapters)
        self.chapter = self._narrator.chapter
        self.say = self._narrator.say

    def run(self, line: str) -> None:
        """Run a command of seqdev as a user would."""
        self._narrator.command(f"seqdev {line}")
        code = self._seqdev(shlex.split(line))
        if code == Exit.FINDINGS:
            audit = line.startswith("audit")
            meaning = "the audit has found something" if audit else _REFUSED
            self._narrator.aside(f"exit code 3: {meaning}")
        elif code > 128:
            raise KeyboardInterrupt
        elif code:
            raise SeqdevError(f"the demo cannot go on: seqdev {line} ended with exit code {code}")

    def undo(self) -> None:
        """Undo the last run that has changed rows, named by the beginning of its id."""
        (last,) = repair_history.list_runs(self._database, 1)
        self.run(f"repair undo {str(last.run_id)[:8]} --yes")

    def play(self, query: Query[None], **given: object) -> None:
        """Let something happen in the world."""
        self._database.retry(lambda tx: tx.execute(query, **given))

    def read(self, name: str) -> None:
        """Show the file of rejected lines that an import has written."""
        with Path(name).open(encoding="utf-8", newline="") as file:
            lines = [
                Rejected(int(row["line"]), row["reason"], Phone(restored(row["phone"])), row["name"])
                for row in csv.DictReader(file)
            ]
        self._narrator.gap()
        self._writer.write(Table("rejected", Rejected, lines))

    def work(self) -> None:
        """Let the broadcast worker send what it can."""
        done = self._database.retry(lambda tx: tx.one(WORKER, failing=_UNUSED))
        left = f", {done.waiting:,} wait for their device" if done.waiting else ""
        self._narrator.aside(f"the broadcast worker: {done.sent:,} sent, {done.failed:,} failed{left}")

    def show(self, query: Query[Any]) -> None:
        """Show what is in the tables."""
        rows = self._database.retry(lambda tx: tx.rows(query), read_only=True)
        self._narrator.gap()
        self._writer.write(Table(query.statement.title, query.row, rows))

    def farewell(self) -> None:
        """What to type next."""
        program = Path(sys.argv[0]).name == "seqdev"
        seqdev = (
            "seqdev" if shutil.which("seqdev") else sys.argv[0] if program else f"{sys.executable} -m seqdev"
        )
        url = shlex.quote(self._database.settings.database_url)
        self.say(
            "That was all of it. Now look around in the demo's database, which the next demo makes anew:"
        )
        self._narrator.command(f"{seqdev} --database-url {url} db psql")
        self.say("See whether seqdev can work on a database of yours; this changes nothing:")
        self._narrator.command(f"{seqdev} --database-url postgresql://user@host/name db check")
        self.say("Stop the embedded server:")
        self._narrator.command(f"{seqdev} db down")
