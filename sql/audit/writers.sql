-- Messages of sequences that seqdev did not make: a second processor is alive
--
-- The id of each of seqdev's messages is a function of the row of its person and step. A message of a sequence
-- with another id was made by somebody else.
--
-- Finds:
--   written_twice  seqdev's own message for that person and step exists too: two messages for one step
--   other_writer   the person and step have a row, or the message does not say its step
--   no_contact     no row of that person and step
--
-- Parameters:
--   now       timestamptz  the instant of the transaction
--   since     interval     age of the messages that are looked at
--   until     timestamptz  only messages made before; empty: all
--   user      uuid         only messages and sequences of this user
--   sequence  uuid         only this sequence
--   device    uuid         only what went to this device
--   limit     integer      rows to return; empty: all
-- Row:
--   finding      text         written_twice, other_writer or no_contact
--   at           timestamptz  when the message was made
--   phone        text         whom it went to
--   sequence     text         name of the sequence
--   sequence_id  uuid         the sequence
--   step         integer      day of the step; null where the message does not say its step
--   step_id      uuid         the step
--   device       text         name of the device that it went to
--   device_id    uuid         the device
--   status       text         of the message
--   message_id   uuid         the message
--   user_id      uuid         whose message it is
--   repair       text         what to do about it
--   total        integer      rows in all, listed or not
--   found        jsonb        rows in all by finding: number, severity, repair
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?since} \else \set since '1 day' \endif
\if :{?until} \else \set until '' \endif
\if :{?user} \else \set user '' \endif
\if :{?sequence} \else \set sequence '' \endif
\if :{?device} \else \set device '' \endif
\if :{?limit} \else \set limit '20' \endif
with kind (kind, severity, repair) as (
    values
        ('written_twice', 1, 'stop the other processor: people get messages twice'),
        ('other_writer', 1, 'stop the other processor, and look at what it left: seqdev audit contacts'),
        ('no_contact', 2, 'find out who writes to people that are not enrolled')
),

finding as materialized (
    select
        case
            when sc.has_own then 'written_twice'
            when sc.contacts > 0 then 'other_writer'
            else 'no_contact'
        end as kind,
        m.id,
        m.created_at,
        m.recipient_phone,
        m.sequence_id,
        m.sequence_stepid,
        m.device_id,
        m.status,
        m.user_id,
        s.name as sequence_name
    from broadcast_messages as m
    left join sequences as s on m.sequence_id = s.id
    cross join lateral (
        select
            count(*) as contacts,
            coalesce(bool_or(
                m.id = md5('seqdev message ' || c.id)::uuid
                -- Of an earlier time round, before the person began anew.
                or exists (
                    select 1
                    from seqdev.change as ch
                    where ch.row_id = c.id and ch.column_name = 'id' and ch.changed_at >= m.created_at
                )
            ), false) as is_own,
            coalesce(bool_or(m.sequence_stepid is not null and own.id is not null), false) as has_own,
            coalesce(bool_or(c.user_id <> m.user_id), false) as is_others
        from sequence_contacts as c
        left join broadcast_messages as own on own.id = md5('seqdev message ' || c.id)::uuid
        where
            c.sequence_id = m.sequence_id
            and c.contact_phone = m.recipient_phone
            and (m.sequence_stepid is null or c.sequence_stepid = m.sequence_stepid)
    ) as sc
    where
        m.created_at >= :'now'::timestamptz - :'since'::interval
        and (nullif(:'until', '')::timestamptz is null or m.created_at < nullif(:'until', '')::timestamptz)
        and m.sequence_id is not null
        and not sc.is_own
        and (
            nullif(:'user', '')::uuid is null
            or m.user_id = nullif(:'user', '')::uuid
            and coalesce(s.user_id, m.user_id) = m.user_id
            and not sc.is_others
        )
        and (nullif(:'sequence', '')::uuid is null or m.sequence_id = nullif(:'sequence', '')::uuid)
        and (nullif(:'device', '')::uuid is null or m.device_id = nullif(:'device', '')::uuid)
),

-- tally: as in audit/contacts.sql
tally as (
    select
        coalesce(sum(t.number), 0)::integer as total,
        coalesce(
            jsonb_object_agg(
                t.kind, jsonb_build_object('found', t.number, 'severity', kind.severity, 'repair', kind.repair)
            ) filter (where t.kind is not null),
            '{}'
        ) as found
    from (
        select
            finding.kind,
            count(*) as number
        from finding
        group by finding.kind
    ) as t
    left join kind on t.kind = kind.kind
)

select
    f.kind as finding,
    case when isfinite(f.created_at) then f.created_at::timestamptz end as at,
    f.recipient_phone::text as phone,
    f.sequence_name::text as sequence,
    f.sequence_id,
    st.day_number::integer as step,
    f.sequence_stepid as step_id,
    d.device_name::text as device,
    f.device_id,
    f.status::text as status,
    f.id as message_id,
    f.user_id,
    kind.repair,
    tally.total,
    tally.found
from finding as f
cross join tally
inner join kind on f.kind = kind.kind
left join sequence_steps as st on f.sequence_stepid = st.id
left join user_devices as d on f.device_id = d.id
order by kind.severity, f.created_at desc, f.id
limit nullif(:'limit', '')::integer;
