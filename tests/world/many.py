"""Many small worlds of a host in one database, clean but for what chance makes odd, each oddity noted by its name.

A world is two users with devices, sequences and people of their own. Nothing of one world touches another.
"""

import json
import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

Pair = tuple[str, UUID]
"""A phone and a sequence."""

Row = dict[str, Any]

TABLES = (
    "users",
    "user_devices",
    "leads",
    "sequences",
    "sequence_steps",
    "sequence_contacts",
    "broadcast_messages",
    "device_load_balance",
)
IMAGE = "https://example.com/a.png"


def hours(number: float) -> timedelta:
    """From now."""
    return timedelta(hours=number)


@dataclass
class Drip:
    """A sequence and its steps."""

    id: UUID
    entry: str
    between: str
    """What stands between its name and the number in the triggers of later steps."""
    steps: list[Row] = field(default_factory=list)
    odd: set[str] = field(default_factory=set)


@dataclass
class Account:
    """A user, and what is the user's."""

    user: UUID
    devices: list[Row]
    drips: list[Drip]

    def device(self, rng: random.Random) -> UUID:
        identity: UUID = rng.choice(self.devices)["id"]
        return identity


@dataclass
class Worlds:
    """Rows by table, and what is odd about each person in each sequence.

    ``ahead``: the host makes the rows of all steps at once.
    """

    rng: random.Random
    ahead: bool
    tables: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    odd: dict[Pair, set[str]] = field(default_factory=lambda: defaultdict(set))
    odd_steps: dict[UUID, set[str]] = field(default_factory=lambda: defaultdict(set))
    odd_devices: dict[UUID, set[str]] = field(default_factory=lambda: defaultdict(set))
    onward: dict[UUID, UUID] = field(default_factory=dict)
    """Which sequence leads to which."""

    def identity(self) -> UUID:
        return UUID(int=self.rng.getrandbits(128), version=4)

    def row(self, table: str, **columns: Any) -> Row:
        made = {"id": self.identity(), **columns}
        self.tables[table].append(made)
        return made

    def happens(self, share: float) -> bool:
        return self.rng.random() < share

    def is_odd(self, odd: set[str], name: str, share: float = 0.03) -> bool:
        """Whether something odd happens, and a note of it."""
        if not self.happens(share):
            return False
        odd.add(name)
        return True

    # -- A world

    def world(self, number: int) -> None:
        accounts = [self.account(f"w{number}u{place}") for place in range(2)]
        for place, account in enumerate(accounts):
            for person in range(1, 4):
                self.person(account, f"60{number:05}{place}{person:03}", accounts[1 - place])
        # One phone is known to both users.
        phone = f"60{number:05}0000"
        called = [self.person(account, phone, accounts[1 - place]) for place, account in enumerate(accounts)]
        for drip in (drip for account in accounts for drip in account.drips):
            if drip not in called or self.odd[phone, drip.id]:
                self.odd[phone, drip.id].add("phone of two users")

    def account(self, name: str) -> Account:
        user = self.row("users")["id"]
        account = Account(user, [self.device(user) for _ in range(2)], [])
        account.drips += [self.drip(user, f"{name}s{rank}x") for rank in range(2)]
        first, second = account.drips
        if self.happens(0.3):
            first.steps[-1]["next_trigger"] = second.entry
            self.onward[first.id] = second.id
        elif self.happens(0.1):
            first.steps[-1]["next_trigger"] = "nowhere"
        return account

    def device(self, user: UUID) -> Row:
        device = self.row("user_devices", user_id=user, device_name="one", status="online")
        odd = self.odd_devices[device["id"]]
        match self.rng.randrange(12):
            case 0:
                device["status"] = self.rng.choice(["offline", "banned"])
            case 1:
                odd.add("device of a platform")
                device |= {"status": "offline", "platform": "Wablas"}
            case 2:
                self.row("device_load_balance", device_id=device["id"], is_available=False)
            case 3:
                odd.add("counter at its limit")
                self.row("device_load_balance", device_id=device["id"], is_available=True, messages_hour=80)
            case 4:
                odd.add("queue at its limit")
                sent = {
                    "device_id": device["id"],
                    "user_id": user,
                    "recipient_phone": "1",
                    "message_type": "text",
                }
                for _ in range(50):
                    self.row("broadcast_messages", status="pending", created_at=hours(-1), **sent)
        return device

    def drip(self, user: UUID, entry: str) -> Drip:
        row = self.row("sequences", user_id=user, name=entry, status="active", is_active=True)
        drip = Drip(row["id"], entry, self.rng.choice(["_", "_day"]))
        if self.is_odd(drip.odd, "status not active"):
            row["status"] = "draft"
        elif self.happens(0.03):
            row["is_active"] = False
        names = [entry, f"{entry}{drip.between}2", f"{entry}{drip.between}3"][: self.rng.randint(1, 3)]
        for place, name in enumerate(names):
            step = self.step(drip, name, place * 2 + 1)
            drip.steps.append(step)
            if place + 1 < len(names):
                step["next_trigger"] = names[place + 1]
                if self.is_odd(drip.odd, "steps not in the order of their days"):
                    step["next_trigger"] = self.rng.choice(["", names[-1 - place]])
        return drip

    def step(self, drip: Drip, name: str, day: int) -> Row:
        step = self.row(
            "sequence_steps",
            sequence_id=drip.id,
            day_number=day,
            trigger=name,
            next_trigger=self.rng.choice(["", None]),
            trigger_delay_hours=self.rng.choice([24, 1, 0, -1, 48]),
            is_entry_point=day == 1,
            message_type=self.rng.choice(["text", "image"]),
            content=f"day {day} of {drip.entry}",
            media_url=self.rng.choice([None, "", IMAGE]),
        )
        odd = self.odd_steps[step["id"]]
        if self.is_odd(odd, "no content"):
            step |= {"content": self.rng.choice(["", " "]), "media_url": self.rng.choice([None, ""])}
        elif self.is_odd(odd, "content is NULL"):
            step |= {"content": None, "media_url": self.rng.choice([None, IMAGE])}
        if self.is_odd(odd, "message type is NULL"):
            step["message_type"] = None
        elif self.is_odd(odd, "message type is blank"):
            step["message_type"] = self.rng.choice(["", " "])
        if self.is_odd(drip.odd, "delay is NULL"):
            step["trigger_delay_hours"] = None
        return step

    # -- A person

    def person(self, account: Account, phone: str, other: Account) -> Drip:
        """Their lead and rows; the sequence that they are called into, or are in already."""
        odd: set[str] = set()
        lead = self.row("leads", user_id=account.user, device_id=account.device(self.rng), phone=phone)
        lead["name"] = None if self.is_odd(odd, "lead's name is NULL") else f"Name {phone}"
        if self.is_odd(odd, "device of another user"):
            lead["device_id"] = other.device(self.rng)
        elif self.is_odd(odd, "lead without a device"):
            lead["device_id"] = None
        called = self.rng.choice(account.drips)
        triggers = [called.entry, *(["something else"] if self.happens(0.1) else [])]
        at = self.rng.randrange(len(called.steps)) if self.happens(0.5) else None
        if at is None and self.is_odd(odd, "trigger is a part of another"):
            triggers = [f"{called.entry}EXAMA"]
        phones = [phone]
        if self.is_odd(odd, "no lead"):
            self.tables["leads"].remove(lead)
        elif self.is_odd(odd, "phone in two spellings"):
            phones.append(f"+{phone}")
        for known in phones:
            for drip in account.drips:
                self.odd[known, drip.id] |= odd | drip.odd
        if self.happens(0.03):
            foreign = self.rng.choice(other.drips)
            triggers.append(foreign.entry)
            for known in phones:
                self.odd[known, foreign.id] |= {"sequence of another user"} | odd | foreign.odd
        lead["trigger"] = " , ".join(triggers)
        for known in phones[1:]:
            self.row("leads", **{**lead, "id": self.identity(), "phone": known})
        if at is not None:
            self.stands(phone, called, account, at, lead["device_id"])
            # The host goes on past a message that is there, so even into the sequence after this one.
            if called.id in self.onward:
                self.odd[phone, self.onward[called.id]] |= self.odd[phone, called.id] & {"queued before"}
        keeps = (
            triggers == [called.entry] and not at and (len(called.steps) == 1 or "day" not in called.between)
        )
        if called.id in self.onward and not keeps:
            self.odd[phone, self.onward[called.id]].add("chained")
        return called

    def stands(self, phone: str, drip: Drip, account: Account, at: int, device: UUID | None) -> None:
        """Rows of the person: done up to a step that is due or will be, and waiting after it, if they are made."""
        odd = self.odd[phone, drip.id]
        if self.is_odd(odd, "nobody is assigned"):
            device = None
        elif self.happens(0.1):
            device = account.device(self.rng)
        for place, step in enumerate(drip.steps[: None if self.ahead else at + 1]):
            row = self.row(
                "sequence_contacts",
                sequence_id=drip.id,
                sequence_stepid=step["id"],
                contact_phone=phone,
                contact_name=f"Contact {phone}",
                current_step=step["day_number"],
                current_trigger=step["trigger"],
                status="completed" if place < at else "pending" if place > at else "active",
                completed_at=hours(place - at) if place < at else None,
                next_trigger_time=hours(24 * (place - at) if place != at else self.rng.choice([-1, -50, 30])),
                assigned_device_id=device,
                user_id=account.user,
                retry_count=0,
            )
            if place >= at:
                self.disturb(row, odd, place == at)

    def disturb(self, row: Row, odd: set[str], is_next: bool) -> None:
        for column in ("contact_name", "current_trigger", "user_id"):
            if self.is_odd(odd, f"{column} is NULL", 0.02):
                row[column] = None
        device = row["assigned_device_id"]
        if is_next and device and self.happens(0.1):
            started = self.rng.choice([hours(-0.01), hours(-1), None])
            row |= {"processing_device_id": device, "processing_started_at": started}
        if device and self.is_odd(odd, "queued before", 0.02):
            self.row(
                "broadcast_messages",
                user_id=self.tables["users"][-1]["id"],
                device_id=device,
                sequence_id=row["sequence_id"],
                sequence_stepid=row["sequence_stepid"],
                recipient_phone=row["contact_phone"],
                message_type="text",
                status="sent",
                created_at=hours(-100),
                sent_at=hours(-100),
            )


def write(rows: Callable[..., list[Any]], worlds: Worlds) -> None:
    """All their rows; instants are counted from now, by the server's clock in UTC."""
    (clock,) = rows("select now() at time zone 'UTC' as now")
    for table in TABLES:
        made = [
            {
                name: clock.now + value if isinstance(value, timedelta) else value
                for name, value in row.items()
            }
            for row in worlds.tables[table]
        ]
        rows(
            f"insert into {table} select * from jsonb_populate_recordset(null::{table}, %s::jsonb)",
            json.dumps(made, default=str),
        )
