"""What commands that only read take for what the upgrade makes, where it has not been: nothing.

Audits and dry runs have to work at night on a database that nobody has upgraded yet, or an older seqdev has.
There a statement that names such a table is run with a query in its place, which ``postgres/stand_ins.sql``
makes: it is asked beforehand.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from seqdev.postgres.queries import Query


@dataclass(frozen=True)
class StandIn:
    """A row of ``postgres/stand_ins.sql``."""

    table_name: str
    lacks: str
    stand_in: str


STAND_INS = Query("postgres/stand_ins.sql", StandIn)

_TABLE = re.compile(r"\b(from|join)(\s+)((?:seqdev\.)?(\w+))\b(?![.(])(?P<alias> as )?")


def used(text: str, stand_ins: Mapping[str, str]) -> str:
    """The statement ``text`` with a stand-in for each table that has one."""

    def one(match: re.Match[str]) -> str:
        if not (stand_in := stand_ins.get(match[3])):
            return match[0]
        return f"{match[1]}{match[2]}{stand_in}{match['alias'] or f' as {match[4]}'}"

    return _TABLE.sub(one, text) if stand_ins else text


def said(found: Sequence[StandIn]) -> str:
    """What that means, for whoever reads the answer."""
    rules = any(one.table_name == "seqdev.rule" for one in found)
    lacks = ", ".join(one.lacks for one in found)
    return (
        f"this database was not upgraded, and lacks {lacks}: that counts as empty"
        f"{', and rules are the defaults' if rules else ''}; to bring it up to date: seqdev db upgrade"
    )
