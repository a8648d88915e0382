"""One batch in one transaction: lock devices, ask the gates, claim what is due, quarantine the refused."""

import time
from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from seqdev import gates
from seqdev.errors import Cancelled
from seqdev.postgres.bisect import Found, bisect
from seqdev.postgres.queries import Query
from seqdev.postgres.transaction import Transaction
from seqdev.tick.backoff import Search
from seqdev.tick.claims import Claim, Claiming, Claims, Moved, Own, Pick, claimed
from seqdev.tick.held import Closed, close
from seqdev.tick.pace import waited_for
from seqdev.tick.quarantine import REFUSED_LATELY, Quarantine
from seqdev.tick.work import Aside, Batch, Floor, Size, Work

DEVICES_A_BATCH = 100
"""Devices locked by one transaction. A server's lock table holds 6,400 entries by default."""

CROWD = 1_000
"""Where more devices than that have something due, a transaction locks up to ``DEVICES_A_BATCH`` users instead,
and works on up to so many of their devices."""

USERS_A_BATCH = 20
"""Users locked by one transaction, under the policies that send from any device of a user."""

LOCK_WAIT = timedelta(milliseconds=50)
"""How long a claim waits for a lock. Meanwhile it holds rows that the other session may want next, and the
server ends whoever finds out about a deadlock: rather the claim gives way, and comes again."""

_NO_CROWD = 2_147_483_647

_FEW_DEVICES, _FEW_USERS = 25, 1
"""So many are locked at once even where that is more than a quarter of those that have something due."""


@dataclass(frozen=True)
class Locked:
    """A row of ``tick/lock.sql``."""

    device_id: UUID | None
    waiting: int
    locked_at: datetime
    oldest: str | None
    unassigned: bool


LOCK = Query("tick/lock.sql", Locked)


def claim_batch(
    transaction: Transaction, work: Work, size: Size, aside: Aside, search: Search | None
) -> Batch:
    """Claim due contacts of devices that nobody else works on, but those that are left ``aside``.

    A contact that the database refuses is quarantined, one that another session keeps from being claimed is
    passed by, and the others go on. Without a ``search`` for these, Refused is raised, and nothing is done.
    Raises Cancelled with the devices that it was about; AllRefused.
    """
    transaction.constraints_immediate()
    work = replace(work, settings=transaction.settings.of(work.group))
    steps = gates.steps(transaction, work.settings, timed=True)
    steps = close(transaction, steps, Closed(aside.passed.parents, work.unread))
    ready = gates.devices(transaction, work.settings, work.policy, gates.Asked(counted="no", told=False))
    under = hash((repr(work.settings), *steps.values(), *ready.values()))
    if aside.floor and aside.floor.under == under:
        work = replace(work, floor=aside.floor)
    locked = _lock(transaction, work, size, aside.devices, {**steps, **ready})
    devices = frozenset(row.device_id for row in locked if row.device_id)
    if not devices:
        return Batch(locked[0].waiting, devices, devices)
    if (first := locked[0].oldest) and gates.shuts(steps):
        work = replace(work, floor=Floor(first, under))
    # Later than anything the holder before has written, or its messages would not count as in flight.
    transaction.now = max(row.locked_at for row in locked)
    transaction.wait_at_most(LOCK_WAIT)
    began = time.monotonic()
    try:
        with transaction.cancellable():
            claiming = Claiming(transaction, work, size, steps, search, aside.passed.contacts)
            claiming.unassigned = locked[0].unassigned
            batch = _claim(claiming, locked[0].waiting, devices)
            seconds = time.monotonic() - began
            return replace(
                batch, floor=work.floor, seconds=seconds, waited_for=waited_for(transaction, seconds)
            )
    except Cancelled as error:
        error.devices = devices
        raise


def _lock(
    transaction: Transaction, work: Work, size: Size, done: frozenset[UUID], answers: gates.Answers
) -> list[Locked]:
    moves = work.policy.moves
    # Not while batches are made small: so many devices have more due than a small one takes.
    crowd = CROWD if size.devices >= DEVICES_A_BATCH else _NO_CROWD
    return transaction.rows(
        LOCK,
        by_user=moves,
        done=done,
        few=_FEW_USERS if moves else _FEW_DEVICES,
        most=min(USERS_A_BATCH if moves else DEVICES_A_BATCH, size.devices),
        crowd=crowd,
        **work.window,
        **gates.handed_to(LOCK, answers),
    )


def _claim(one: Claiming, waiting: int, devices: frozenset[UUID]) -> Batch:
    """Claim the contacts of ``devices``, then those who need another device; quarantine the refused."""
    moves = one.work.policy.moves
    # A user's devices share what they cannot take themselves, so that none of them is cut short before.
    one.take = one.size.contacts if moves else -(-one.size.contacts // len(devices))
    one.ask(devices)
    found = _bisect(one, Own(one))
    done = claimed(found)
    if moves and done < one.size.contacts and found.complete:
        # What was claimed has taken room, and of those found held nobody takes any.
        one.ask(devices)
        one.passed |= {pick.contact_id for pick, _ in found.held}
        moved = _bisect(one, Moved(one, found, devices))
        found = Found(
            found.done + moved.done,
            found.refused + moved.refused,
            found.held + moved.held,
            moved.complete,
        )
    found.held += one.locked
    batch = _account(one, waiting, devices, found)
    if found.held:
        batch = _pass_by(one, found, batch)
    return _quarantine(one, found, batch) if found.refused or not found.complete else batch


def _bisect(one: Claiming, claims: Claims) -> Found[Pick, list[Claim]]:
    if one.search is None:
        with one.transaction.savepoint(passes_by=True):
            return Found([claims.whole()])
    return bisect(one.transaction, claims)


def _account(one: Claiming, waiting: int, devices: frozenset[UUID], found: Found[Pick, list[Claim]]) -> Batch:
    by_device = Counter[UUID]()
    total = Counter[str]()
    for claims in found.done:
        for claim in claims:
            by_device[claim.device_id] += claim.claimed
            for name in ("claimed", "moved", "queued", "ended", "chained"):
                total[name] += getattr(claim, name)
    # Where the batch was filled, it is unknown who has more.
    filled = total["claimed"] >= one.size.contacts
    exhausted = frozenset(device for device in devices if by_device[device] < one.take)
    return Batch(
        waiting=waiting,
        devices=devices,
        exhausted=frozenset() if filled else exhausted,
        # Of several users a quarter is locked, at most.
        others=waiting > (1 if one.work.policy.moves else len(devices)),
        claimed=total["claimed"],
        moved=total["moved"],
        queued=total["queued"],
        ended=total["ended"],
        chained=total["chained"],
    )


def _pass_by(one: Claiming, found: Found[Pick, list[Claim]], batch: Batch) -> Batch:
    """``batch``, with what other sessions hold: who depends on it is left for now."""
    held = [(pick.contact_id, pick.device_id, why) for pick, why in found.held]
    passed = one.dependents.passed(held, one.work.policy.moves)
    # Who has more is not known where part of the devices' contacts was passed by.
    return replace(batch, passed=passed, exhausted=passed.devices)


def _quarantine(one: Claiming, found: Found[Pick, list[Claim]], batch: Batch) -> Batch:
    """``batch``, with what became of the contacts that the database refused.

    The next batch would find a contact that cannot be quarantined again: its device is left.
    """
    refused = found.refused
    if one.search and refused and not batch.claimed:
        before = one.transaction.one(REFUSED_LATELY, now=one.transaction.now).contacts
        one.search.raise_if_all(0, [why for _, why in refused], before)
    done = bisect(one.transaction, Quarantine(one.transaction, one.work.run, refused))
    quarantined = {row.contact_id for rows in done.done for row in rows}
    left = [(pick, why) for pick, why in refused if pick.contact_id not in quarantined]
    return replace(
        batch,
        quarantined=Counter(why for pick, why in refused if pick.contact_id in quarantined),
        left=Counter(why for _, why in left),
        # Who has more is not known where part of the devices' contacts was refused.
        exhausted=batch.passed.devices | {pick.device_id for pick, _ in left},
        complete=found.complete,
    )
