"""What each scenario has shown, and the names of all scenarios, for the table in docs/faults.md."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent


@dataclass
class Held:
    """What held in a scenario, counted as it goes: the fixture ``held``."""

    fault: str
    tries: int = 0
    reconciled: int = 0
    """Messages held against their contacts."""
    killed: int = 0
    notes: list[str] = field(default_factory=list)
    server: str = ""

    def note(self, text: str) -> None:
        """Something measured, worth a word in the table."""
        if text not in self.notes:
            self.notes.append(text)

    def save(self) -> None:
        """Add this to the record that ``make faults`` and ``make load`` make."""
        if path := os.environ.get("SEQDEV_TEST_FAULTS_RECORD"):
            with open(path, "a") as file:
                file.write(json.dumps(asdict(self)) + "\n")


def fault(
    name: str, *, quick: bool = False, run: str = "faults", **parameter: list[Any]
) -> Callable[[Any], Any]:
    """Declares the test to be the scenario of a fault: its name in the table.

    One ``parameter`` makes a scenario of each of its values; where the name tells them apart, ``… {policy}``, each
    is a fault of its own.
    ``quick``: part of the default suite as well, where smaller shares of other scenarios stand beside it, which are no
    faults of their own: they have the mark ``fault`` alone. ``run``: part of another one instead, and of its table:
    ``long``, or ``citus``.
    """

    def declare(test: Any) -> Any:
        names = [name]
        marks = [pytest.mark.load] if run == "long" else [] if quick else [pytest.mark.faults]
        for key, values in parameter.items():
            if "{" in name:
                names = [name.format(**{key: value}) for value in values]
            marks.append(pytest.mark.parametrize(key, values, ids=[str(value) for value in values]))
        test.faults, test.in_run = names, run
        for mark in (*marks, pytest.mark.fault(name)):
            test = mark(test)
        return test

    return declare


def names(run: str = "faults") -> list[str]:
    """The faults of a run's scenarios, in the order of the code."""
    found: list[str] = []
    for file in sorted(HERE.glob("test_*.py")):
        module = import_module(f"tests.faults.{file.stem}")
        for value in vars(module).values():
            own = callable(value) and getattr(value, "__module__", "") == module.__name__
            if own and getattr(value, "in_run", None) == run:
                found += value.faults
    return found
