"""A report as one HTML file: nothing is loaded by it, and no script runs in it."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

from seqdev.output.columns import called
from seqdev.output.text import visible
from seqdev.output.words import Clock, ago, duration, number
from seqdev.report.evidence import Evidence
from seqdev.report.timeline import HEIGHT, WIDTH, timeline


def render(evidence: Evidence, clock: Clock) -> Iterator[str]:
    """The file, piece by piece; ``clock`` has the zone in which its instants are shown."""
    environment = Environment(
        autoescape=True,
        finalize=partial(_shown, clock),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(iso=datetime.isoformat, ago=lambda at: ago(at, evidence.about.at), at=clock.at)
    template = environment.from_string(_read("page.html.j2"))
    # The style is ours: nothing in it is to be escaped.
    return template.generate(
        e=evidence,
        called=called,
        left={one.table: one.rows for one in evidence.left_out},
        time=timeline(evidence, clock.full),
        zone=clock.zone_of([evidence.about.since, evidence.about.at]),
        box=(WIDTH, HEIGHT),
        style=_read("page.css"),
    )


def _read(name: str) -> str:
    return files("seqdev.report").joinpath(name).read_text(encoding="utf-8")


def _shown(clock: Clock, value: Any) -> Any:
    """What stands on the page for a value, before it is escaped: nothing that could turn the text about."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return number(value)
    if isinstance(value, datetime):
        return clock.full(value)
    if isinstance(value, timedelta):
        return duration(value)
    # Markup is text of the template itself.
    return visible(value) if type(value) is str else value
