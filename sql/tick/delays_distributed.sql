-- Hand the host's delays of steps to the messages that were queued just now, on Citus
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
with delay as materialized (
    select
        st.id as step_id,
        coalesce(own.step_min, own.sequence_min) as shortest,
        coalesce(own.step_max, own.sequence_max) as longest
    from sequence_steps as st
    inner join sequences as s on st.sequence_id = s.id
    -- Where the host has no such column, its name is found further out.
    cross join lateral (
        select
            (select min_delay_seconds from (select st.*) as host) as step_min,
            (select max_delay_seconds from (select st.*) as host) as step_max,
            (select min_delay_seconds from (select s.*) as host) as sequence_min,
            (select max_delay_seconds from (select s.*) as host) as sequence_max
        from (select null::integer as min_delay_seconds, null::integer as max_delay_seconds) as missing
    ) as own
),

told as materialized (
    select
        m.id,
        m.recipient_phone,
        delay.shortest,
        delay.longest
    from broadcast_messages as m
    inner join sequence_contacts as sc on m.recipient_phone = sc.contact_phone
    inner join delay on sc.sequence_stepid = delay.step_id
    where
        m.device_id = any(:'devices'::uuid [])
        and m.created_at > :'now'::timestamptz - interval '1 second'
        and m.status = 'pending'
        and (m.sequence_id, m.sequence_stepid) = (sc.sequence_id, sc.sequence_stepid)
        and m.id = md5('seqdev message ' || sc.id)::uuid
        and delay.shortest is not null
        and delay.longest is not null
        and (m.min_delay_seconds, m.max_delay_seconds) is distinct from (delay.shortest, delay.longest)
)

update broadcast_messages as m
set
    min_delay_seconds = told.shortest,
    max_delay_seconds = told.longest
from told
where m.recipient_phone = told.recipient_phone and m.id = told.id;
