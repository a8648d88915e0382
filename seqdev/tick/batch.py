"""One batch in one transaction: lock devices, ask the gates, claim what is due, quarantine the refused."""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from seqdev import gates
from seqdev.errors import Cancelled, Held, Refused
from seqdev.postgres.bisect import Divisible, Found, bisect
from seqdev.postgres.queries import Query
from seqdev.postgres.transaction import Transaction
from seqdev.settings import Policy
from seqdev.tick.backoff import Search
from seqdev.tick.held import Dependents, close
from seqdev.tick.work import Aside, Batch, Floor, Size, Work

DEVICES_A_BATCH = 100
"""Devices locked by one transaction. A server's lock table holds 6,400 entries by default."""

USERS_A_BATCH = 20
"""Users locked by one transaction, under the policies that send from any device of a user."""

LOCK_WAIT = timedelta(milliseconds=50)
"""How long a claim waits for a lock. Meanwhile it holds rows that the other session may want next, and the
server ends whoever finds out about a deadlock: rather the claim gives way, and comes again."""

_FEW_DEVICES, _FEW_USERS = 25, 1
"""So many are locked at once even where that is more than a quarter of those that have something due."""


@dataclass(frozen=True)
class Locked:
    """A row of ``tick/lock.sql``."""

    device_id: UUID | None
    waiting: int
    locked_at: datetime
    oldest: str | None


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
class Pick:
    """A row of ``tick/pick.sql``: a due contact, and the device that claims it."""

    contact_id: UUID
    device_id: UUID


@dataclass(frozen=True)
class Overflow:
    """A row of ``tick/overflow.sql``: a contact whose own device is not available, and who takes it."""

    contact_id: UUID
    device_id: UUID
    device_name: str | None
    preferred: UUID | None
    reason: str


@dataclass(frozen=True)
class RefusedLately:
    """The row of ``tick/refused_lately.sql``."""

    contacts: int


@dataclass(frozen=True)
class Quarantined:
    """A row of ``tick/quarantine.sql``."""

    contact_id: UUID


LOCK = Query("tick/lock.sql", Locked)
PICK = Query("tick/pick.sql", Pick)
CLAIM = Query("tick/claim.sql", Claim)
OVERFLOW = Query("tick/overflow.sql", Overflow)
REFUSED_LATELY = Query("tick/refused_lately.sql", RefusedLately)
QUARANTINE = Query("tick/quarantine.sql", Quarantined)


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
    steps = close(transaction, gates.steps(transaction, work.settings, timed=True), aside.passed.parents)
    ready = gates.devices(transaction, work.settings, work.policy, gates.Asked(counted="no"))
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
    try:
        with transaction.cancellable():
            claiming = _Claiming(transaction, work, size, steps, search)
            claiming.passed = aside.passed.contacts
            return replace(claiming.claim(locked[0].waiting, devices), floor=work.floor)
    except Cancelled as error:
        error.devices = devices
        raise


def _lock(
    transaction: Transaction, work: Work, size: Size, done: frozenset[UUID], answers: gates.Answers
) -> list[Locked]:
    moves = work.policy.moves
    return transaction.rows(
        LOCK,
        by_user=moves,
        done=done,
        few=_FEW_USERS if moves else _FEW_DEVICES,
        most=min(USERS_A_BATCH if moves else DEVICES_A_BATCH, size.devices),
        **work.window,
        **gates.handed_to(LOCK, answers),
    )


class _Claiming:
    """What is done under the locks."""

    def __init__(
        self, transaction: Transaction, work: Work, size: Size, steps: gates.Answers, search: Search | None
    ) -> None:
        self.transaction = transaction
        self.work = work
        self.size = size
        self.search = search
        self.steps = steps
        self.devices: gates.Answers = {}
        self.passed: frozenset[UUID] = frozenset()
        """Contacts that this run has met before, kept from being claimed by another session."""
        self.dependents = Dependents(transaction, steps)
        self.take = 0
        """Contacts for one device, at most."""
        self.locked: list[tuple[Pick, Held]] = []
        """Contacts that a claim was given and passed over, since another session holds their rows."""

    def claim(self, waiting: int, devices: frozenset[UUID]) -> Batch:
        """Claim the contacts of ``devices``, then those who need another device; quarantine the refused."""
        moves = self.work.policy.moves
        # A user's devices share what they cannot take themselves, so that none of them is cut short before.
        self.take = self.size.contacts if moves else -(-self.size.contacts // len(devices))
        self._ask(devices)
        found = self._bisect(_Own(self))
        claimed = _claimed(found)
        if moves and claimed < self.size.contacts and found.complete:
            # What was claimed has taken room, and of those found held nobody takes any.
            self._ask(devices)
            self.passed |= {pick.contact_id for pick, _ in found.held}
            moved = self._bisect(_Moved(self, found, devices))
            found = Found(
                found.done + moved.done,
                found.refused + moved.refused,
                found.held + moved.held,
                moved.complete,
            )
        found.held += self.locked
        batch = self._account(waiting, devices, found)
        if found.held:
            batch = self._pass_by(found, batch)
        return self._quarantine(found, batch) if found.refused or not found.complete else batch

    def _ask(self, devices: frozenset[UUID]) -> None:
        asked = gates.Asked(devices)
        self.devices = gates.devices(self.transaction, self.work.settings, self.work.policy, asked)

    def _bisect(self, claims: "_Claims") -> Found[Pick, list[Claim]]:
        if self.search is None:
            with self.transaction.savepoint(passes_by=True):
                return Found([claims.whole()])
        return bisect(self.transaction, claims)

    def _account(self, waiting: int, devices: frozenset[UUID], found: Found[Pick, list[Claim]]) -> Batch:
        by_device = Counter[UUID]()
        total = Counter[str]()
        for claims in found.done:
            for claim in claims:
                by_device[claim.device_id] += claim.claimed
                for name in ("claimed", "moved", "queued", "ended", "chained"):
                    total[name] += getattr(claim, name)
        # Where the batch was filled, it is unknown who has more.
        filled = total["claimed"] >= self.size.contacts
        exhausted = frozenset(device for device in devices if by_device[device] < self.take)
        return Batch(
            waiting=waiting,
            devices=devices,
            exhausted=frozenset() if filled else exhausted,
            # Of several users a quarter is locked, at most.
            others=waiting > (1 if self.work.policy.moves else len(devices)),
            claimed=total["claimed"],
            moved=total["moved"],
            queued=total["queued"],
            ended=total["ended"],
            chained=total["chained"],
        )

    def _pass_by(self, found: Found[Pick, list[Claim]], batch: Batch) -> Batch:
        """``batch``, with what other sessions hold: who depends on it is left for now."""
        held = [(pick.contact_id, pick.device_id, why) for pick, why in found.held]
        passed = self.dependents.passed(held, self.work.policy.moves)
        # Who has more is not known where part of the devices' contacts was passed by.
        return replace(batch, passed=passed, exhausted=passed.devices)

    def _quarantine(self, found: Found[Pick, list[Claim]], batch: Batch) -> Batch:
        """``batch``, with what became of the contacts that the database refused.

        The next batch would find a contact that cannot be quarantined again: its device is left.
        """
        refused = found.refused
        if self.search and refused and not batch.claimed:
            before = self.transaction.one(REFUSED_LATELY, now=self.transaction.now).contacts
            self.search.raise_if_all(0, [why for _, why in refused], before)
        done = bisect(self.transaction, _Quarantine(self.transaction, self.work.run, refused))
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


class _Claims(Divisible[Pick, list[Claim]]):
    """Claims of contacts by locked devices."""

    moves = False
    passes_by = True

    def __init__(self, claiming: _Claiming, before: Found[Pick, list[Claim]] | None = None) -> None:
        self._claiming = claiming
        self._before = before or Found()

    def part(self, items: Sequence[Pick]) -> list[Claim]:
        return self._claim(items, len(items), own=False)

    def keys(self, items: Sequence[Pick], why: Held) -> Sequence[Hashable]:
        contacts = [pick.contact_id for pick in items]
        return self._claiming.dependents.keys(contacts, [pick.device_id for pick in items], why)

    def is_enough(self, found: Found[Pick, list[Claim]]) -> bool:
        search = self._claiming.search
        assert search is not None
        before = self._before
        return search.is_over(_claimed(before) + _claimed(found), len(before.refused) + len(found.refused))

    def _claim(self, given: Sequence[Pick], most: int, own: bool) -> list[Claim]:
        one = self._claiming
        claims = one.transaction.rows(
            CLAIM,
            now=one.transaction.now,
            own=own,
            contacts=[pick.contact_id for pick in given],
            onto=[pick.device_id for pick in given],
            moves=self.moves,
            reassigns=one.work.policy is Policy.REASSIGN,
            take=one.take if own else most,
            most=most,
            run=one.work.run,
            waiting=one.work.settings.waiting_statuses,
            done=one.work.settings.done_statuses,
            **one.work.window,
            **gates.handed_to(CLAIM, one.steps, one.devices),
        )
        if any(claim.swallowed for claim in claims):
            # A step done without a message, and nobody told: rather it is not done.
            raise Refused("a trigger of the host's keeps a row from being written, without an error")
        if one.search and (short := self._short(given, claims, own)):
            locked, why = one.dependents.locked([pick.contact_id for pick in short])
            one.locked += [(pick, why) for pick in short if pick.contact_id in locked]
        return claims

    def _short(self, given: Sequence[Pick], claims: Sequence[Claim], own: bool) -> list[Pick]:
        """What the claim was given for devices that claimed too few, although others may be behind them.

        Beside its own a device is given the oldest, twice as many as it claims: all, where they are fewer.
        """
        by_device = {claim.device_id: claim.claimed for claim in claims}
        number = Counter(pick.device_id for pick in given)
        least = 2 * self._claiming.take if own else 0
        wanted = {device: self._claiming.take if own else number[device] for device in number}
        short = {d for d in number if number[d] >= least and by_device.get(d, 0) < wanted[d]}
        return [pick for pick in given if pick.device_id in short]


class _Own(_Claims):
    """The contacts that are the devices' own: assigned to them, or else their leads'."""

    def whole(self) -> list[Claim]:
        if self._claiming.passed:
            items = self.items()
            return self.part(items) if items else []
        return self._claim(self._pick(own=False), self._claiming.size.contacts, own=True)

    def items(self) -> list[Pick]:
        # Not under their locks: the session that holds what some of them depend on may be about to want them.
        with self._claiming.transaction.undone():
            return self._pick(own=True)

    def _pick(self, own: bool) -> list[Pick]:
        one = self._claiming
        return one.transaction.rows(
            PICK,
            own=own,
            passed=one.passed,
            take=one.take,
            most=one.size.contacts,
            **one.work.window,
            **gates.handed_to(PICK, one.steps, one.devices),
        )


class _Moved(_Claims):
    """The contacts whose own device is not available, on the device that takes them."""

    moves = True

    def __init__(
        self, claiming: _Claiming, before: Found[Pick, list[Claim]], devices: frozenset[UUID]
    ) -> None:
        super().__init__(claiming, before)
        claimed = _claimed(before)
        # Where somebody is held or refused, others of the device's own may be behind.
        left = {pick.device_id for pick, _ in before.held + before.refused}
        overflow = claiming.transaction.rows(
            OVERFLOW,
            passed=claiming.passed,
            emptied=devices - left,
            most=claiming.size.contacts - claimed,
            **claiming.work.window,
            **gates.handed_to(OVERFLOW, claiming.steps, claiming.devices),
        )
        self._items = [Pick(one.contact_id, one.device_id) for one in overflow]

    def whole(self) -> list[Claim]:
        return self.part(self._items) if self._items else []

    def items(self) -> list[Pick]:
        return self._items


class _Quarantine(Divisible[tuple[Pick, str], list[Quarantined]]):
    """Contacts that the database refuses, with the reason, are no longer due."""

    passes_by = True

    def __init__(self, transaction: Transaction, run: UUID, refused: Sequence[tuple[Pick, str]]) -> None:
        self._transaction = transaction
        self._run = run
        self._refused = refused

    def whole(self) -> list[Quarantined]:
        return self.part(self._refused)

    def items(self) -> Sequence[tuple[Pick, str]]:
        return self._refused

    def part(self, items: Sequence[tuple[Pick, str]]) -> list[Quarantined]:
        return self._transaction.rows(
            QUARANTINE,
            run=self._run,
            now=self._transaction.now,
            contacts=[pick.contact_id for pick, _ in items],
            reasons=[why for _, why in items],
        )


def _claimed(found: Found[Pick, list[Claim]]) -> int:
    return sum(claim.claimed for claims in found.done for claim in claims)
