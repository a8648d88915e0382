"""Refusals: what the database says when a row breaks a rule of the host's, in our own words."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psycopg

# Data, constraints and views; and what triggers raise: RAISE itself, or a code of their own.
_CLASSES = {"21", "22", "23", "2F", "38", "39", "44", "45", "P0"}
_SERVERS_OWN = {"53", "54", "55", "57", "58", "72", "F0", "HV", "XX"}

_CONSTRAINTS = {
    "23503": "foreign key",
    "23505": "unique key",
    "23514": "check constraint",
    "23P01": "exclusion constraint",
}
_WORDS = {
    "22001": "a value is too long for its column",
    "22003": "a number is out of range",
    "23502": "a column must not be null",
    "44000": "the check option of a view",
}


def is_refusal(state: str) -> bool:
    """Whether the SQLSTATE says that a row, not the server or the statement, is what is wrong."""
    own_code = state[:1] >= "5" and state[:1] not in "ABCDEFGH" and state[:2] not in _SERVERS_OWN
    return state[:2] in _CLASSES or own_code


def reason(error: "psycopg.Error") -> str:
    """Why the server refused: its SQLSTATE and names of the schema, never a value.

    The server's own text and its DETAIL are not used: they print phones.
    """
    state, diag = error.sqlstate or "", error.diag
    table = f" of {diag.table_name}" if diag.table_name else ""
    raised_by = re.search(r"PL/pgSQL\W\w+ ([\w.]+)\(", diag.context or "")
    if diag.constraint_name:
        words = f'{_CONSTRAINTS.get(state, "constraint")} "{diag.constraint_name}"{table}'
    elif diag.column_name:
        words = (
            f'column "{diag.column_name}"{table} {"must not be null" if state == "23502" else "refuses it"}'
        )
    else:
        words = _WORDS.get(state, f"raised{table}" if raised_by else type(error).__name__ + table)
    return f"SQLSTATE {state}, {words}{f' by function {raised_by[1]}' if raised_by else ''}"
