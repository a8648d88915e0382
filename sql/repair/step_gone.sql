-- Bring people on whose step was deleted: to the step that took its place, or the one that follows; or end them
--
-- The host makes all steps of a sequence anew when somebody edits it: the step is the one with the row's trigger. Else
-- it is the first one of the row's day or later; the first one after it, where another processor has written the message
-- of the deleted step. In no case a step that the person has had, by a row that is done or a message. Some hosts never move current_step on: where it is 1, as many steps are passed over as the person has had;
-- where nothing tells that, unless the lead still has the trigger that the row waits for, the row is refused. Whoever has
-- no step left ends. Where the person has a row of that step already, the row of the deleted step ends, and that one
-- goes on.
--
-- Parameters:
--   user      uuid     only sequences of this user
--   sequence  uuid     only this sequence
--   device    uuid     only what is assigned to this device
--   ends      boolean  end everybody, whatever step follows
--   waiting   text[]   values of sequence_contacts.status: a later step's row, made beforehand
--   done      text[]   values of sequence_contacts.status: the step is done
-- Gates: gates/steps.sql
-- Row:
--   table_name   text   the table of the row
--   row_id       uuid   the row
--   user_id      uuid   the user of the sequence
--   phone        text   whose row it is
--   sequence     text   name of the sequence
--   from_device  uuid   nothing
--   from_name    text   nothing
--   to_device    uuid   nothing
--   to_name      text   nothing
--   why          text   same_trigger, same_day, following; of who ends: no_step_left, step_there, asked; of the row that
--                       goes on instead: step_before_ends
--   refused      text   place_unknown; null where the row changes
--   expected     jsonb  what the row must be when it changes: columns and values
--   becomes      jsonb  what changes: columns and values
-- Locks: none
\if :{?user} \else \set user '' \endif
\if :{?sequence} \else \set sequence '' \endif
\if :{?device} \else \set device '' \endif
\if :{?ends} \else \set ends 'false' \endif
\if :{?waiting} \else \set waiting '{pending}' \endif
\if :{?done} \else \set done '{completed,sent,failed}' \endif
\if :{?steps} \else \ir ../gates/steps.sql \endif
with step as materialized (
    select
        st.id,
        st.sequence_id,
        st.day_number,
        st.trigger,
        row_number() over (partition by st.sequence_id order by st.day_number, st.id) as place
    from unnest(:'steps'::uuid []) as g (id)
    inner join sequence_steps as st on g.id = st.id
),

gone as materialized (
    select
        sc.id,
        sc.sequence_id,
        sc.contact_phone,
        sc.sequence_stepid,
        sc.current_step,
        sc.current_trigger,
        sc.status,
        sc.last_error,
        sc.next_trigger_time,
        s.user_id as owner_id,
        coalesce(s.name, left(s.id::text, 0))::text as sequence_name
    from sequence_contacts as sc
    inner join sequences as s on sc.sequence_id = s.id
    left join step on sc.sequence_stepid = step.id and sc.sequence_id = step.sequence_id
    where
        step.id is null
        and (sc.status = 'active' or sc.status = any(:'waiting'::text []))
        and (
            nullif(:'user', '')::uuid is null
            or s.user_id = nullif(:'user', '')::uuid
            and coalesce(sc.user_id, s.user_id) = s.user_id
        )
        and (nullif(:'sequence', '')::uuid is null or s.id = nullif(:'sequence', '')::uuid)
        and (nullif(:'device', '')::uuid is null or sc.assigned_device_id = nullif(:'device', '')::uuid)
),

-- What the person has in that sequence: rows, messages; and the lead's triggers.
person_row as materialized (
    select
        gone.id as of_id,
        x.id,
        x.sequence_stepid,
        x.current_step,
        x.current_trigger,
        x.status,
        x.last_error,
        x.next_trigger_time
    from gone
    inner join sequence_contacts as x on gone.contact_phone = x.contact_phone and gone.sequence_id = x.sequence_id
),

message as materialized (
    select
        gone.id as of_id,
        m.id,
        m.sequence_stepid,
        m.created_at
    from gone
    inner join broadcast_messages as m on gone.contact_phone = m.recipient_phone and gone.sequence_id = m.sequence_id
),

lead as materialized (
    select distinct on (gone.id)
        gone.id as of_id,
        l.trigger
    from gone
    inner join leads as l on gone.contact_phone = l.phone and gone.owner_id = l.user_id
    order by gone.id, l.id
),

-- written: as in repair/stranded.sql
written as materialized (
    select distinct gone.id as of_id
    from gone
    inner join message on gone.id = message.of_id and gone.sequence_stepid = message.sequence_stepid
    where
        message.id <> md5('seqdev message ' || gone.id)::uuid
        -- Of an earlier time round, before the person began anew.
        and not exists (
            select 1
            from seqdev.change as ch
            where ch.row_id = gone.id and ch.column_name = 'id' and ch.changed_at >= message.created_at
        )
),

waits as materialized (
    select
        gone.*,
        gone.status = 'active' as goes_on,
        had.steps as had,
        -- The first day that comes into question.
        coalesce(named.day_number, gone.current_step) + case when written.of_id is null then 0 else 1 end as from_day,
        named.day_number is not null as is_named,
        named.day_number is not null
        or gone.current_step > 1
        or had.steps > 0
        or coalesce(btrim(gone.current_trigger) = any(
            array(
                select btrim(m.member)
                from unnest(string_to_array(lead.trigger, ',')) as m (member)
            )
        ), false) as has_place
    from gone
    left join written on gone.id = written.of_id
    left join lead on gone.id = lead.of_id
    left join (
        select
            person_row.of_id,
            count(*) as steps
        from person_row
        where person_row.status = any(:'done'::text [])
        group by person_row.of_id
    ) as done on gone.id = done.of_id
    left join (
        select
            message.of_id,
            count(distinct coalesce(message.sequence_stepid, message.id)) as steps
        from message
        group by message.of_id
    ) as sent on gone.id = sent.of_id
    left join lateral (
        select min(st.day_number) as day_number
        from step as st
        where st.sequence_id = gone.sequence_id and st.trigger = gone.current_trigger and st.trigger ~ '\S'
    ) as named on true
    cross join lateral (
        -- Asked only where neither the trigger nor the day tells the place.
        select
            case
                when named.day_number is null and coalesce(gone.current_step, 0) <= 1
                    then greatest(coalesce(done.steps, 0), coalesce(sent.steps, 0))
            end as steps
    ) as had
),

-- The steps from there on, of which nobody has had the message; nor by another row, whose step is deleted as well.
target as materialized (
    select distinct on (w.id)
        w.id as of_id,
        step.id,
        step.day_number,
        step.trigger,
        there.id as there_id,
        there.status = any(:'waiting'::text []) as there_waits,
        coalesce(step.trigger = w.current_trigger and step.trigger ~ '\S', false) as is_named
    from waits as w
    inner join step on w.sequence_id = step.sequence_id
    left join person_row as there on w.id = there.of_id and step.id = there.sequence_stepid
    where
        (there.id is null or there.status = 'active' or there.status = any(:'waiting'::text []))
        and coalesce(w.has_place, false)
        and step.day_number >= w.from_day
        and (w.is_named or w.current_step > 1 or step.place > w.had)
        and not exists (
            select 1
            from message
            where message.of_id = w.id and message.sequence_stepid = step.id
        )
        and not exists (
            select 1
            from person_row as x
            where
                x.of_id = w.id
                and x.id <> w.id
                and (x.current_trigger = step.trigger or x.current_step = step.day_number)
                and (
                    x.status = any(:'done'::text [])
                    or (x.of_id, x.sequence_stepid) in (
                        select
                            message.of_id,
                            message.sequence_stepid
                        from message
                    )
                )
        )
    order by w.id, is_named desc, step.day_number, step.id
),

placed as materialized (
    select
        w.*,
        target.id as target_id,
        target.day_number,
        target.trigger,
        target.there_id,
        target.there_waits,
        case
            when :'ends'::boolean then 'asked'
            when target.id is null and not (coalesce(w.has_place, false)) then 'place_unknown'
            when target.id is null then 'no_step_left'
            when target.there_id is not null then 'step_there'
            -- Of two rows that would get one step, the first.
            when
                row_number() over (
                    partition by w.sequence_id, w.contact_phone, target.id
                    order by w.goes_on desc, w.next_trigger_time, w.id
                ) > 1
                then 'step_there'
            when target.is_named then 'same_trigger'
            when target.day_number = w.current_step then 'same_day'
            else 'following'
        end as why
    from waits as w
    left join target on w.id = target.of_id
),

change as (
    select
        p.id,
        p.owner_id,
        p.contact_phone,
        p.sequence_name,
        p.why,
        case when p.why = 'place_unknown' then p.why end as refused,
        jsonb_build_object(
            'status', p.status,
            'last_error', p.last_error,
            'contact_phone', p.contact_phone,
            'sequence_stepid', p.sequence_stepid
        ) as expected,
        case
            when p.why in ('asked', 'no_step_left', 'step_there')
                then '{"status": "stopped", "last_error": "ended: its step was deleted"}'
            else jsonb_build_object(
                'sequence_stepid', p.target_id,
                'current_step', p.day_number,
                'current_trigger', p.trigger,
                'last_error', null
            )
        end as becomes
    from placed as p
    union all
    select
        there.id,
        p.owner_id,
        p.contact_phone,
        p.sequence_name,
        'step_before_ends' as why,
        null as refused,
        jsonb_build_object(
            'status', there.status,
            'last_error', there.last_error,
            'next_trigger_time', there.next_trigger_time
        ) as expected,
        jsonb_build_object(
            'status', 'active',
            'next_trigger_time', greatest(there.next_trigger_time, p.next_trigger_time)
        ) as becomes
    from placed as p
    inner join person_row as there on p.id = there.of_id and p.there_id = there.id
    where p.why = 'step_there' and p.goes_on and p.there_waits
)

select
    'sequence_contacts' as table_name,
    c.id as row_id,
    c.owner_id as user_id,
    c.contact_phone::text as phone,
    c.sequence_name::text as sequence,
    null::uuid as from_device,
    null::text as from_name,
    null::uuid as to_device,
    null::text as to_name,
    c.why,
    c.refused,
    c.expected,
    c.becomes
from change as c
order by c.owner_id, c.contact_phone, c.id;
