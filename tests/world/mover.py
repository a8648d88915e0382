"""The host's processor of the generation before: one row a person, which it moves from step to step by its trigger.

Rebuilt from what its public sources do, faults included. Its message names neither sequence nor step; its device is that
of any lead with the phone, else the least busy one of all users.
"""

from dataclasses import dataclass
from typing import Any

from tests.world.processor import RELEASE_OLD_CLAIMS, Processor

ONE_ROW = (
    """
    alter table sequence_contacts drop column sequence_stepid, drop column assigned_device_id,
        add column current_day integer default 1
    """,
    "alter table sequence_contacts add unique (sequence_id, contact_phone)",
)
ENROL = """
    insert into sequence_contacts (sequence_id, contact_phone, contact_name, current_step, current_day,
        current_trigger, next_trigger_time, status)
    values (%s, %s, %s, 1, 1, %s, timezone('UTC', now()), 'active')
    on conflict (sequence_id, contact_phone) do nothing
"""
DUE = """
    select sc.id, sc.contact_phone, sc.contact_name, sc.current_trigger, sc.current_step, st.content,
        st.message_type, st.media_url, st.next_trigger, st.trigger_delay_hours, l.device_id
    from sequence_contacts as sc
    join sequence_steps as st on st.trigger = sc.current_trigger
    join sequences as s on s.id = sc.sequence_id
    left join leads as l on l.phone = sc.contact_phone
    where sc.status = 'active' and s.is_active and sc.next_trigger_time <= timezone('UTC', now())
        and sc.processing_device_id is null
    order by sc.next_trigger_time
"""
MAY_BE_NULL = {"media_url", "next_trigger", "device_id"}
ANY_DEVICE = "select id, user_id from user_devices where id = coalesce(%s, id) order by id limit 1"
"""All of them are online here, and none is busier than another."""

QUEUE = """
    insert into broadcast_messages (user_id, device_id, recipient_phone, message_type, content, media_url, status,
        scheduled_at, created_at)
    values (%s, %s, %s, %s, %s, %s, 'pending', timezone('UTC', now()), timezone('UTC', now()))
"""
MOVE = """
    update sequence_contacts set current_trigger = %s, current_day = current_day + 1, retry_count = 0,
        next_trigger_time = timezone('UTC', now()) + %s * interval '1 hour',
        processing_device_id = null, processing_started_at = null
    where id = %s
"""
FINISH = """
    update sequence_contacts set status = 'completed', completed_at = timezone('UTC', now()), current_trigger = null,
        processing_device_id = null, processing_started_at = null
    where id = %s
"""


@dataclass
class Mover(Processor):
    """Enrols whom the other forms enrol."""

    def run(self) -> None:
        self.enrol()
        self._rows(RELEASE_OLD_CLAIMS)
        for row in self._rows(DUE):
            if all(getattr(row, name) is not None for name in row._fields if name not in MAY_BE_NULL):
                self._process(row)

    def _enrol(self, lead: Any) -> None:
        self._rows(ENROL, lead.sequence_id, lead.phone, lead.name, lead.entry)

    def _process(self, row: Any) -> None:
        (device,) = self._rows(ANY_DEVICE, row.device_id)
        message = (row.contact_phone, row.message_type, row.content, row.media_url or "")
        self._rows(QUEUE, device.user_id, device.id, *message)
        if row.next_trigger:
            self._rows(MOVE, row.next_trigger, self._delay(row), row.id)
            # What looks like no step of the same sequence it takes for the trigger of another one.
            if "_day" not in row.next_trigger:
                self._replace(row.contact_phone, row.current_trigger, row.next_trigger)
        else:
            self._rows(FINISH, row.id)
            self._replace(row.contact_phone, row.current_trigger, "")
