"""A person at a terminal, who reads what a command says there and answers."""

import os
import pty
import re
import select
import subprocess

from tests.world.command import ROOT, Ran, command, hear

PATIENCE = 30
"""Seconds without a word after which a command is thought to wait for an answer that nobody has."""

_QUESTION = re.compile(r"(\[y/N\]|type the number \d+): ?\Z")
"""How a question ends."""


def at_terminal(arguments: list[str], answers: list[str], *, stdout: bool = False) -> Ran:
    """Run seqdev with stdin and stderr on a terminal, and type ``answers``, one at each question.

    ``stdout``: that is on the terminal as well, and not ``out``.

    ``out`` is stdout, ``err`` what the terminal showed. A command that asks more often is ended.
    """
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command(*arguments),
        stdin=theirs,
        stderr=theirs,
        stdout=theirs if stdout else subprocess.PIPE,
        cwd=ROOT,
        # Wide enough that no cell is broken.
        env=os.environ | {"COLUMNS": "500"},
        preexec_fn=hear,
    )
    os.close(theirs)
    said, left, asks_too_often = "", [*answers], False
    answered = 0  # up to there: the blank after a question may come by itself
    while select.select([ours], [], [], PATIENCE)[0]:
        try:
            said += os.read(ours, 65_536).decode()
        except OSError:  # the command has closed the terminal
            break
        if _QUESTION.search(said, answered):
            answered = len(said)
            if not left:
                asks_too_often = True
                break
            os.write(ours, f"{left.pop(0)}\n".encode())
    else:
        process.kill()
    if asks_too_often:
        process.kill()
    out, _ = process.communicate(timeout=PATIENCE)
    os.close(ours)
    return Ran(process.returncode, (out or b"").decode(), said.replace("\r\n", "\n"))
