-- Hand the host's delays of steps to the messages that were queued just now, where these have columns for them
--
-- After a claim, in its transaction. A step's own delay comes before its sequence's; where there is none, the column
-- keeps what it has. Whose message it is its id says; those of the minutes before are left as they are by then.
--
-- Parameters:
--   now      timestamptz  the instant of the transaction
--   devices  uuid[]       devices whose contacts were claimed
-- Locks: the messages that are changed
\if :{?now} \else \set now 'now' \endif
\if :{?devices} \else \set devices '{}' \endif
update broadcast_messages as m
set
    min_delay_seconds = told.shortest,
    max_delay_seconds = told.longest
from (
    select
        sc.id as contact_id,
        sc.sequence_id,
        sc.contact_phone,
        sc.sequence_stepid,
        coalesce(delay.step_min, delay.sequence_min) as shortest,
        coalesce(delay.step_max, delay.sequence_max) as longest
    from sequence_contacts as sc
    inner join sequences as s on sc.sequence_id = s.id
    inner join sequence_steps as st on sc.sequence_stepid = st.id
    -- Where the host has no such column, its name is found further out.
    cross join lateral (
        select
            (select min_delay_seconds from (select st.*) as host) as step_min,
            (select max_delay_seconds from (select st.*) as host) as step_max,
            (select min_delay_seconds from (select s.*) as host) as sequence_min,
            (select max_delay_seconds from (select s.*) as host) as sequence_max
        from (select null::integer as min_delay_seconds, null::integer as max_delay_seconds) as missing
    ) as delay
) as told
where
    m.device_id = any(:'devices'::uuid [])
    and m.created_at > :'now'::timestamptz - interval '1 second'
    and m.status = 'pending'
    and (m.sequence_id, m.recipient_phone, m.sequence_stepid)
    = (told.sequence_id, told.contact_phone, told.sequence_stepid)
    and m.id = md5('seqdev message ' || told.contact_id)::uuid
    and told.shortest is not null
    and told.longest is not null
    and (m.min_delay_seconds, m.max_delay_seconds) is distinct from (told.shortest, told.longest);
