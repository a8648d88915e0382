"""Statements run by hand, as psql runs them: their gates first."""

from collections.abc import Container
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row

from seqdev.forecast.facts import WARMED
from seqdev.gate_rows import (
    AGAIN,
    BLOCKED,
    CAUSES,
    DEVICES,
    PERSONS,
    PHONE_ZONES,
    RAMPS,
    SPREAD,
    STEPS,
    WINDOWS,
    ZONES,
)
from seqdev.postgres.queries import Query
from tests.world.host import Host

_GATES = {
    gate.path: gate
    for gate in (
        *(STEPS, DEVICES, RAMPS, SPREAD, CAUSES, PERSONS, BLOCKED, AGAIN, WINDOWS, ZONES, PHONE_ZONES),
        WARMED,
    )
}


def run(session: Host, query: Query[Any], **given: object) -> list[Any]:
    """The rows of a statement. What is given goes to its gates, too, where they take it."""
    return session.rows(query.statement.text, binds(session.connection, query, **given))


def binds(connection: Connection[Any], query: Query[Any], **given: object) -> dict[str, str | None]:
    """The binds of a statement, after its gates have answered. What it does not take is left out."""
    statement = query.statement
    answers: dict[str, object] = {}
    for path in statement.gates:
        gate = _GATES[path]
        with connection.cursor(row_factory=dict_row) as cursor:
            # A gate may have one of its own.
            cursor.execute(gate.statement.text.encode(), binds(connection, gate, **(answers | given)))
            (answer,) = cursor.fetchall()
        answers |= answer
    return statement.bind(_taken(statement.parameters, answers | given))


def _taken(parameters: Container[str], given: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in given.items() if name in parameters}
