"""The stories of docs/runbooks/: what befalls a small service, and the screens of whoever looks after it."""

import calendar
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from tests.world.command import ROOT, command
from tests.world.host import Host

WIDTH = 100
"""Columns of the screens."""

LINES = 30
"""Lines of a screen that a page shows: of a longer one the beginning and the end."""

_PART = re.compile(
    r"<!-- (?P<event>\w+) -->\n|```text\n\$ seqdev (?P<line>[^\n]*)\n(?P<screen>.*?)```\n", re.S
)


@dataclass(frozen=True)
class Service:
    """One user with three devices, and nine people in the sequence welcome, three on each device."""

    host: Host
    devices: dict[str, UUID]
    sequence: UUID
    steps: list[UUID]

    @classmethod
    def made(cls, host: Host) -> "Service":
        user = host.user()
        devices = {name: host.device(user, name) for name in ("alice-1", "alice-2", "alice-3")}
        sequence, steps = host.simple_sequence(user, "WELCOME", steps=3)
        for number in range(9):
            phone = f"1202555010{number}"
            host.lead(user, list(devices.values())[number % 3], phone, "WELCOME", name=f"Person {number}")
        return cls(host, devices, sequence, steps)

    def bare(self) -> None:
        """As the host made it, before anybody has heard of seqdev."""
        self.host.rows("drop schema seqdev cascade")
        for row in self.host.rows("select indexname from pg_indexes where indexname like 'seqdev%'"):
            self.host.rows(f"drop index {row.indexname}")

    def enrolled(self) -> None:
        for number in range(9):
            device = list(self.devices.values())[number % 3]
            minutes = timedelta(minutes=-20 - number)
            self.host.contact(self.sequence, self.steps[0], f"1202555010{number}", device, due_in=minutes)

    def strict(self) -> None:
        self.host.rule("policy", "strict")

    def away(self) -> None:
        self._status("offline")

    def back(self) -> None:
        self._status("online")

    def banned(self) -> None:
        self._status("banned")

    def sent(self) -> None:
        """The worker sends what is in the queue, and a day passes."""
        self.host.rows(
            "update broadcast_messages set status = 'sent', sent_at = now() at time zone 'UTC' where status = 'pending'"
        )
        self.host.make_all_due()

    def silence(self) -> None:
        """The last tick was two hours ago."""
        self.host.rows(
            "update seqdev.run set started_at = started_at - interval '2 hours',"
            " finished_at = finished_at - interval '2 hours'"
        )

    def _status(self, status: str) -> None:
        self.host.rows("update user_devices set status = %s where device_name = 'alice-2'", status)


def played(page: str, host: Host) -> str:
    """The page with the screens of today: its events happen, its commands are run, in their order."""
    service = Service.made(host)

    def play(part: re.Match[str]) -> str:
        if part["event"]:
            getattr(service, part["event"])()
            return part[0]
        return f"```text\n$ seqdev {part['line']}\n{screen(part['line'].split())}```\n"

    return _PART.sub(play, page)


_SIGNS = "N[](),─|▁▂▃▄▅▆▇█"
"""Of what differs between two runs: what numbers have become, and the bars of a sparkline."""
_PASSING = ("", "ago", "in", "now", *calendar.month_abbr[1:])
"""Words about when something was: where that is longer in words, a date has less room."""


def screens(page: str) -> Iterator[str]:
    """The screens of a page, without what is another in each run: ids, numbers, instants, order."""
    for part in _PART.finditer(page):
        if part["screen"]:
            text = re.sub(
                r"[0-9a-f]{8}(-[0-9a-f-]{27})?|\d[\d.,:-]*( ?(ms|min|[smhd])\b)?", "N", part["screen"]
            )
            # How long ago, and where a line is broken, depends on how quick the machine is.
            words = {word.strip(_SIGNS + ";.") for word in text.split()}
            yield " ".join(sorted(words.difference(_PASSING)))


def screen(words: list[str]) -> str:
    """What a terminal of WIDTH columns shows of a command."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, WIDTH, 0, 0))
    process = subprocess.Popen(
        command(*words),
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        cwd=ROOT,
        env=os.environ | {"TERM": "xterm-256color", "COLUMNS": str(WIDTH), "NO_COLOR": "1", "PAGER": "cat"},
    )
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # the command has ended
        while part := os.read(ours, 65_536):
            shown += part
    os.close(ours)
    # 10: what has to be upgraded before anything is written.
    assert process.wait() in (0, 3, 10), (words, shown.decode())
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode()).replace("\r", "").strip("\n")
    # Progress is drawn over and over in one line, and gone in the end.
    lines = [line.rstrip() for line in text.splitlines() if not re.match(r"[\u2800-\u28ff]", line)]
    if len(lines) > LINES:
        lines[LINES - 6 : -6] = [f"  … {len(lines) - LINES} more lines"]
    return "\n".join(lines) + "\n"
