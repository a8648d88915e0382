"""The host's own sequence processor, as its people had it: one person after the other, each statement on its own.

Rebuilt from what its public sources do, faults included: docs/hosts.md has the facts. It exists in two forms. One
makes the rows of all steps at enrolment, and activates the next by its time; the other makes each row when the step
before it is done. It queues for the assigned device whatever that one's state is; an older form is strict.
"""

from dataclasses import dataclass
from typing import Any

import psycopg

CALLED = """
    select distinct l.id, l.phone, l.name, l.device_id, l.user_id, s.id as sequence_id, st.trigger as entry
    from leads as l
    cross join sequences as s
    join sequence_steps as st on st.sequence_id = s.id
    where s.is_active and st.is_entry_point and l.trigger <> '' and strpos(l.trigger, st.trigger) > 0
        and not exists (
            select sc.id from sequence_contacts as sc
            where (sc.sequence_id, sc.contact_phone, sc.current_step) = (s.id, l.phone, 1)
        )
    order by l.id, s.id
"""
STEPS = """
    select id, day_number, trigger, trigger_delay_hours from sequence_steps where sequence_id = %s
    order by day_number
"""
MAKE_ROW = """
    insert into sequence_contacts (sequence_id, contact_phone, contact_name, current_step, status, current_trigger,
        next_trigger_time, sequence_stepid, assigned_device_id, user_id)
    values (%s, %s, %s, %s, %s, %s, now() at time zone 'UTC' + %s * interval '1 hour', %s, %s, %s)
    on conflict (sequence_id, contact_phone, sequence_stepid) do nothing
"""
RELEASE_OLD_CLAIMS = """
    update sequence_contacts set processing_device_id = null, processing_started_at = null
    where processing_device_id is not null
        and processing_started_at < now() at time zone 'UTC' - interval '5 minutes'
"""
DEVICES = """
    select d.id from user_devices as d left join device_load_balance as b on b.device_id = d.id
    where d.status = 'online' and coalesce(b.is_available, true)
        and coalesce(b.messages_hour, 0) < 80 and coalesce(b.messages_today, 0) < 800
"""
DUE = """
    select sc.id, sc.sequence_id, sc.sequence_stepid, sc.contact_phone, sc.contact_name, sc.current_trigger,
        sc.current_step, sc.assigned_device_id, sc.user_id, st.content, st.message_type, st.media_url,
        st.next_trigger, st.trigger_delay_hours
    from sequence_contacts as sc
    join sequence_steps as st on st.id = sc.sequence_stepid
    join sequences as s on s.id = sc.sequence_id
    where sc.status = 'active' and s.is_active and sc.next_trigger_time <= now() at time zone 'UTC'
        and sc.processing_device_id is null
    order by sc.next_trigger_time
"""
MAY_BE_NULL = {"assigned_device_id", "media_url", "next_trigger"}
"""All others it reads into plain values: a row in which one of them is NULL is passed over."""

CLAIM = """
    update sequence_contacts set processing_device_id = %s, processing_started_at = now() at time zone 'UTC'
    where id = %s and processing_device_id is null
"""
QUEUED_BEFORE = """
    select id from broadcast_messages
    where (sequence_stepid, recipient_phone, device_id) = (%s, %s, %s)
        and status in ('pending', 'sent', 'queued', 'processing')
"""
QUEUE = """
    insert into broadcast_messages (user_id, device_id, sequence_id, sequence_stepid, recipient_phone,
        recipient_name, message_type, content, media_url, status, scheduled_at, created_at)
    values (%s, %s, %s, %s, %s, %s, %s, %s, %s, 'pending', now() at time zone 'UTC', now() at time zone 'UTC')
"""
RELEASE = """
    update sequence_contacts set processing_device_id = null, processing_started_at = null,
        retry_count = retry_count + 1
    where id = %s
"""
COMPLETE = """
    update sequence_contacts set status = 'completed', completed_at = now() at time zone 'UTC',
        processing_device_id = null, processing_started_at = null
    where id = %s
"""
ACTIVATE_NEXT = """
    update sequence_contacts set status = 'active'
    where (sequence_id, contact_phone, status) = (%s, %s, 'pending') and next_trigger_time = (
        select min(next_trigger_time) from sequence_contacts
        where (sequence_id, contact_phone, status) = (%s, %s, 'pending')
    )
    returning id
"""
NAMED = "select * from sequence_steps where sequence_id = %s and trigger = %s order by day_number limit 1"
LIST = "select trigger from leads where phone = %s limit 1"
SET_LIST = "update leads set trigger = nullif(%s, '') where phone = %s"


@dataclass
class Processor:
    """``ahead``: the rows of all steps are made at enrolment. ``strict``: only devices that are online."""

    connection: "psycopg.Connection[Any]"
    ahead: bool
    strict: bool

    def run(self) -> None:
        """One turn of it."""
        self.enrol()
        self._rows(RELEASE_OLD_CLAIMS)
        online = {device.id for device in self._rows(DEVICES)}
        for row in self._rows(DUE):
            if any(getattr(row, name) is None for name in row._fields if name not in MAY_BE_NULL):
                continue
            device = row.assigned_device_id
            if device is not None and (device in online or not self.strict):
                self._process(row)

    def enrol(self) -> None:
        for lead in self._rows(CALLED):
            if lead.name is not None and lead.device_id is not None:
                self._enrol(lead)

    def _enrol(self, lead: Any) -> None:
        steps = self._rows(STEPS, lead.sequence_id)
        hours, first = 0, True
        for step in steps:
            if step.trigger is None or step.trigger_delay_hours is None:
                continue
            hours += 0 if first else self._delay(step)
            self._rows(
                MAKE_ROW,
                *(lead.sequence_id, lead.phone, lead.name, step.day_number, "active" if first else "pending"),
                *(step.trigger, hours, step.id, lead.device_id, lead.user_id),
            )
            if not self.ahead:
                return
            first = False

    @staticmethod
    def _delay(step: Any) -> int:
        hours = step.trigger_delay_hours
        return hours if hours and hours > 0 else 24

    def _process(self, row: Any) -> None:
        device = row.assigned_device_id
        self._rows(CLAIM, device, row.id)
        if not self._rows(QUEUED_BEFORE, row.sequence_stepid, row.contact_phone, device):
            try:
                self._rows(
                    QUEUE,
                    *(row.user_id, device, row.sequence_id, row.sequence_stepid, row.contact_phone),
                    *(row.contact_name, row.message_type, row.content, row.media_url or ""),
                )
            except psycopg.errors.IntegrityError:
                self._rows(RELEASE, row.id)
                return
        with self.connection.transaction():
            self._rows(COMPLETE, row.id)
            goes_on = self._activate(row) if self.ahead else self._make_next(row)
        if not goes_on:
            self._replace(row.contact_phone, row.current_trigger, "")
        # What looks like no step of the same sequence it takes for the trigger of another one.
        if row.next_trigger and "_day" not in row.next_trigger:
            self._replace(row.contact_phone, row.current_trigger, row.next_trigger)

    def _activate(self, row: Any) -> bool:
        person = (row.sequence_id, row.contact_phone)
        return bool(self._rows(ACTIVATE_NEXT, *person, *person))

    def _make_next(self, row: Any) -> bool:
        for step in self._rows(NAMED, row.sequence_id, row.next_trigger or None):
            self._rows(
                MAKE_ROW,
                *(
                    row.sequence_id,
                    row.contact_phone,
                    row.contact_name,
                    step.day_number,
                    "active",
                    step.trigger,
                ),
                *(self._delay(step), step.id, row.assigned_device_id, row.user_id),
            )
            return True
        return False

    def _replace(self, phone: str, old: str, new: str) -> None:
        """A trigger in the lists of whoever has this phone; ``new`` alone where the first has none."""
        for lead in self._rows(LIST, phone):
            if not lead.trigger:
                self._rows(SET_LIST, new, phone)
                continue
            triggers = [trigger.strip() for trigger in lead.trigger.split(",")]
            kept = [new if trigger == old else trigger for trigger in triggers]
            self._rows(SET_LIST, ",".join(trigger for trigger in kept if trigger), phone)

    def _rows(self, statement: str, *values: object) -> list[Any]:
        cursor = self.connection.execute(statement.encode(), values or None)
        return cursor.fetchall() if cursor.description else []
