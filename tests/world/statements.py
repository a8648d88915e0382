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
    SENT,
    SPREAD,
    STEPS,
    WINDOWS,
    ZONES,
)
from seqdev.postgres.queries import Query, Statement
from tests.world import citus
from tests.world.host import Host

_GATES = {
    gate.path: gate
    for gate in (
        *(STEPS, DEVICES, SENT, RAMPS, SPREAD, CAUSES, PERSONS, BLOCKED, AGAIN, WINDOWS, ZONES, PHONE_ZONES),
        WARMED,
    )
}


def run(session: Host, query: Query[Any], **given: object) -> list[Any]:
    """The rows of a statement. What is given goes to its gates, too, where they take it."""
    statement = at(query)
    values = binds(session.connection, query, **given)
    for text in statement.before:
        session.rows(text, values)
    return session.rows(statement.text, values)


def at(query: Query[Any]) -> Statement:
    """What runs of a query on the engine of the tests."""
    return query.distributed if citus.URL else query.statement


def binds(connection: Connection[Any], query: Query[Any], **given: object) -> dict[str, str | None]:
    """The binds of a statement, after its gates have answered. What it does not take is left out."""
    statement = query.statement
    answers: dict[str, object] = {}
    for path in statement.gates:
        gate = _GATES[path]
        with connection.cursor(row_factory=dict_row) as cursor:
            # A gate may have one of its own.
            values = binds(connection, gate, **(answers | given))
            for text in at(gate).before:
                cursor.execute(text.encode(), values)
            cursor.execute(at(gate).text.encode(), values)
            (answer,) = cursor.fetchall()
        answers |= answer
    return statement.bind(_taken(statement.parameters, answers | given))


def _taken(parameters: Container[str], given: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in given.items() if name in parameters}
