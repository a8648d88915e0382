"""Claims: which devices and contacts a transaction of a tick takes, and what it does with them."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from seqdev.errors import Refused
from seqdev.postgres.bisect import Sifted, accept
from seqdev.postgres.engine import Transaction
from seqdev.postgres.queries import Query
from seqdev.settings import Policy, Settings, capacity, oldest

DEVICES_A_BATCH = 100
"""Devices locked by one transaction. A server's lock table holds 6,400 entries by default."""

USERS_A_BATCH = 20
"""Users locked by one transaction, under the policies that send from any device of a user."""


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
    swallowed: int


@dataclass(frozen=True)
class Overflow:
    """A row of ``tick/overflow.sql``: a contact whose own device is not available, and who takes it."""

    contact_id: UUID
    device_id: UUID
    device_name: str | None
    preferred: UUID | None
    reason: str


@dataclass(frozen=True)
class Pick:
    """A row of ``tick/pick.sql``: a contact that a claim would take, and the device it is for."""

    contact_id: UUID
    device_id: UUID


@dataclass(frozen=True)
class RefusedLately:
    """The row of ``tick/refused_lately.sql``."""

    contacts: int


@dataclass(frozen=True)
class SetAside:
    """A row of ``tick/quarantine.sql``."""

    contact_id: UUID


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
    set_aside: Mapping[str, int] = field(default_factory=dict)
    """Contacts that the database refuses, by reason."""
    left: Mapping[str, int] = field(default_factory=dict)
    """Refused too, but active still: they could not be set aside."""
    whole: bool = True
    """Whether all was tried; false where the search for what is refused was ended."""


LOCK_DEVICES = Query("tick/lock_devices.sql", Locked)
LOCK_USERS = Query("tick/lock_users.sql", Locked)
CLAIM = Query("tick/claim.sql", Claim)
OVERFLOW = Query("tick/overflow.sql", Overflow)
PICK = Query("tick/pick.sql", Pick)
REFUSED_LATELY = Query("tick/refused_lately.sql", RefusedLately)
SET_ASIDE_REFUSED = Query("tick/quarantine.sql", SetAside)

Enough = Callable[[int, Sequence[str], int], bool]
"""Whether to look no longer for what the database refuses: after so many accepted, for these reasons refused,
and so many refused by runs before this one."""


def batch(
    transaction: Transaction,
    settings: Settings,
    policy: Policy,
    run: UUID,
    due_by: datetime,
    done: frozenset[UUID],
    most: int,
    devices_most: int,
    enough: Enough,
    held: set[UUID],
) -> Batch:
    """Lock, decide and claim at most ``most`` contacts that were due by ``due_by``, not those of ``done``.

    A contact that the database refuses is set aside, and the others go on. ``held`` becomes the devices that
    are worked on, for a caller who sees an exception only.
    """
    held.clear()
    transaction.constraints_immediate()
    scope = {
        "due_by": due_by,
        "oldest": oldest(due_by, settings.max_lateness),
        "active": settings.active_statuses,
        "claimed": settings.claim_timeout,
    }
    if policy.moves:
        locked = transaction.rows(
            LOCK_USERS,
            online=settings.online_statuses,
            done=done,
            most=min(USERS_A_BATCH, devices_most),
            **scope,
        )
    else:
        locked = transaction.rows(
            LOCK_DEVICES,
            policy=policy.value,
            online=settings.online_statuses,
            done=done,
            most=min(DEVICES_A_BATCH, devices_most),
            **scope,
        )
    devices = frozenset(row.device_id for row in locked if row.device_id)
    if not devices:
        return Batch(locked[0].waiting, devices, devices)
    held |= devices
    # Later than anything the holder before has written, or its messages would not count as in flight.
    common = {"now": max(row.locked_at for row in locked), "devices": devices, **scope, **capacity(settings)}
    # A user's devices share what they cannot take themselves, so that none of them is cut short before.
    take = most if policy.moves else -(-most // len(devices))
    found = _claim_own(transaction, {"policy": policy.value, **common}, take, most, enough)
    claimed = _claimed(found)
    if policy.moves and claimed < most and found.whole:
        overflow = transaction.rows(OVERFLOW, online=settings.online_statuses, most=most - claimed, **common)
        if overflow:
            moved = _claim_moved(
                transaction,
                {"policy": policy.value, "run": run, **common},
                overflow,
                lambda some: enough(
                    claimed + _claimed(some), [why for _, why in (*found.refused, *some.refused)], 0
                ),
            )
            found.accepted += moved.accepted
            found.refused += moved.refused
            found.whole = moved.whole
    claims = [claim for claims in found.accepted for claim in claims]
    waiting = locked[0].waiting
    # Of several users a quarter is locked, at most.
    others = waiting > (1 if policy.moves else len(devices))
    did = _batch(waiting, devices, others, claims, take, most)
    if found.refused and not did.claimed:
        before = transaction.one(REFUSED_LATELY, now=transaction.now).contacts
        enough(0, [why for _, why in found.refused], before)
    return _set_aside(transaction, run, found, did) if found.refused or not found.whole else did


def _claim(transaction: Transaction, **given: object) -> list[Claim]:
    claims = transaction.rows(CLAIM, **given)
    if any(claim.swallowed for claim in claims):
        # A step done without a message, and nobody told: rather it is not done.
        raise Refused("a trigger of the host's keeps a row from being written, without an error")
    return claims


def _claim_own(
    transaction: Transaction, given: Mapping[str, object], take: int, most: int, enough: Enough
) -> Sifted[Pick, list[Claim]]:
    def part(picks: Sequence[Pick]) -> list[Claim]:
        return _claim(
            transaction,
            take=len(picks),
            most=len(picks),
            only=[pick.contact_id for pick in picks],
            **{**given, "devices": {pick.device_id for pick in picks}},
        )

    return accept(
        transaction,
        lambda: _claim(transaction, take=take, most=most, **given),
        lambda: transaction.rows(PICK, take=take, most=most, **given),
        part,
        lambda found: enough(_claimed(found), [why for _, why in found.refused], 0),
    )


def _claim_moved(
    transaction: Transaction,
    given: Mapping[str, object],
    overflow: Sequence[Overflow],
    enough: Callable[[Sifted[Pick, list[Claim]]], bool],
) -> Sifted[Pick, list[Claim]]:
    def part(picks: Sequence[Pick]) -> list[Claim]:
        return _claim(
            transaction,
            take=0,
            most=len(picks),
            moved=[pick.contact_id for pick in picks],
            onto=[pick.device_id for pick in picks],
            **{**given, "devices": {pick.device_id for pick in picks}},
        )

    lot = [Pick(one.contact_id, one.device_id) for one in overflow]
    return accept(transaction, lambda: part(lot), lambda: lot, part, enough)


def _claimed(found: Sifted[Pick, list[Claim]]) -> int:
    return sum(claim.claimed for claims in found.accepted for claim in claims)


def _set_aside(transaction: Transaction, run: UUID, found: Sifted[Pick, list[Claim]], did: Batch) -> Batch:
    """``did``, after what ``found`` says to be refused was set aside.

    A contact that cannot be set aside either would be found again by the next batch: its device is left.
    """

    def part(refused: Sequence[tuple[Pick, str]]) -> list[SetAside]:
        return transaction.rows(
            SET_ASIDE_REFUSED,
            run=run,
            now=transaction.now,
            contacts=[pick.contact_id for pick, _ in refused],
            reasons=[why for _, why in refused],
        )

    lot = found.refused
    done = accept(transaction, lambda: part(lot), lambda: lot, part, lambda _: False)
    aside = {row.contact_id for rows in done.accepted for row in rows}
    return replace(
        did,
        set_aside=Counter(why for pick, why in lot if pick.contact_id in aside),
        left=Counter(why for pick, why in lot if pick.contact_id not in aside),
        # Who has more is not known where part of the devices' contacts was refused.
        exhausted=frozenset(pick.device_id for pick, _ in lot if pick.contact_id not in aside),
        whole=found.whole,
    )


def _batch(
    waiting: int, devices: frozenset[UUID], others: bool, claims: Iterable[Claim], take: int, most: int
) -> Batch:
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
        others,
        total["claimed"],
        total["moved"],
        total["queued"],
        total["ended"],
        total["chained"],
    )
