"""What a look at the database finds."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing seqdev needs: what, whether it is there, why, and what the upgrade would do."""

    item: str
    status: str
    why: str
    remedy: str | None
    mode: str | None

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
