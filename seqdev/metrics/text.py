"""Metrics as OpenMetrics text. All are gauges: readers of the older Prometheus text take these as well."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

Value = int | float | datetime | timedelta | None
"""None: there is none. Instants and durations become seconds."""


@dataclass(frozen=True)
class Metric:
    """A gauge: its name below ``seqdev_``, what it counts, and its values by label.

    ``unit``: how its name ends; empty: it has none.
    """

    name: str
    meaning: str
    values: Sequence[tuple[Mapping[str, str], Value]]
    unit: str = ""

    @property
    def lines(self) -> Iterable[str]:
        """Its lines; none where it has no value."""
        known = [(labels, value) for labels, value in self.values if value is not None]
        if not known:
            return
        yield f"# HELP seqdev_{self.name} {_escaped(self.meaning)}"
        yield f"# TYPE seqdev_{self.name} gauge"
        if self.unit:
            yield f"# UNIT seqdev_{self.name} {self.unit}"
        for labels, value in known:
            shown = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
            yield f"seqdev_{self.name}" + (f"{{{shown}}}" if shown else "") + f" {_number(value)}"


def gauge(name: str, meaning: str, value: Value, unit: str = "") -> Metric:
    """A metric of one value."""
    return Metric(name, meaning, [({}, value)], unit)


def by(name: str, meaning: str, label: str, counts: Mapping[str, int]) -> Metric:
    """A metric of messages or contacts by one label; its name ends in the unit."""
    values = [({label: key}, number) for key, number in sorted(counts.items())]
    return Metric(name, meaning, values, name.rpartition("_")[2])


def text(metrics: Iterable[Metric]) -> str:
    """The metrics as a document."""
    lines = [line for metric in metrics for line in metric.lines]
    return "\n".join([*lines, "# EOF", ""])


def _number(value: Value) -> str:
    if isinstance(value, datetime):
        return repr(value.timestamp())
    if isinstance(value, timedelta):
        return repr(value.total_seconds())
    return str(value)


def _escaped(words: str) -> str:
    return words.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
