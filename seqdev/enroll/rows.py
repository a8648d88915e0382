"""The rows of an enrolment, and the files below ``sql/enroll/`` that they come from."""

from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from seqdev.output import columns
from seqdev.output.text import Phone
from seqdev.postgres.queries import Query


@dataclass(frozen=True)
class Verdict:
    """A row of ``enroll/plan.sql`` and ``enroll/apply.sql``."""

    last: UUID | None
    looked_at: int
    sequence_id: UUID | None
    verdict: str | None
    people: int
    leads: list[UUID] | None
    phones: list[str | None] | None


@dataclass(frozen=True)
class Picked:
    """A row of ``enroll/pick.sql``."""

    lead_id: UUID


@dataclass(frozen=True)
class ListShared:
    """The row of ``enroll/share_list.sql``."""

    is_held: bool


@dataclass(frozen=True)
class Target:
    """A row of ``enroll/sequences.sql``: a sequence that the enrolment is about."""

    id: UUID
    name: str | None
    is_active: bool
    entry_steps: int


@dataclass(frozen=True)
class Enrolment:
    """What happened, or would, for one sequence."""

    brief: ClassVar[tuple[str, ...]] = (
        *("sequence", "matched", "enrolled", "already_in", "refused", "sequence_id"),
    )

    sequence: str | None
    """Name of the sequence."""
    sequence_id: UUID
    """The sequence."""
    matched: int
    """Leads whose triggers name its entry step: the sum of the next three, and of those over `--limit`."""
    enrolled: int
    """People enrolled; in a dry run: who would be."""
    already_in: int
    """Leads that are in the sequence already."""
    refused: int
    """Leads that were refused."""


@dataclass(frozen=True)
class Refusal:
    """A lead that was refused, and why."""

    brief: ClassVar[tuple[str, ...]] = ("phone", "reason", "sequence", "lead_id")

    sequence: str | None
    """Name of the sequence."""
    phone: Phone | None
    """The phone of the lead."""
    reason: columns.Verdict
    """Why, as one word."""
    lead_id: UUID | None
    """The lead."""


@dataclass(frozen=True)
class Unmatched:
    """What was asked for, and is not there."""

    option: str
    """The option that asked for it: `--phones` or `--sequence`."""
    phone: Phone | None
    """The phone, as it was typed, that no lead has."""
    sequence: str | None
    """The name or id of no sequence."""


SHARE_LIST = Query("enroll/share_list.sql", ListShared)
PLAN = Query("enroll/plan.sql", Verdict)
APPLY = Query("enroll/apply.sql", Verdict)
PICK = Query("enroll/pick.sql", Picked)
SEQUENCES = Query("enroll/sequences.sql", Target)
