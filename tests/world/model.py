"""Sections 3 and 4 of the domain in plain Python, for the property tests to compare with.

Written from the description of the domain, not from the statements: what enrolment and a tick must leave behind.
Where the description leaves a choice (which of equally old contacts, which of equally loaded devices), a tick is
told what was chosen, and refuses what was not free to choose. Time is a number of minutes.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from uuid import UUID

from tests.world import hours

HOUR, DAY = 60, 24 * 60
AHEAD, SOON = 75, 135
"""How far ahead a message may be laid out, and what counts then besides."""
WEEK = 7 * DAY
IN_FLIGHT = ("pending", "queued", "processing")
FAILED = ("failed", "error", "skipped", "expired", "cancelled")
SENT = ("sent", "delivered", "read")
CAMPAIGN = "6019"
"""Whom campaigns are for."""
RESTRICTED = "error 463: restricted"
"""The error of a device that may open no new chats."""

DONE_BEFORE, NOWHERE, BEFORE = ENDED = ("done before", "names no step or sequence", "before")
"""Why a sequence ended where its steps do not say so."""

Key = tuple[UUID, str, UUID | None]
"""Sequence, phone and step: one row each."""


@dataclass
class Device:
    user: UUID
    status: str
    is_available: bool | None = None
    platform: str | None = None
    seen: int | None = None

    @property
    def is_online(self) -> bool:
        return self.status == "online" or bool((self.platform or "").strip())

    @property
    def is_up(self) -> bool:
        return self.is_online and self.is_available is not False


@dataclass
class Step:
    id: UUID
    day: int
    trigger: str
    next_trigger: str | None
    delay: int | None
    content: str | None
    is_entry: bool


@dataclass
class Sequence:
    user: UUID
    steps: list[Step]
    status: str = "active"
    is_active: bool = True
    not_before: str | None = None
    """The host's own column schedule_time."""
    priority: int = 0
    """The host's own column: of those with the highest people go first, where a device has not room for all."""

    @property
    def is_on(self) -> bool:
        return self.is_active and self.status == "active"

    def entries(self) -> list[Step]:
        return sorted((step for step in self.steps if step.is_entry), key=lambda step: step.day)

    def step(self, identity: UUID | None) -> Step | None:
        return next((step for step in self.steps if step.id == identity), None)

    def after(self, step: Step) -> Step | None:
        return next((other for other in self.steps if other.trigger == step.next_trigger), None)


@dataclass
class Lead:
    device: UUID | None
    triggers: list[str]


@dataclass
class Contact:
    assigned: UUID | None
    due: int
    status: str = "active"
    claimed_at: int | None = None
    claimed_by: UUID | None = None
    done_at: int | None = None
    sent_from: UUID | None = None
    error: str = ""
    """A part of last_error; empty: there is none."""
    retries: int = 0


@dataclass
class Message:
    device: UUID
    status: str
    scheduled: float | None
    created: int
    sent: int | None = None
    contact: Key | None = None
    id: UUID | None = None
    """Of a campaign's, which has no contact, and of one from before its person began the sequence again."""
    error: str | None = None
    sent_turn: int = 0
    """When it was sent, among all that happens."""

    @property
    def phone(self) -> str:
        return self.contact[1] if self.contact else CAMPAIGN

    @property
    def left(self) -> int | None:
        """When it left; None: it has not."""
        return None if self.status in (*IN_FLIGHT, *FAILED) else self.sent


@dataclass(frozen=True)
class Move:
    """A person whom a tick has assigned to another device, and when."""

    sequence: UUID
    phone: str
    old: UUID
    new: UUID
    at: int


@dataclass
class Ticked:
    """The numbers of a summary."""

    due: int = 0
    queued: int = 0
    moved: int = 0
    already_queued: int = 0
    waiting: Counter[str] = field(default_factory=Counter)
    ended: int = 0
    chained: int = 0
    failed_reflected: int = 0
    varies: bool = False
    """How many go to other devices depends on how many are claimed at a time."""
    reasons: dict[Key, str] = field(default_factory=dict)
    """Why each of those waits who do, as it is before the tick: what explain tells."""
    left: dict[Key, str] = field(default_factory=dict)
    """The same, as the tick leaves it: what its account and the dry run count."""
    replied: int = 0
    returned: set[Key] = field(default_factory=set)
    """Contacts that went back to their own device first."""


@dataclass
class Limits:
    """The rules for all; at first as they are where nobody has set any."""

    in_flight: int = 50
    hour: int = 80
    day: int = 800
    spread: bool = False
    warm_up: tuple[int, int] | None = None
    new_chats: int | None = None
    grace: int = 0
    restricted: tuple[str, ...] = ("463", "reach out", "time lock", "restricted")
    default_delay: int = 24 * HOUR
    max_lateness: int = 0
    without_lead: bool = False
    claim_timeout: int = 5
    failed_within: int = 7 * DAY
    gone: tuple[str, ...] = ("banned", "deleted", "blocked")
    host_columns: bool = False
    return_home: bool = False
    reenrol_after: int = 0


@dataclass
class Model:
    """The host's tables, and what seqdev does to them."""

    limits: Limits
    narrower: dict[tuple[str, UUID], Any] = field(default_factory=dict)
    """Rules for a device, a user or a sequence alone, by the name in Limits, and whose it is."""
    policies: dict[UUID, str] = field(default_factory=dict)
    """Of users who have one of their own."""
    paused: set[UUID] = field(default_factory=set)
    """Devices, sequences and users that are."""
    turns: int = 0
    """Things that have happened."""
    stops_on_reply: set[UUID] = field(default_factory=set)
    """Users whose people leave a sequence when they write back."""
    replies: dict[tuple[UUID, str], int] = field(default_factory=dict)
    """Of a user's person, the turn in which they last wrote."""
    begun: dict[tuple[UUID, str], int] = field(default_factory=dict)
    """Of a sequence's person, the turn in which they began it again: what they wrote before is not about it."""
    hours: dict[tuple[str, UUID | None], str] = field(default_factory=dict)
    """Rules window and zone, of sequences, users and, with None, all: as the clock on the wall has it."""
    clock: int = 0
    scheduled: dict[Key, float] = field(default_factory=dict)
    """For how many minutes from now messages are scheduled that the next tick queues."""
    devices: dict[UUID, Device] = field(default_factory=dict)
    sequences: dict[UUID, Sequence] = field(default_factory=dict)
    leads: dict[tuple[UUID, str], Lead] = field(default_factory=dict)
    contacts: dict[Key, Contact] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    """What ticks have moved, in the order of it."""
    assignments: Counter[tuple[Key, UUID | None, UUID | None]] = field(default_factory=Counter)
    """Journaled changes of the assigned device: of which contact, the old one and the new one."""

    # -- Enrolment

    def enrol(self) -> tuple[int, Counter[str], list[Key]]:
        """How many were enrolled, the refused by reason, and the rows of who began again, which are new ones."""
        enrolled, refused, again = 0, Counter[str](), list[Key]()
        for (user, phone), lead in self.leads.items():
            for sequence_id, sequence in self.sequences.items():
                if sequence.user != user or not sequence.is_on:
                    continue
                entries = sequence.entries()
                if not {step.trigger for step in entries} & set(lead.triggers):
                    continue
                begins_again = self._may_enter_again(sequence_id, phone)
                if self.is_in(sequence_id, phone) and not begins_again:
                    continue
                reason = self._refusal(lead.device, user)
                if reason:
                    refused[reason] += 1
                    continue
                enrolled += 1
                made = [key for key in self.contacts if key[:2] == (sequence_id, phone)]
                if begins_again:
                    self._begin_again(made, entries[0].id, lead.device)
                    again += made
                elif made:
                    # All of them wait: the first of them begins.
                    days: dict[UUID | None, int] = {step.id: step.day for step in sequence.steps}
                    first = self.contacts[min(made, key=lambda key: days[key[2]])]
                    first.status, first.due = "active", max(first.due, self.clock)
                    first.assigned = first.assigned or lead.device
                else:
                    self.contacts[sequence_id, phone, entries[0].id] = Contact(lead.device, self.clock)
        return enrolled, refused, again

    def _may_enter_again(self, identity: UUID, phone: str) -> bool:
        """Whether the person has finished the sequence, and that long ago."""
        after = self.narrower.get(("reenrol_after", identity), self.limits.reenrol_after)
        sequence = self.sequences[identity]
        rows = {key[2]: row for key, row in self.contacts.items() if key[:2] == (identity, phone)}
        done = [row.done_at for row in rows.values() if row.done_at is not None]
        steps = [step for step in sequence.steps if step.id in rows]
        return (
            after > 0
            and all(row.status in ("completed", "failed") for row in rows.values())
            and sequence.entries()[0].id in rows
            and (
                any(row.error in ENDED for row in rows.values())
                or any(not self._following(sequence, step) for step in steps)
            )
            and bool(done)
            and self.clock - max(done) >= after
        )

    def _begin_again(self, keys: list[Key], entry: UUID, device: UUID | None) -> None:
        for key in keys:
            row = self.contacts[key]
            if row.assigned != device:
                self.assignments[key, row.assigned, device] += 1
            begins = key[2] == entry
            self.contacts[key] = Contact(
                device,
                self.clock if begins else row.due,
                "active" if begins else "pending",
                retries=row.retries,
            )
        self.begun[keys[0][:2]] = self.turns
        # Their rows are others: nobody knows any more that ticks have moved them.
        self.moves = [one for one in self.moves if (one.sequence, one.phone) != keys[0][:2]]

    def is_in(self, sequence: UUID, phone: str) -> bool:
        """Whether the person has a row that does not wait for the steps before it."""
        return any(
            key[:2] == (sequence, phone) and row.status != "pending" for key, row in self.contacts.items()
        )

    def has_been_in(self, sequence: UUID, phone: str) -> bool:
        return any(key[:2] == (sequence, phone) for key in self.contacts)

    def _refusal(self, device: UUID | None, user: UUID) -> str | None:
        if device is None:
            return "no_device"
        if device not in self.devices:
            return "device_missing"
        return None if self.devices[device].user == user else "device_of_other_user"

    # -- The tick

    def preferred(self, key: Key) -> UUID | None:
        """The assigned device, else that of the lead of the same user."""
        lead = self.leads.get((self.sequences[key[0]].user, key[1]))
        return self.contacts[key].assigned or (lead.device if lead else None)

    def room(self, device: UUID) -> int:
        """How many more messages the device may be given."""
        own = [message for message in self.messages if message.device == device]
        flying = sum(
            message.status in IN_FLIGHT and (message.scheduled is None or message.scheduled <= self.clock)
            for message in own
        )
        gone = [self.clock - message.left for message in own if message.left is not None]
        soon = self.soon(device)
        laid_out = sum(message.contact is not None for message in soon)
        left: int = min(
            self.limit("in_flight", device) - flying - laid_out,
            self.limit("hour", device) - flying - len(soon) - sum(age < HOUR for age in gone),
            self.a_day(device, gone) - flying - len(soon) - sum(age < DAY for age in gone),
        )
        return max(0, left)

    def soon(self, device: UUID) -> list[Message]:
        """The device's messages whose time comes, where that counts: seqdev's own are laid out."""
        return [
            message
            for message in self.messages
            if self.limit("spread", device)
            and message.device == device
            and message.status in IN_FLIGHT
            and self.clock < (message.scheduled or 0) <= self.clock + SOON
        ]

    def a_day(self, device: UUID, ages: Iterable[int]) -> int:
        """Messages in a day: of a device that warms up, whose messages are as old as that, fewer."""
        most: int = self.limit("day", device)
        ramp: tuple[int, int] | None = self.limit("warm_up", device)
        if ramp is None:
            return most
        used: list[int] = []
        for age in sorted(ages, reverse=True):
            if used and used[-1] - age >= WEEK:
                used = []
            used.append(age)
        days, last = 0, None
        if used and used[-1] < WEEK:
            # As many days as fit, from the first message on.
            for age in used:
                if age >= DAY and (last is None or last - age >= DAY):
                    days, last = days + 1, age
        first, more = ramp
        return min(most, first + more * days)

    def new_room(self, device: UUID) -> int | None:
        """How many people the device may write to for the first time; None: as many as there are."""
        if self.is_restricted(device):
            return 0
        most = self.limit("new_chats", device)
        if most is None:
            return None
        own = [message for message in self.messages if message.device == device]
        lately = {
            message.phone
            for message in own
            if (message.status in IN_FLIGHT and (message.scheduled or 0) <= self.clock + DAY)
            or (message.left is not None and self.clock - message.left < DAY)
        }
        before = {one.phone for one in own if one.left is not None and self.clock - one.left >= DAY}
        return max(0, int(most) - len(lately - before))

    def is_restricted(self, device: UUID) -> bool:
        return any(
            message.device == device
            and message.contact is not None
            and message.status in FAILED
            and any(words in (message.error or "") for words in self.limits.restricted)
            and self.clock - max(message.created, message.scheduled or 0) < DAY
            for message in self.messages
        )

    def knows(self, device: UUID, phone: str) -> bool:
        """Whether a message of the device to the phone has left, or is to leave."""
        return any(
            message.device == device
            and message.phone == phone
            and message.status not in FAILED
            and (message.sent is not None or message.status in IN_FLIGHT)
            for message in self.messages
        )

    def is_gone(self, device: UUID) -> bool:
        one = self.devices[device]
        return one.status in self.limits.gone and not one.is_online

    def is_waited_for(self, device: UUID) -> bool:
        """Whether a device that is not online may come back in time."""
        one, grace = self.devices[device], int(self.limit("grace", device))
        signs = [message.left for message in self.messages if message.device == device]
        seen = max((at for at in (one.seen, *signs) if at is not None), default=None)
        return not (one.is_online or self.is_gone(device)) and seen is not None and seen + grace > self.clock

    def limit(self, name: str, device: UUID) -> Any:
        """The most specific rule: the device's, its user's, that for all."""
        for whose in (device, self.devices[device].user):
            if (name, whose) in self.narrower:
                return self.narrower[name, whose]
        return getattr(self.limits, name)

    def load(self, device: UUID) -> int:
        return sum(
            message.device == device
            and message.status in IN_FLIGHT
            and (message.scheduled is None or message.scheduled <= self.clock)
            for message in self.messages
        ) + sum(message.contact is not None for message in self.soon(device))

    def tick(
        self, policy: str, sent: dict[Key, UUID], most: int | None = None, turns: dict[Key, Any] | None = None
    ) -> Ticked:
        """What a tick under ``policy``, for users without one of their own, leaves behind that has sent ``sent``.

        Fails where that is not what the policy allows, or less than it asks for. ``most``: --max-messages.
        ``turns``: when the contacts are due, to the moment.
        """
        returned = self._bring_home()
        summary = Ticked(
            failed_reflected=self._reflect_failed(), replied=self._stop_replied(), returned=returned
        )

        def policy_of(user: UUID) -> str:
            return self.policies.get(user, policy)

        def moves(user: UUID) -> bool:
            return policy_of(user) in ("fallback", "reassign")

        waiting: dict[Key, str] = {}
        own: dict[UUID, list[Key]] = defaultdict(list)
        elsewhere: dict[UUID, list[Key]] = defaultdict(list)
        """By user: contacts that only another device can take."""
        for key, contact in self.contacts.items():
            sequence = self.sequences[key[0]]
            if contact.status != "active" or not sequence.is_on or contact.due > self.clock:
                continue
            summary.due += 1
            device = self.preferred(key)
            reason = self._data_fault(key) or self._refusal(device, sequence.user)
            has_lead = self.limits.without_lead or (sequence.user, key[1]) in self.leads
            if reason in ("no_device", "device_missing"):
                waiting[key] = reason
                elsewhere[sequence.user] += [key] * has_lead
            elif reason:
                waiting[key] = reason
            elif device in self.paused:
                # Nobody is moved: it is the people of this device who are to wait.
                waiting[key] = "paused"
            elif policy_of(sequence.user) != "queue" and device and not self.devices[device].is_up:
                waiting[key] = "device_gone" if self.is_gone(device) else "device_offline"
                if moves(sequence.user) and self.is_waited_for(device):
                    waiting[key] = "device_away"
                else:
                    elsewhere[sequence.user] += [key] * has_lead
            elif not has_lead:
                waiting[key] = "no_lead"
            elif device:
                own[device].append(key)
        news: dict[UUID, int] = {}
        """Of each device with a limit of them: new chats that its own people leave."""
        newcomers: dict[UUID, list[Key]] = {}
        """Of such a device: its people whom it does not know even now."""
        for device, one in self.devices.items():
            if policy_of(one.user) == "queue" or (new_room := self.new_room(device)) is None:
                continue
            fresh = [key for key in own[device] if not self.knows(device, key[1])]
            may = self._first_chats(fresh, turns or {})[:new_room]
            for key in fresh:
                if key[1] not in may:
                    own[device].remove(key)
                    elsewhere[one.user].append(key)
                    waiting[key] = "device_restricted" if self.is_restricted(device) else "new_chats_full"
            went = {key[1] for key in own[device] if key in fresh and sent.get(key) == device}
            news[device] = new_room - len(went)
            newcomers[device] = [key for key in fresh if key[1] not in went]
        room = {
            device: len(keys) if policy_of(self.devices[device].user) == "queue" else self.room(device)
            for device, keys in own.items()
        }
        could = sum(min(room[device], len(keys)) for device, keys in own.items())
        any_moves = any(moves(sequence.user) for sequence in self.sequences.values())
        if most is None:
            most = summary.due
        # User by user: one's contacts may take all there is, on whatever device, before the other's turn.
        limited = most < (summary.due if any_moves else could)
        for device, keys in own.items():
            gone = [key for key in keys if sent.get(key) == device]
            assert len(gone) <= room[device], f"over the capacity of {device}"
            assert limited or len(gone) == min(room[device], len(keys)), "contacts of a device with room wait"
            for key in set(keys) - set(gone):
                waiting[key] = "device_full"
            self._first_first(gone, set(keys) - set(gone), policy_of(self.devices[device].user) != "queue")
            if len(keys) > room[device]:
                user = self.devices[device].user
                # The oldest stay; who of equally old ones, nobody says.
                elsewhere[user] += [key for key in keys if key not in gone]
        moved = {key: device for key, device in sent.items() if device != self.preferred(key)}
        assert set(sent) - set(moved) <= {key for keys in own.values() for key in keys}, "sent by mistake"
        elsewhere = {user: keys for user, keys in elsewhere.items() if moves(user)}
        if any_moves:
            low, high = self._check_moves(moved, elsewhere, sent, (limited, news))
            summary.varies = low < high
        else:
            assert not moved, "sent from another device"
            low = high = 0
        assert min(could + low, most) <= len(sent) <= min(could + high, most), (
            f"{len(sent)} sent where {min(could + low, most)} must be"
        )
        summary.queued, summary.moved = len(sent), len(moved)
        for device in set(sent.values()):
            queues = policy_of(self.devices[device].user) == "queue"
            self._check_layout(device, sorted(self.scheduled[k] for k in sent if sent[k] == device), queues)
        for key, device in sent.items():
            waiting.pop(key, None)
            self._send(key, device, policy_of(self.sequences[key[0]].user) if key in moved else "")
        summary.reasons = dict(waiting)
        for device, keys in newcomers.items():
            # Whoever went to another device has left a new chat to those who stay: it is room that they wait for.
            stay = [key for key in keys if key in waiting]
            may = self._first_chats(stay, turns or {})[: news[device]]
            for key in stay:
                if key[1] in may:
                    waiting[key] = "device_full"
        summary.left, summary.waiting = waiting, Counter(waiting.values())
        self._end(sent, moved, summary)
        return summary

    def _bring_home(self) -> set[Key]:
        """Whom ticks have moved goes back where their first device is there again, and has been for long enough."""
        lately = [one for one in self.moves if self.clock - one.at < 30 * DAY]
        ways: dict[tuple[UUID, str], tuple[UUID, UUID]] = {}
        for move in lately:
            home, stands_in = ways.get((move.sequence, move.phone), (move.old, move.old))
            ways[move.sequence, move.phone] = (home if stands_in == move.old else move.old, move.new)
        returned = set[Key]()
        for (sequence, phone), (home, stands_in) in ways.items():
            device, user = self.devices.get(home), self.sequences[sequence].user
            if device is None or home == stands_in or device.user != user:
                continue
            may = self.limit("return_home", home) and device.is_up and home not in self.paused
            last = max(one.at for one in lately if one.old == home)
            if not may or self.clock - last < self.limit("grace", home):
                continue
            for key, row in self.contacts.items():
                here = key[:2] == (sequence, phone) and row.assigned == stands_in
                if here and row.status in ("active", "pending"):
                    row.assigned = home
                    self.assignments[key, stands_in, home] += 1
                    returned.add(key)
        return returned

    def _reflect_failed(self) -> int:
        number = 0
        for message in self.messages:
            if (
                message.status not in FAILED
                or message.contact is None
                or message.id is not None
                or self.clock - message.created >= self.limits.failed_within
            ):
                continue
            contact = self.contacts[message.contact]
            if contact.status == "completed":
                contact.status, contact.error = "failed", message.error or "no reason"
                contact.retries += 1
                number += 1
        for message in self.messages:
            own = message.contact if message.id is None else None
            contact = self.contacts[own] if own else Contact(None, 0)
            if message.status in SENT and contact.status == "failed" and contact.done_at is not None:
                recent = self.clock - contact.done_at < self.limits.failed_within
                contact.status, contact.error = ("completed", "") if recent else ("failed", contact.error)
        return number

    def _stop_replied(self) -> int:
        """Who has written since their sequence last wrote to them gets nothing more of it."""
        number = 0
        for key, contact in self.contacts.items():
            user = self.sequences[key[0]].user
            if user not in self.stops_on_reply or contact.status not in ("active", "pending"):
                continue
            own = [one for one in self.messages if one.contact and one.contact[:2] == key[:2]]
            sent = [one.sent_turn for one in own if one.status in SENT]
            since = max([*sent, self.begun.get(key[:2], -1)])
            if sent and self.replies.get((user, key[1]), -1) > since:
                contact.status, contact.error = "replied", "replied"
                number += 1
                for message in own:
                    if message.status == "pending":
                        message.status, message.error = "cancelled", "replied"
        return number

    def _data_fault(self, key: Key) -> str | None:
        contact = self.contacts[key]
        step = self.sequences[key[0]].step(key[2])
        if self.limits.max_lateness and self.clock - contact.due >= self.limits.max_lateness:
            return "too_late"
        if not key[1].strip():
            return "bad_phone"
        if self.paused & {key[0], self.sequences[key[0]].user}:
            return "paused"
        if step is None:
            return "step_missing"
        if not (step.content or "").strip():
            return "no_content"
        if self._is_shut(key[0], key[1]):
            return "outside_window"
        if contact.claimed_at is None:
            return "claimed" if contact.claimed_by else None
        if self.clock - contact.claimed_at < self.limits.claim_timeout:
            return "claimed"
        return None

    def _is_shut(self, identity: UUID, phone: str) -> bool:
        sequence = self.sequences[identity]

        def ruled(name: str, *but: str) -> str:
            found = (self.hours.get((name, whose)) for whose in (identity, sequence.user, None))
            return next((value for value in found if value is not None and value not in but), "")

        now, not_before = datetime.now(UTC), (self.limits.host_columns and sequence.not_before) or "00:00"
        zones = hours.zones_of(phone) if ruled("zone") == "recipient" else []
        return not all(
            hours.is_open(ruled("window"), zone, now, not_before)
            for zone in zones or [ruled("zone", "recipient") or "UTC"]
        )

    def _first_chats(self, keys: Iterable[Key], turns: Mapping[Key, Any]) -> list[str]:
        """The phones of ``keys``, in the order in which a device opens chats with them."""
        first: dict[str, Any] = {}
        for key in keys:
            turn = (-self._priority(key), turns.get(key, self.contacts[key].due))
            first[key[1]] = min(turn, first.get(key[1], turn))
        return sorted(first, key=lambda phone: (first[phone], phone))

    def _priority(self, key: Key) -> int:
        return self.sequences[key[0]].priority if self.limits.host_columns else 0

    def _first_first(self, gone: Collection[Key], left: Collection[Key], is_limited: bool = True) -> None:
        """The oldest go first, but for those of a sequence that comes before theirs."""

        def turn(key: Key) -> tuple[int, int]:
            return -self._priority(key) if is_limited else 0, self.contacts[key].due

        if gone and left:
            assert max(map(turn, gone)) <= min(map(turn, left)), "not in the order of priority and age"

    def _check_moves(
        self,
        moved: dict[Key, UUID],
        elsewhere: dict[UUID, list[Key]],
        sent: dict[Key, UUID],
        limits: tuple[bool, dict[UUID, int]],
    ) -> tuple[int, int]:
        """How many could go to another device, at least and at most; fails where one went to a wrong one.

        ``limits``: whether not all could be sent; and the new chats that each device with a limit has left.
        Whom it knows needs none of them, unless the next batch is the first to see that.
        """
        limited, news = limits
        assert set(moved) <= {key for keys in elsewhere.values() for key in keys}, "moved for no reason"
        low = high = 0
        for user, keys in elsewhere.items():
            own = Counter(at for key, at in sent.items() if key not in moved)
            rooms = {
                identity: self.room(identity) - own[identity]
                for identity, device in self.devices.items()
                if device.user == user and device.is_up and identity not in self.paused
            }
            spare = {device: min(room, news.get(device, room)) for device, room in rooms.items()}
            taken = Counter(moved[key] for key in keys if key in moved)
            assert taken.keys() <= spare.keys(), (
                "sent from a device of another user, or one that is not available"
            )
            assert all(number <= rooms[device] for device, number in taken.items()), "over the capacity"
            own_phones = defaultdict[UUID, set[str]](set)
            for key, at in sent.items():
                if key not in moved:
                    own_phones[at].add(key[1])
            for device in taken.keys() & news.keys():
                came = {key[1] for key in keys if moved.get(key) == device} - own_phones[device]
                assert sum(not self.knows(device, phone) for phone in came) <= news[device], "too many chats"
            low += min(len(keys), sum(spare.values()))
            welcome = {
                one
                for one in rooms
                # Known, too, is whose own message from there opens the chat in this very tick.
                if spare[one] > 0 or any(key[1] in own_phones[one] or self.knows(one, key[1]) for key in keys)
            }
            high += min(len(keys), sum(rooms[one] for one in welcome))
            if not limited and len(news.keys() & rooms.keys()) == 1:
                self._check_nobody_was_left(keys, moved, rooms, news)
            self._first_first(
                [key for key in keys if key in moved], [key for key in keys if key not in moved]
            )
            if limited:
                continue
            for device in taken:
                for other, room in spare.items():
                    if other != device and taken[other] < room:
                        heavier = self.load(device) + own[device] + taken[device]
                        lighter = self.load(other) + own[other] + taken[other]
                        assert heavier <= lighter + 1, "not to the least loaded device"
        return low, high

    def _check_nobody_was_left(
        self, keys: list[Key], moved: dict[Key, UUID], rooms: dict[UUID, int], news: dict[UUID, int]
    ) -> None:
        """Where one device of the user limits chats: who goes to no other device could go to none."""
        came = [key for key in keys if key in moved]
        for device, room in rooms.items():
            if room == sum(moved[key] == device for key in came):
                continue
            fresh = [key for key in came if moved[key] == device and not self.knows(device, key[1])]
            assert not [
                key
                for key in keys
                if key not in moved and (self.knows(device, key[1]) or len(fresh) < news.get(device, room))
            ], "a device with room takes nobody"

    def _check_layout(self, device: UUID, minutes: list[float], queues: bool) -> None:
        if queues or not self.limit("spread", device):
            assert set(minutes) == {0}, "not scheduled for now"
            return
        gap = HOUR / self.limit("hour", device)
        assert all(later - one >= 0.45 * gap for one, later in pairwise(minutes)), (
            "too soon one after the other"
        )
        assert minutes[0] >= 0, "scheduled for the past"
        assert minutes[-1] <= AHEAD, "laid out too far ahead"

    def _send(self, key: Key, device: UUID, moved: str) -> None:
        contact = self.contacts[key]
        contact.status, contact.sent_from, contact.claimed_at, contact.error = "completed", device, None, ""
        contact.done_at = self.clock
        if moved == "reassign":
            self._reassign(key, device, True)
        self.messages.append(
            Message(device, "pending", self.clock + self.scheduled[key], self.clock, contact=key)
        )

    def _reassign(self, key: Key, device: UUID | None, moves: bool) -> None:
        """Assign a contact to a device, in the journal; by a tick that ``moves`` people, it is one of the moves."""
        contact = self.contacts[key]
        if contact.assigned == device:
            return
        self.assignments[key, contact.assigned, device] += 1
        if moves and contact.assigned and device:
            self.moves.append(Move(key[0], key[1], contact.assigned, device, self.clock))
        contact.assigned = device

    def _end(self, sent: Iterable[Key], moved: Collection[Key], summary: Ticked) -> None:
        """The next steps of who was sent to, or the end of their sequences."""
        # Who was where before this tick, for chains.
        been = {key[:2] for key in self.contacts}
        ends: dict[bool, list[tuple[Key, str | None]]] = {False: [], True: []}
        """By whether they went to another device, which is decided later: whose sequence ends, and what it leads to."""
        for key in list(sent):
            sequence = self.sequences[key[0]]
            step = sequence.step(key[2])
            assert step
            contact = self.contacts[key]
            following = self._following(sequence, step)
            becomes = None
            if following:
                next_key = (key[0], key[1], following.id)
                if next_key not in self.contacts:
                    self.contacts[next_key] = Contact(contact.assigned, self.clock + self._delay(following))
                    continue
                behind = self.contacts[next_key]
                if behind.status == "pending":
                    behind.status = "active"
                    behind.due = max(behind.due, self.clock + self._delay(following))
                    self._reassign(next_key, contact.assigned or behind.assigned, bool(summary.moved))
                    continue
                if behind.status == "active":
                    continue
                contact.error = DONE_BEFORE
            elif (step.next_trigger or "").strip():
                others = [
                    identity
                    for identity, other in self.sequences.items()
                    if other.user == sequence.user
                    and identity != key[0]
                    and step.next_trigger in {entry.trigger for entry in other.entries()}
                ]
                if not others:
                    contact.error = NOWHERE
                elif all((other, key[1]) in been for other in others):
                    contact.error = BEFORE
                else:
                    becomes = step.next_trigger
            summary.ended += 1
            ends[key in moved].append((key, becomes))
        for together in ends.values():
            summary.chained += self._leave(together)

    def _leave(self, ends: list[tuple[Key, str | None]]) -> int:
        """Take the triggers of sequences that end together out of the lists of their leads; how many are followed."""
        chained = 0
        for person in dict.fromkeys((self.sequences[key[0]].user, key[1]) for key, _ in ends):
            own = [
                (entry.trigger, becomes)
                for key, becomes in ends
                if (self.sequences[key[0]].user, key[1]) == person
                for entry in self.sequences[key[0]].entries()
            ]
            # Of two that end with one entry trigger, the one that leads on is followed.
            becomes = dict(sorted(own, key=lambda one: (one[1] is not None, one[1] or "")))
            lead = self.leads.get(person)
            if lead and becomes.keys() & set(lead.triggers):
                named = (becomes.get(trigger, trigger) for trigger in lead.triggers)
                lead.triggers = list(dict.fromkeys(trigger for trigger in named if trigger))
                chained += sum(
                    then in lead.triggers
                    for key, then in ends
                    if (self.sequences[key[0]].user, key[1]) == person and then
                )
        return chained

    @staticmethod
    def _following(sequence: Sequence, step: Step) -> Step | None:
        return sequence.after(step) if (step.next_trigger or "").strip() else None

    def _delay(self, step: Step) -> int:
        return step.delay * HOUR if step.delay and step.delay > 0 else self.limits.default_delay
