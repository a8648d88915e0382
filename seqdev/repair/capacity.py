"""What a plan does to the devices that get people."""

from collections import Counter
from dataclasses import dataclass
from uuid import UUID

from seqdev import gates
from seqdev.gates import Asked
from seqdev.output.words import are, counted
from seqdev.postgres.engine import Database
from seqdev.postgres.queries import Query
from seqdev.postgres.transaction import Transaction
from seqdev.repair.view import device_name


@dataclass(frozen=True)
class Arrivals:
    """A row of ``repair/capacity.sql``: a device that gets people, and what it can do for them."""

    device_id: UUID
    device: str | None
    people: int
    due: int
    room: int | None
    an_hour: int | None
    reason: str | None

    def __str__(self) -> str:
        """The device, who comes, and what it may send."""
        name = device_name(self.device_id, self.device)
        text = f"{name} gets {counted(self.people, 'person', 'people')}; "
        text += f"{self.due:,} {are(self.due)} due there already"
        if self.reason:
            return f"{text}; it may not send now: {self.reason}"
        room = "" if self.room is None else f"; it may send {self.room:,} more now"
        return text + room + ("" if self.an_hour is None else f", {self.an_hour:,} an hour")


CAPACITY = Query("repair/capacity.sql", Arrivals)


def arrivals(database: Database, people: Counter[UUID]) -> list[Arrivals]:
    """The devices that get ``people``, those that get most first."""

    def work(tx: Transaction) -> list[Arrivals]:
        devices = gates.devices_for(CAPACITY, tx, tx.settings, Asked(devices=people))
        steps = gates.steps(tx, tx.settings)
        given = gates.handed_to(CAPACITY, steps, devices)
        return tx.rows(CAPACITY, now=tx.now, targets=list(people), people=list(people.values()), **given)

    return database.retry(work, read_only=True) if people else []
