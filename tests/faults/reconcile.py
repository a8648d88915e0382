"""Reconciliation: every row held against what it was before, and against what it must have become."""

import re
from typing import Any

from tests.world.host import MESSAGE_ID, Host

LEAK = re.compile(r"60199\d{7}|CANARY|Traceback")
"""Phones, names, texts and secrets of the world, which no log, error or process list may show."""

_UNTOUCHED = ("users", "user_devices", "sequences", "sequence_steps")

# Columns of a contact that a tick may change. The device only with an entry in the journal.
_TICKS = (
    "status completed_at last_error retry_count processing_device_id processing_started_at assigned_device_id"
)

BROKEN = f"""
-- I1: a message for a contact's step only, with its id, once; nobody else's message changes.
select 'message of no contact' as promise, m.id from broadcast_messages m
where not exists (select 1 from was.broadcast_messages w where w.id = m.id)
  and not exists (select 1 from sequence_contacts sc where {MESSAGE_ID} = m.id)
union all
select 'message is not its contact''s', m.id
from sequence_contacts sc join broadcast_messages m on m.id = {MESSAGE_ID}
join sequences s on s.id = sc.sequence_id join sequence_steps st on st.id = sc.sequence_stepid
left join user_devices d on d.id = m.device_id
where not exists (select 1 from was.broadcast_messages w where w.id = m.id)
  and (m.recipient_phone, m.sequence_id, m.sequence_stepid, m.user_id, m.content, m.status, d.user_id)
    is distinct from (sc.contact_phone, sc.sequence_id, sc.sequence_stepid, s.user_id, st.content, 'pending', s.user_id)
union all
select 'message changed or gone', w.id from was.broadcast_messages w left join broadcast_messages m on m.id = w.id
where to_jsonb(m) is distinct from to_jsonb(w)
-- I3: nothing else changes.
union all
select 'contact changed or gone', w.id from was.sequence_contacts w left join sequence_contacts sc on sc.id = w.id
where sc is null
  or to_jsonb(sc) - string_to_array(%(ticks)s, ' ') is distinct from to_jsonb(w) - string_to_array(%(ticks)s, ' ')
  or w.status <> 'active' and sc.status <> w.status and not (w.status, sc.status) = ('completed', 'failed')
union all
select 'lead changed or gone', w.id from was.leads w left join leads l on l.id = w.id
where l is null or to_jsonb(l) - '{{device_id,trigger}}'::text[] is distinct from to_jsonb(w) - '{{device_id,trigger}}'::text[]
  -- The list only loses what a sequence of the person has ended, and gains what it chains on to.
  or l.trigger is distinct from w.trigger and not exists (
    select 1 from sequence_contacts sc join sequences s on s.id = sc.sequence_id
    where s.user_id = l.user_id and sc.contact_phone = l.phone and sc.status in ('completed', 'failed'))
  or not string_to_array(l.trigger, ',') <@ (string_to_array(w.trigger, ',') || '{{CHAIN}}'::text[])
  or 'KEEP' = any(string_to_array(w.trigger, ',')) and not 'KEEP' = any(string_to_array(l.trigger, ','))
union all
-- The journal leads from what was to what is, without a gap.
select 'device changed, journal says otherwise', r.id
from (
    select l.id, w.device_id::text as was, l.device_id::text as is_now, 'device_id' as column_name
    from leads l join was.leads w on w.id = l.id
    union all
    select sc.id, w.assigned_device_id::text, sc.assigned_device_id::text, 'assigned_device_id'
    from sequence_contacts sc join was.sequence_contacts w on w.id = sc.id
) r
left join lateral (
    select (array_agg(c.old_value order by c.id))[1] as first, (array_agg(c.new_value order by c.id desc))[1] as last,
        count(*) as changes
    from seqdev.change c where c.row_id = r.id and c.column_name = r.column_name
) j on true
where case when j.changes > 0 then (j.first, j.last) is distinct from (r.was, r.is_now) else r.was is distinct from r.is_now end
union all
select 'gap in the journal', j.row_id
from (
    select c.*, lead(old_value) over w as next_old, lead(id) over w as next
    from seqdev.change c window w as (partition by row_id, column_name order by id)
) j
where next is not null and next_old is distinct from new_value
"""

DUE = """
    select count(*) from sequence_contacts sc
    join sequences s on s.id = sc.sequence_id join sequence_steps st on st.id = sc.sequence_stepid
    where sc.status = 'active' and sc.next_trigger_time <= now() at time zone 'UTC' and sc.contact_phone ~ '\\S'
      and (sc.assigned_device_id is not null or exists (
        select 1 from leads l where l.user_id = s.user_id and l.phone = sc.contact_phone and l.device_id is not null))
"""

OUTCOME = """
    select 'message' as what, concat_ws(' ', sequence_id, sequence_stepid, recipient_phone, device_id, content, status) as is_now
    from broadcast_messages
    union all
    select 'contact', concat_ws(' ', sequence_id, sequence_stepid, contact_phone, status, coalesce(assigned_device_id::text, '-'),
        coalesce(processing_device_id::text, '-'), last_error, retry_count, current_step, current_trigger)
    from sequence_contacts
    union all
    select 'lead', concat_ws(' ', user_id, phone, coalesce(device_id::text, '-'), name, trigger) from leads
    order by 1, 2
"""


def broken(host: Host) -> list[Any]:
    """Rows that break I1, I2 or I3: nothing, if seqdev keeps its promises."""
    found = host.broken_promises() + host.rows(BROKEN, {"ticks": _TICKS})
    for table in _UNTOUCHED:
        found += host.rows(
            f"select '{table} changed' as promise, id from"
            f" ((table {table} except table was.{table}) union all (table was.{table} except table {table})) t"
        )
    return found


def outcome(host: Host, devices: bool = True) -> list[str]:
    """What has become of everything, without ids made up and instants: equal, whatever happened on the way.

    ``devices`` false: also without the devices, which a policy may choose anew.
    """
    rows = [f"{row.what} {row.is_now}" for row in host.rows(OUTCOME)]
    if devices:
        return rows
    names = [str(row.id) for row in host.rows("select id from user_devices")]
    return sorted(re.sub("|".join(names), "device", row) for row in rows)


def assert_no_leak(text: str, where: str) -> None:
    """No phone, name, text or secret of the world, and no traceback."""
    found = LEAK.search(text)
    assert not found, (
        f"{where} shows {found and found[0]!r}: …{text[max(0, found.start() - 300) : found.end() + 300] if found else ''}"
    )
