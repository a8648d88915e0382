"""What a tick has to do, how much of it at once, and what came of a batch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from seqdev.parameters import window
from seqdev.settings import Policy, Settings


@dataclass(frozen=True)
class Floor:
    """When the first was due who may go: those before, outside their windows, need not be read again.

    ``under``: the answers of the gates by which that was found; by others it may not hold.
    """

    oldest: str
    under: int


@dataclass(frozen=True)
class Work:
    """What a run is to do: the same for all its batches, and for all its connections.

    Only what is due by ``due_by``, the instant the run began: steps that this run makes due wait for the next
    one, so that every run comes to its end, and nobody gets two messages from it. Of the settings, each batch
    has the rules that hold in its transaction.
    """

    settings: Settings
    run: UUID
    due_by: datetime
    group: Policy | None = None
    """Only for the users of this policy; None: of the usual one, which is all of them as a rule."""
    unread: frozenset[UUID] = frozenset()
    """Sequences that people leave when they write back, where nobody can read what they write."""
    floor: Floor | None = None
    """Where this batch begins to look; None: at the oldest that is not too late."""

    @property
    def policy(self) -> Policy:
        """The device policy."""
        return self.settings.policy

    @property
    def window(self) -> dict[str, object]:
        """What makes a contact due, as parameters."""
        found = window(self.settings, self.due_by)
        return found | {"oldest": self.floor.oldest} if self.floor else found


BATCH = 10_000
"""Contacts a transaction, unless somebody wants another number."""

BATCH_ON_CITUS = 100_000
"""The same on Citus, where each statement goes to every shard, and one transaction at a time claims."""


@dataclass(frozen=True)
class Limits:
    """What one run may take: contacts a transaction, messages in all (None: no limit), time, connections."""

    batch_size: int = BATCH
    max_messages: int | None = None
    budget: timedelta = timedelta(seconds=50)
    jobs: int = 2


@dataclass(frozen=True)
class Size:
    """What one batch may take: contacts; and devices, or users, to lock."""

    contacts: int
    devices: int


@dataclass(frozen=True)
class Passed:
    """What a transaction passed by because another session holds it."""

    contacts: frozenset[UUID] = frozenset()
    """Contacts that wait for it one by one."""
    parents: frozenset[UUID] = frozenset()
    """Users, sequences and steps that are held: all their contacts wait."""
    devices: frozenset[UUID] = frozenset()
    """Devices that are held: all contacts on them wait."""
    holders: frozenset[str] = frozenset()
    """Who holds what, in words."""

    def __or__(self, other: "Passed") -> "Passed":
        """Both."""
        return Passed(
            self.contacts | other.contacts,
            self.parents | other.parents,
            self.devices | other.devices,
            self.holders | other.holders,
        )

    def __bool__(self) -> bool:
        """Whether there is anything."""
        return bool(self.holders)


@dataclass(frozen=True)
class Aside:
    """What a run leaves alone: devices that have nothing more for it, what others hold, what is shut."""

    devices: frozenset[UUID] = frozenset()
    passed: Passed = Passed()
    floor: Floor | None = None


@dataclass(frozen=True)
class Batch:
    """What one transaction did. ``waiting``: devices or users that had something due, locked or not."""

    waiting: int
    devices: frozenset[UUID]
    exhausted: frozenset[UUID]
    """Devices that have nothing more for this run."""
    others: bool = False
    """Whether there is something due at devices, or users, that this transaction did not lock."""
    claimed: int = 0
    moved: int = 0
    queued: int = 0
    ended: int = 0
    chained: int = 0
    quarantined: Mapping[str, int] = field(default_factory=dict)
    """Contacts that the database refuses, by reason."""
    left: Mapping[str, int] = field(default_factory=dict)
    """Refused too, but active still: they could not be quarantined."""
    passed: Passed = Passed()
    floor: Floor | None = None
    """Where the next batch may begin to look."""
    seconds: float = 0.0
    """How long it has held what it locked."""
    waited_for: bool = False
    """Whether another session waits for that, at its end."""
    complete: bool = True
    """Whether every contact was tried; false where the search for those refused was ended."""


@dataclass
class Totals:
    """What all batches have done, and what there is to be said about them."""

    claimed: int = 0
    moved: int = 0
    queued: int = 0
    ended: int = 0
    chained: int = 0
    troubles: list[str] = field(default_factory=list)

    def add(self, batch: Batch) -> None:
        """A batch is committed."""
        self.claimed += batch.claimed
        self.moved += batch.moved
        self.queued += batch.queued
        self.ended += batch.ended
        self.chained += batch.chained
