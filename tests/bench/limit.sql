-- The limit: the change that a tick makes to healthy due contacts, as one statement that a DBA writes by hand
--
-- It trusts the data where the tick looks after everybody: no device policy, no poisonous row, no end of a
-- sequence, nobody else at work.
set timezone = 'UTC';

with due as materialized (
    select
        sc.id,
        sc.contact_phone,
        sc.contact_name,
        sc.assigned_device_id,
        s.user_id,
        st.sequence_id,
        st.id as step_id,
        st.message_type,
        st.content,
        st.media_url,
        nx.id as next_id,
        nx.day_number as next_day,
        nx.trigger as next_name,
        nx.trigger_delay_hours as next_delay
    from sequence_contacts as sc
    inner join sequences as s on sc.sequence_id = s.id and s.is_active and s.status = 'active'
    inner join sequence_steps as st on sc.sequence_stepid = st.id
    left join sequence_steps as nx on st.sequence_id = nx.sequence_id and st.next_trigger = nx.trigger
    where sc.status = 'active' and sc.next_trigger_time <= now() and sc.assigned_device_id is not null
    for update of sc skip locked
),

message as (
    insert into broadcast_messages (
        id, user_id, device_id, sequence_id, sequence_stepid, recipient_phone, recipient_name,
        message_type, content, media_url, status, scheduled_at, created_at
    )
    select
        md5('seqdev message ' || due.id)::uuid,
        due.user_id,
        due.assigned_device_id,
        due.sequence_id,
        due.step_id,
        due.contact_phone,
        due.contact_name,
        due.message_type,
        due.content,
        due.media_url,
        'pending',
        now(),
        now()
    from due
),

next_step as (
    insert into sequence_contacts (
        id, sequence_id, contact_phone, contact_name, current_step, status, current_trigger,
        next_trigger_time, retry_count, assigned_device_id, sequence_stepid, user_id
    )
    select
        md5('seqdev contact ' || due.id || ' ' || due.next_id)::uuid,
        due.sequence_id,
        due.contact_phone,
        due.contact_name,
        due.next_day,
        'active',
        due.next_name,
        now() + due.next_delay * interval '1 hour',
        0,
        due.assigned_device_id,
        due.next_id,
        due.user_id
    from due
    where due.next_id is not null
)

update sequence_contacts as sc
set
    status = 'completed',
    completed_at = now(),
    processing_device_id = due.assigned_device_id,
    processing_started_at = null,
    last_error = null
from due
where sc.id = due.id;
