"""What a tick would do now, by device, and what each policy would."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from seqdev import gates
from seqdev.output.columns import Verdict
from seqdev.parameters import window
from seqdev.postgres.engine import Database
from seqdev.postgres.queries import Query
from seqdev.postgres.transaction import Transaction
from seqdev.settings import Policy, Settings
from seqdev.tick.claims import OVERFLOW
from seqdev.tick.held import Closed, close

_UNLIMITED = 2**31 - 1
NOTHING_HELD = Closed()


@dataclass(frozen=True)
class Planned:
    """A row of ``tick/plan.sql``: due contacts of one preferred device, and what becomes of them."""

    device_id: UUID | None
    device_name: str | None
    decision: str
    contacts: int


@dataclass(frozen=True)
class Decision:
    """Due contacts and what becomes of them: queued on a device, or waiting for a reason."""

    brief: ClassVar[tuple[str, ...]] = ("device", "decision", "contacts", "moved")

    device_id: UUID | None
    """The sending device where the decision is queue, else the preferred one."""
    device_name: str | None
    """Its name."""
    decision: Verdict
    """queue, or the reason to wait."""
    contacts: int
    """Due contacts."""
    moved: int
    """Of those: contacts that come from other devices."""


@dataclass(frozen=True)
class Comparison:
    """What one policy would do with one preferred or sending device's contacts."""

    brief: ClassVar[tuple[str, ...]] = ("policy", "device", "queued", "waiting", "moved")

    policy: str
    """The policy."""
    device_id: UUID | None
    """The sending device, or the preferred device of those who wait."""
    device_name: str | None
    """Its name."""
    queued: int
    """Messages that would be queued on it."""
    moved: int
    """Of those: for contacts that come from other devices."""
    waiting: Mapping[str, int]
    """Contacts that would wait, by reason."""


PLAN = Query("tick/plan.sql", Planned)


def decide(
    transaction: Transaction,
    settings: Settings,
    due_by: datetime | None = None,
    closed: Closed = NOTHING_HELD,
    *,
    timed: bool = True,
) -> list[Decision]:
    """What becomes of every contact that is due by ``due_by`` (default: now), by device; most first.

    ``closed``: whose contacts wait for other sessions, or since nobody can read their replies. ``timed``: who
    is outside the window waits, too.
    """
    names: dict[UUID | None, str | None] = {}
    contacts = Counter[tuple[UUID | None, str]]()
    moved = Counter[UUID]()
    for own in map(settings.of, settings.policies_in_use):
        instants = window(own, due_by or transaction.now)
        steps = close(transaction, gates.steps(transaction, own, timed=timed), closed)
        devices = gates.devices(transaction, own, own.policy, gates.Asked(told=False))
        failed = own.failed_statuses
        # Whoever goes to another device leaves its new chats to others, who then wait for room alone.
        leaves_chats = gates.limits_chats(devices)
        left: list[UUID] = []
        if own.policy.moves:
            handed = gates.handed_to(OVERFLOW, steps, devices)
            given = {"passed": [], "emptied": [], "most": _UNLIMITED, "failed": failed}
            for one in transaction.stream(OVERFLOW, **given, **instants, **handed):
                names[one.device_id] = one.device_name
                contacts[one.device_id, "queue"] += 1
                moved[one.device_id] += 1
                if leaves_chats:
                    left.append(one.contact_id)
                else:
                    contacts[one.preferred, one.reason] -= 1
        handed = gates.handed_to(PLAN, steps, devices)
        for row in transaction.rows(PLAN, failed=failed, moved=left, **instants, **handed):
            names[row.device_id] = row.device_name
            contacts[row.device_id, row.decision] += row.contacts
    return [
        Decision(
            device, names[device], decision, number, moved[device] if device and decision == "queue" else 0
        )
        for (device, decision), number in contacts.most_common()
        if number > 0
    ]


def compare(database: Database) -> list[Comparison]:
    """What each policy would do now, by device, read-only and over the same instant."""

    def work(transaction: Transaction) -> list[Comparison]:
        return [
            row
            for policy in Policy
            for row in _compared(policy, decide(transaction, transaction.settings.everybody(policy)))
        ]

    return database.retry(work, read_only=True)


def _compared(policy: Policy, decisions: Iterable[Decision]) -> Iterator[Comparison]:
    by_device: dict[UUID | None, list[Decision]] = {}
    for decision in decisions:
        by_device.setdefault(decision.device_id, []).append(decision)
    for device, made in sorted(
        by_device.items(), key=lambda item: (item[1][0].device_name or "", str(item[0]))
    ):
        yield Comparison(
            policy.value,
            device,
            made[0].device_name,
            sum(decision.contacts for decision in made if decision.decision == "queue"),
            sum(decision.moved for decision in made),
            {decision.decision: decision.contacts for decision in made if decision.decision != "queue"},
        )
