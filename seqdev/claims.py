"""Claims: which devices and contacts a transaction of a tick takes, and what it does with them."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from seqdev.config import Settings
from seqdev.db import Transaction
from seqdev.sql import Query

DEVICES_A_BATCH = 100
"""Devices locked by one transaction. A server's lock table holds 6,400 entries by default."""

USERS_A_BATCH = 20
"""Users locked by one transaction, under the policies that send from any device of a user."""

_UNLIMITED = 2**31 - 1


class Policy(StrEnum):
    """What becomes of a contact whose preferred device is not available."""

    QUEUE = "queue"
    STRICT = "strict"
    FALLBACK = "fallback"
    REASSIGN = "reassign"

    @property
    def moves(self) -> bool:
        """Whether another device of the user may take the contact."""
        return self in (Policy.FALLBACK, Policy.REASSIGN)


@dataclass(frozen=True)
class Locked:
    """A row of ``tick/lock_devices.sql`` and ``tick/lock_users.sql``."""

    device_id: UUID | None
    waiting: int
    locked_at: datetime


@dataclass(frozen=True)
class Claim:
    """A row of ``tick/claim.sql``: what was claimed for one device."""

    device_id: UUID
    claimed: int
    moved: int
    queued: int
    ended: int
    chained: int


@dataclass(frozen=True)
class Overflow:
    """A row of ``tick/overflow.sql``: a contact whose own device is not available, and who takes it."""

    contact_id: UUID
    device_id: UUID
    device_name: str | None
    preferred: UUID | None
    reason: str


@dataclass(frozen=True)
class Planned:
    """A row of ``tick/plan.sql``: due contacts of one preferred device, and what becomes of them."""

    device_id: UUID | None
    device_name: str | None
    decision: str
    contacts: int


@dataclass(frozen=True)
class Decision:
    """Due contacts and what becomes of them: queued on a device, or waiting for a reason.

    ``device_id`` is the sending device where ``decision`` is ``queue``, else the preferred one. ``moved``:
    how many of ``contacts`` come from other devices.
    """

    device_id: UUID | None
    device_name: str | None
    decision: str
    contacts: int
    moved: int


@dataclass(frozen=True)
class Batch:
    """What one transaction did. ``waiting``: devices or users that had something due, locked or not."""

    waiting: int
    devices: frozenset[UUID]
    exhausted: frozenset[UUID]
    """Devices that have nothing more for this run."""
    claimed: int
    moved: int
    queued: int
    ended: int
    chained: int


LOCK_DEVICES = Query("tick/lock_devices.sql", Locked)
LOCK_USERS = Query("tick/lock_users.sql", Locked)
CLAIM = Query("tick/claim.sql", Claim)
OVERFLOW = Query("tick/overflow.sql", Overflow)
PLAN = Query("tick/plan.sql", Planned)


def batch(
    transaction: Transaction,
    settings: Settings,
    policy: Policy,
    run: UUID,
    due_by: datetime,
    done: frozenset[UUID],
    most: int,
) -> Batch:
    """Lock, decide and claim at most ``most`` contacts that were due by ``due_by``, not those of ``done``."""
    scope = {"due_by": due_by, "active": settings.active_statuses, "claimed": settings.claim_timeout}
    if policy.moves:
        locked = transaction.rows(
            LOCK_USERS, online=settings.online_statuses, done=done, most=USERS_A_BATCH, **scope
        )
    else:
        locked = transaction.rows(
            LOCK_DEVICES,
            policy=policy.value,
            online=settings.online_statuses,
            done=done,
            most=DEVICES_A_BATCH,
            **scope,
        )
    devices = frozenset(row.device_id for row in locked if row.device_id)
    if not devices:
        return Batch(locked[0].waiting, devices, devices, 0, 0, 0, 0, 0)
    # Later than anything the holder before has written, or its messages would not count as in flight.
    common = {"now": max(row.locked_at for row in locked), "devices": devices, **scope, **capacity(settings)}
    # A user's devices share what they cannot take themselves, so that none of them is cut short before.
    take = most if policy.moves else -(-most // len(devices))
    claims = transaction.rows(CLAIM, policy=policy.value, take=take, most=most, **common)
    claimed = sum(claim.claimed for claim in claims)
    if policy.moves and claimed < most:
        overflow = transaction.rows(OVERFLOW, online=settings.online_statuses, most=most - claimed, **common)
        if overflow:
            claims += transaction.rows(
                CLAIM,
                policy=policy.value,
                take=0,
                most=most - claimed,
                moved=[one.contact_id for one in overflow],
                onto=[one.device_id for one in overflow],
                run=run,
                **common,
            )
    return _batch(locked[0].waiting, devices, claims, take, most)


def _batch(waiting: int, devices: frozenset[UUID], claims: Iterable[Claim], take: int, most: int) -> Batch:
    taken = Counter[UUID]()
    total = Counter[str]()
    for claim in claims:
        taken[claim.device_id] += claim.claimed
        for name in ("claimed", "moved", "queued", "ended", "chained"):
            total[name] += getattr(claim, name)
    # Where the batch was filled, it is unknown who has more.
    exhausted = frozenset(device for device in devices if taken[device] < take)
    return Batch(
        waiting,
        devices,
        exhausted if total["claimed"] < most else frozenset(),
        total["claimed"],
        total["moved"],
        total["queued"],
        total["ended"],
        total["chained"],
    )


def decide(
    transaction: Transaction, settings: Settings, policy: Policy, due_by: datetime | None = None
) -> list[Decision]:
    """What becomes of every contact that is due by ``due_by`` (default: now), by device; most first."""
    common = {
        "now": transaction.now,
        "due_by": due_by or transaction.now,
        "active": settings.active_statuses,
        "online": settings.online_statuses,
        "claimed": settings.claim_timeout,
        **capacity(settings),
    }
    names: dict[UUID | None, str | None] = {}
    contacts = Counter[tuple[UUID | None, str]]()
    moved = Counter[UUID]()
    for row in transaction.rows(PLAN, policy=policy.value, **common):
        names[row.device_id] = row.device_name
        contacts[row.device_id, row.decision] += row.contacts
    if policy.moves:
        for one in transaction.stream(OVERFLOW, most=_UNLIMITED, **common):
            names[one.device_id] = one.device_name
            contacts[one.preferred, one.reason] -= 1
            contacts[one.device_id, "queue"] += 1
            moved[one.device_id] += 1
    return [
        Decision(
            device, names[device], decision, number, moved[device] if device and decision == "queue" else 0
        )
        for (device, decision), number in contacts.most_common()
        if number > 0
    ]


def capacity(settings: Settings) -> dict[str, object]:
    """The limits of a device as parameters."""
    return {
        "max_in_flight": settings.max_in_flight,
        "max_per_hour": settings.max_per_hour,
        "max_per_day": settings.max_per_day,
    }
