"""What the devices that a batch has locked claim: their own contacts, then those that need another device."""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from uuid import UUID

from seqdev import gates
from seqdev.errors import Held, Refused
from seqdev.postgres.bisect import Divisible, Found
from seqdev.postgres.queries import Query
from seqdev.postgres.transaction import Transaction
from seqdev.settings import Policy
from seqdev.tick.backoff import Search
from seqdev.tick.held import Dependents
from seqdev.tick.work import Size, Work


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
class HasDelays:
    """The row of ``tick/has_delays.sql``."""

    has_delays: bool


HAS_DELAYS = Query("tick/has_delays.sql", HasDelays)
DELAYS: Query[None] = Query("tick/delays.sql", type(None))
PICK = Query("tick/pick.sql", Pick)
CLAIM = Query("tick/claim.sql", Claim)
OVERFLOW = Query("tick/overflow.sql", Overflow)


@dataclass
class Claiming:
    """What the claims of a batch have in common, under its locks."""

    transaction: Transaction
    work: Work
    size: Size
    steps: gates.Answers
    search: Search | None
    passed: frozenset[UUID]
    """Contacts that this run has met before, kept from being claimed by another session."""
    devices: gates.Answers = field(default_factory=dict)
    unassigned: bool = True
    """Whether anybody may be due without an assigned device."""
    take: int = 0
    """Contacts for one device, at most."""
    locked: list[tuple[Pick, Held]] = field(default_factory=list)
    """Contacts that a claim was given and passed over, since another session holds their rows."""
    _asked: gates.Asked = gates.ALL

    @cached_property
    def dependents(self) -> Dependents:
        """Who depends on what another session holds."""
        return Dependents(self.transaction, self.steps)

    @cached_property
    def hands_delays(self) -> bool:
        """Whether the host's delays of steps go on with their messages."""
        return self.work.settings.host_columns and self.transaction.one(HAS_DELAYS).has_delays

    def ask(self, devices: frozenset[UUID]) -> None:
        """Ask the gate again about ``devices``: what was claimed has taken room."""
        self._asked = gates.Asked(devices, told=False)
        self.devices = gates.devices(self.transaction, self.work.settings, self.work.policy, self._asked)

    @property
    def answers(self) -> gates.Answers:
        """What the gates answer for the next claim: what is laid out goes on after the one before."""
        if self.devices["paces"] == "{}":
            return self.devices
        laid_out = gates.spread(self.transaction, self.work.settings, self.work.policy, self._asked)
        return {**self.devices, "paces": laid_out.paces}


class Claims(Divisible[Pick, list[Claim]]):
    """Claims of contacts by locked devices."""

    moves = False
    passes_by = True

    def __init__(self, claiming: Claiming, before: Found[Pick, list[Claim]] | None = None) -> None:
        self._claiming = claiming
        self._before = before or Found()

    def part(self, items: Sequence[Pick]) -> list[Claim]:
        """Claim just these contacts."""
        return self._claim(items, len(items), own=False)

    def keys(self, items: Sequence[Pick], why: Held) -> Sequence[Hashable]:
        """For each contact, what it depends on that may be held."""
        contacts = [pick.contact_id for pick in items]
        return self._claiming.dependents.keys(contacts, [pick.device_id for pick in items], why)

    def is_enough(self, found: Found[Pick, list[Claim]]) -> bool:
        """Whether the search for the refused has gone on for long enough."""
        search = self._claiming.search
        assert search is not None
        before = self._before
        accepted = claimed(before) + claimed(found)
        refused = len(before.refused) + len(found.refused)
        held = len(before.held) + len(found.held)
        return search.is_over(accepted, refused, held)

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
            **gates.handed_to(CLAIM, one.steps, one.answers),
        )
        if any(claim.swallowed for claim in claims):
            # A step done without a message, and nobody told: rather it is not done.
            raise Refused("a trigger of the host's keeps a row from being written, without an error")
        if one.hands_delays and (devices := [claim.device_id for claim in claims if claim.queued]):
            one.transaction.execute(DELAYS, now=one.transaction.now, devices=devices)
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


class Own(Claims):
    """The contacts that are the devices' own: assigned to them, or else their leads'."""

    def whole(self) -> list[Claim]:
        """Claim as many as the batch may take."""
        if self._claiming.passed:
            items = self.items()
            return self.part(items) if items else []
        one = self._claiming
        # The claim finds the others itself: even to plan the search for these takes milliseconds.
        given = self._pick(own=False) if one.unassigned or gates.chooses(one.devices) else []
        return self._claim(given, one.size.contacts, own=True)

    def items(self) -> list[Pick]:
        """Who that is about."""
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
            failed=one.work.settings.failed_statuses,
            **one.work.window,
            **gates.handed_to(PICK, one.steps, one.devices),
        )


class Moved(Claims):
    """The contacts whose own device is not available, on the device that takes them."""

    moves = True

    def __init__(
        self, claiming: Claiming, before: Found[Pick, list[Claim]], devices: frozenset[UUID]
    ) -> None:
        super().__init__(claiming, before)
        already = claimed(before)
        # Where somebody is held or refused, others of the device's own may be behind.
        left = {pick.device_id for pick, _ in before.held + before.refused}
        overflow = claiming.transaction.rows(
            OVERFLOW,
            passed=claiming.passed,
            emptied=devices - left,
            most=claiming.size.contacts - already,
            failed=claiming.work.settings.failed_statuses,
            **claiming.work.window,
            **gates.handed_to(OVERFLOW, claiming.steps, claiming.devices),
        )
        self._items = [Pick(one.contact_id, one.device_id) for one in overflow]

    def whole(self) -> list[Claim]:
        """Claim all of them."""
        return self.part(self._items) if self._items else []

    def items(self) -> list[Pick]:
        """Those who need another device, each with the one that takes it."""
        return self._items


def claimed(found: Found[Pick, list[Claim]]) -> int:
    """How many contacts were claimed."""
    return sum(claim.claimed for claims in found.done for claim in claims)
