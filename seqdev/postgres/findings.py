"""What a look at the database finds."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing seqdev needs: what, whether it is there, why, and what the upgrade would do."""

    item: str
    """What is looked at: a table, a column, a key, an index, data."""
    status: str
    """ok, missing, wrong (commands that write refuse), or advised (it works without)."""
    why: str
    """Why seqdev needs it."""
    remedy: str | None
    """The statement that the upgrade would run; None where a person has to decide."""
    mode: str | None
    """How it runs: transaction, autocommit, or repeat (until it changes no more rows)."""

    @property
    def blocks(self) -> bool:
        """Whether commands that write must refuse."""
        return self.status in ("missing", "wrong")


@dataclass(frozen=True)
class Checked(Finding):
    """A row of ``postgres/check.sql``: a finding, and of a key or an index what it has to be."""

    schema_name: str | None
    table_name: str | None
    index_name: str | None
    column_names: list[str] | None
    predicate: str | None
    unmake: str | None
    building: bool
