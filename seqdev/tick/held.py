"""What other sessions hold: which contacts depend on it, and who holds it."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from seqdev import gates, replies
from seqdev.errors import Held
from seqdev.postgres.queries import Query
from seqdev.postgres.transaction import Transaction
from seqdev.tick.work import Passed

_LISTED = 3
"""Sessions that are named, where more than one may hold the row."""

_PARENTS = {"users": "user_id", "sequences": "sequence_id", "sequence_steps": "step_id"}
"""Tables whose rows hold back all their contacts, and the column of theirs in ``Needs``."""


@dataclass(frozen=True)
class Needs:
    """A row of ``tick/needs.sql``: the rows of other tables that a claim of the contact locks."""

    contact_id: UUID
    user_id: UUID | None
    sequence_id: UUID | None
    step_id: UUID | None
    assigned_device_id: UUID | None


@dataclass(frozen=True)
class HeldLead:
    """A row of ``tick/held_leads.sql``: a contact whose lead another session holds."""

    contact_id: UUID


@dataclass(frozen=True)
class HeldContact:
    """A row of ``tick/held_contacts.sql``: a contact whose own row another session holds."""

    contact_id: UUID


@dataclass(frozen=True)
class Holder:
    """A row of ``tick/holders.sql``: a session that may hold a row of the table."""

    pid: int
    application: str | None
    role: str | None
    since: datetime | None


@dataclass(frozen=True)
class HeldSteps:
    """The row of ``tick/held_steps.sql``."""

    step_reasons: str


NEEDS = Query("tick/needs.sql", Needs)
HELD_LEADS = Query("tick/held_leads.sql", HeldLead)
HELD_CONTACTS = Query("tick/held_contacts.sql", HeldContact)
HOLDERS = Query("tick/holders.sql", Holder)
HELD_STEPS = Query("tick/held_steps.sql", HeldSteps)


@dataclass(frozen=True)
class Closed:
    """What keeps steps from being sent beside what the gates say of them."""

    held: frozenset[UUID] = frozenset()
    """Users, sequences and steps that other sessions hold."""
    unread: frozenset[UUID] | None = None
    """Sequences that stop on replies which nobody can read; None: to be found out."""


def close(transaction: Transaction, steps: gates.Answers, closed: Closed) -> gates.Answers:
    """The gate's answer, with the steps closed that are held, or whose people may have replied unread."""
    unread = replies.unread(transaction) if closed.unread is None else closed.unread
    if not (closed.held or unread):
        return steps
    given = {"held": closed.held, "unread": unread}
    found = transaction.one(HELD_STEPS, **given, **gates.handed_to(HELD_STEPS, steps, {}))
    return {**steps, "step_reasons": found.step_reasons}


class Dependents:
    """What the contacts of one transaction depend on, asked as far as something is held."""

    def __init__(self, transaction: Transaction, steps: gates.Answers) -> None:
        self._transaction = transaction
        self._steps = steps
        self._needs: dict[UUID, Needs] = {}
        self._leads: dict[UUID, bool] = {}
        """Whether the contact's lead is held."""
        self._contacts: dict[UUID, bool] = {}
        """Whether the contact's own row is."""
        self._holders: dict[tuple[str, str], str] = {}

    def keys(self, contacts: Sequence[UUID], devices: Iterable[UUID], why: Held) -> Sequence[Hashable]:
        """For each contact, to be claimed for its device, the row of ``why.table`` that it depends on.

        None: one that is known to be held. As far as the table says nothing, each has one of its own.
        """
        self._ask_who(why)
        if why.table == "leads":
            self._ask_leads(contacts)
            return [None if self._leads[contact] else contact for contact in contacts]
        if column := _PARENTS.get(why.table):
            return [getattr(need, column) or need.contact_id for need in self._ask_needs(contacts)]
        if why.table == "user_devices":
            # The next step's row names the assigned one.
            needs = self._ask_needs(contacts)
            return [(device, need.assigned_device_id) for device, need in zip(devices, needs, strict=True)]
        if why.table == "sequence_contacts":
            self._ask_contacts(contacts)
            return [None if self._contacts[contact] else contact for contact in contacts]
        return contacts

    def locked(self, contacts: Sequence[UUID]) -> tuple[frozenset[UUID], Held]:
        """Those of ``contacts`` whose own row another session holds, and why they are not claimed."""
        why = Held("its row is locked by another session", "sequence_contacts")
        if found := self._held(contacts):
            self._ask_who(why)
        return found, why

    def _held(self, contacts: Sequence[UUID]) -> frozenset[UUID]:
        with self._transaction.undone():
            rows = self._transaction.rows(HELD_CONTACTS, contacts=contacts)
        return frozenset(row.contact_id for row in rows)

    def _ask_contacts(self, contacts: Sequence[UUID]) -> None:
        if asked := [contact for contact in contacts if contact not in self._contacts]:
            held = self._held(asked)
            self._contacts |= {contact: contact in held for contact in asked}

    def passed(self, found: Iterable[tuple[UUID, UUID, Held]], moves: bool) -> Passed:
        """What is held, by what has kept each contact from being claimed for its device."""
        contacts, parents, devices, holders = set[UUID](), set[UUID](), set[UUID](), set[str]()
        for contact, device, why in found:
            holders.add(self._holders[why.table, why.reason])
            column = _PARENTS.get(why.table)
            if column and (parent := getattr(self._needs[contact], column)):
                parents.add(parent)
            elif why.table == "user_devices" and not moves:
                devices.add(device)
            else:
                contacts.add(contact)
        return Passed(frozenset(contacts), frozenset(parents), frozenset(devices), frozenset(holders))

    def _ask_needs(self, contacts: Sequence[UUID]) -> list[Needs]:
        if asked := [contact for contact in contacts if contact not in self._needs]:
            # Who is gone meanwhile needs nothing.
            self._needs |= {contact: Needs(contact, None, None, None, None) for contact in asked}
            self._needs |= {need.contact_id: need for need in self._transaction.rows(NEEDS, contacts=asked)}
        return [self._needs[contact] for contact in contacts]

    def _ask_leads(self, contacts: Sequence[UUID]) -> None:
        if asked := [contact for contact in contacts if contact not in self._leads]:
            given = gates.handed_to(HELD_LEADS, self._steps, {})
            with self._transaction.undone():
                held = {row.contact_id for row in self._transaction.rows(HELD_LEADS, contacts=asked, **given)}
            self._leads |= {contact: contact in held for contact in asked}

    def _ask_who(self, why: Held) -> None:
        if (why.table, why.reason) in self._holders:
            return
        who = [_named(one) for one in self._transaction.rows(HOLDERS, table_name=why.table)]
        if not why.table or not who:
            self._holders[why.table, why.reason] = why.reason
            return
        listed = " or ".join(who[:_LISTED]) + (f" or {len(who) - _LISTED} more" if len(who) > _LISTED else "")
        self._holders[why.table, why.reason] = f"a row of {why.table} is held by {listed}"


def _named(holder: Holder) -> str:
    since = f", in a transaction since {holder.since:%Y-%m-%d %H:%M:%S%z}" if holder.since else ""
    return f"session {holder.pid} ({holder.application or 'no application name'}, role {holder.role}{since})"
