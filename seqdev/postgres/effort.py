"""What an upgrade means for the host: how long it takes, what it locks, what the host must do otherwise."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

from seqdev.postgres.engine import Database
from seqdev.postgres.findings import Finding
from seqdev.postgres.queries import Query


@dataclass(frozen=True)
class Effort:
    """A row of ``postgres/effort.sql``."""

    place: int
    table_rows: int | None
    table_bytes: int | None
    seconds: int
    locks: str
    breaks: str | None
    is_final: bool


@dataclass(frozen=True)
class Step(Finding):
    """A step of the upgrade's plan."""

    table_rows: int | None
    """Rows of its table, about; null where there is none, or where it was never analysed."""
    table_bytes: int | None
    """What the table takes on the disk, without its indexes."""
    seconds: int
    """How long the step takes, about, without the wait for open transactions."""
    locks: str
    """What others cannot do meanwhile."""
    breaks: str | None
    """What the host must do otherwise from then on; null: nothing."""
    is_final: bool
    """It takes something away, or fills something in: no command takes it back."""


EFFORT = Query("postgres/effort.sql", Effort)


def weighed(database: Database, plan: Sequence[Finding]) -> list[Step]:
    """The steps of ``plan``, in the order in which they are done."""
    found = database.retry(lambda tx: tx.rows(EFFORT, remedies=[one.remedy for one in plan]), read_only=True)
    return [
        Step(
            **{field.name: getattr(finding, field.name) for field in fields(Finding)},
            **{name: value for name, value in asdict(effort).items() if name != "place"},
        )
        for finding, effort in zip(plan, found, strict=True)
    ]
