-- Bring back what a run has changed, where nobody has changed it since
--
-- Brought back is a row that still is what the run made of it. A row that is already what it was before, or that
-- an undo of the run has brought back once, is passed over. A row is refused when its value is another one now,
-- when a later run has changed it (and was not undone), when its step was done since, also in another spelling of the
-- phone, or its message sent, when it would become active although another processor's message of that person and step
-- exists, when its phone is blocked, and when another row has its phone now.
--
-- A run that undoes another one is named "repair undo" and the id of that run, from its start.
--
-- Parameters:
--   run       uuid    the run to undo
--   done      text[]  values of sequence_contacts.status: the step is done
--   national  text    regular expression of what begins a national number
--   country   text    what stands for it in an international one
-- Row:
--   table_name   text   the table of the row
--   row_id       uuid   the row
--   user_id      uuid   the user of the person
--   phone        text   whose row it is
--   sequence     text   name of the sequence, or of the rule; null for a lead, and for a message
--   from_device  uuid   the device of the row now
--   from_name    text   its name
--   to_device    uuid   the device it had before
--   to_name      text   its name
--   why          text   undo
--   refused      text   changed_since, done_since, row_gone, device_missing, phone_taken, message_exists, blocked,
--                       unknown_column; or null
--   expected     jsonb  what the row must be when it changes: columns and values
--   becomes      jsonb  what changes: columns and values
-- Locks: none
\if :{?run} \else \set run '00000000-0000-0000-0000-000000000000' \endif
\if :{?done} \else \set done '{completed,sent,failed}' \endif
\if :{?national} \else \set national '(?!)' \endif
\if :{?country} \else \set country '' \endif
with undoing as materialized (
    select
        r.id,
        substring(r.command from 13)::uuid as undoes
    from seqdev.run as r
    -- The first is what its index is about.
    where r.command like 'repair undo %' and r.command ~ '^repair undo [-0-9a-f]{36}$'
),

-- From each undo to all that it undoes, in turn.
ancestry as materialized (
    with recursive hop (run_id, ancestor_id, depth) as (
        select
            u.id as run_id,
            u.undoes as ancestor_id,
            1 as depth
        from undoing as u
        union all
        select
            a.run_id,
            u.undoes as ancestor_id,
            a.depth + 1 as depth
        from hop as a
        inner join undoing as u on a.ancestor_id = u.id
    )

    select hop.*
    from hop
),

root as materialized (
    select distinct on (a.run_id)
        a.run_id,
        a.ancestor_id as root_id,
        a.depth
    from ancestry as a
    order by a.run_id, a.depth desc
),

own as materialized (
    select
        coalesce(max(r.root_id::text)::uuid, :'run'::uuid) as root_id,
        coalesce(max(r.depth), 0) as depth
    from root as r
    where r.run_id = :'run'::uuid
),

-- All that the journal has of the rows of this run. A family is a run, its undos, their undos, and so on.
journal as materialized (
    select
        ch.*,
        coalesce(root.root_id, ch.run_id) as root_id,
        coalesce(root.depth, 0) as depth,
        max(ch.id) filter (where ch.run_id = :'run'::uuid) over (
            partition by ch.table_name, ch.row_id, ch.column_name
        ) as target_id,
        row_number() over (
            partition by ch.table_name, ch.row_id, ch.column_name, coalesce(root.root_id, ch.run_id)
            order by ch.id desc
        ) = 1 as is_last_of_family
    from seqdev.change as ch
    left join root on ch.run_id = root.run_id
    where
        ch.row_id in (
            select x.row_id
            from seqdev.change as x
            where x.run_id = :'run'::uuid
        )
),

target as materialized (
    select
        j.table_name,
        j.row_id,
        j.column_name,
        (array_agg(j.old_value order by j.id) filter (where j.run_id = :'run'::uuid))[1] as old_value,
        (array_agg(j.new_value order by j.id desc) filter (where j.run_id = :'run'::uuid))[1] as new_value,
        max(j.changed_at) filter (where j.run_id = :'run'::uuid) as changed_at,
        bool_or(j.column_name = 'status') over (partition by j.table_name, j.row_id) as has_status,
        bool_or(
            j.id > j.target_id and j.is_last_of_family and j.root_id = own.root_id and (j.depth - own.depth) % 2 <> 0
        ) as undone,
        -- By a run that is in effect: the last of its family has not undone it.
        bool_or(
            j.id > j.target_id and j.is_last_of_family and j.root_id <> own.root_id and j.depth % 2 = 0
        ) as changed
    from journal as j
    cross join own
    where j.target_id is not null
    group by j.table_name, j.row_id, j.column_name
),

origin as (
    -- The first of the family: what kind of rows it was about.
    select
        coalesce(bool_or(r.command like 'repair %' and r.command not like '%--history%'), false) as only_active,
        coalesce(bool_or(r.command = 'leads merge'), false) as is_merge
    from seqdev.run as r
    where r.id = (select own.root_id from own)
),

leads_key as (
    select
        exists (
            select 1
            from pg_index as i
            where
                i.indrelid = 'leads'::regclass
                and i.indisunique
                and i.indpred is null
                and (
                    select array_agg(a.attname::text order by a.attname::text)
                    from pg_attribute as a
                    where a.attrelid = i.indrelid and a.attnum = any(i.indkey::int2 [])
                ) = '{phone,user_id}'
        ) as is_there
),

-- The rows as they are.
contact as materialized (
    select sc.*
    from sequence_contacts as sc
    where
        sc.id in (
            select t.row_id
            from target as t
            where t.table_name = 'sequence_contacts'
        )
),

lead as materialized (
    select l.*
    from leads as l
    where
        l.id in (
            select t.row_id
            from target as t
            where t.table_name = 'leads'
        )
),

message as materialized (
    select m.*
    from broadcast_messages as m
    where
        m.id in (
            select t.row_id
            from target as t
            where t.table_name = 'broadcast_messages'
        )
),

-- The rows of the steps at which a merge has ended people, who may have been there in another spelling since.
spelled as materialized (
    select
        sc.id,
        sc.sequence_id,
        sc.sequence_stepid,
        sc.status,
        sc.completed_at,
        person.digits
    from sequence_contacts as sc
    cross join lateral (
        -- digits: as in enroll/persons.sql
        select
            case
                when sc.contact_phone ~ '^[ (]*(\+|00)|@' then regexp_replace(bare.digits, '^00', '')
                else regexp_replace(bare.digits, :'national'::text, :'country'::text)
            end as digits
        from (
            select regexp_replace(
                sc.contact_phone, '[ ().+-]|(\.[0-9]+)?(:[0-9]+)?@(s\.whatsapp\.net|c\.us)$', '', 'g'
            ) as digits
        ) as bare
    ) as person
    where
        (sc.sequence_id, sc.sequence_stepid) in (
            select
                x.sequence_id,
                x.sequence_stepid
            from target as t
            cross join origin
            inner join contact as x on t.row_id = x.id
            where t.column_name = 'status' and origin.is_merge
        )
),

gone_on as materialized (
    select ended.id
    from target as t
    inner join spelled as ended on t.row_id = ended.id
    inner join spelled as other
        on
            ended.sequence_id = other.sequence_id
            and ended.sequence_stepid = other.sequence_stepid
            and ended.digits = other.digits
    where
        t.column_name = 'status'
        and other.status = any(:'done'::text [])
        and other.completed_at > t.changed_at
),

-- When the person was last done with a step of the sequence.
done as materialized (
    select
        x.sequence_id,
        x.contact_phone,
        max(x.completed_at) as last_at
    from contact
    inner join sequence_contacts as x
        on contact.sequence_id = x.sequence_id and contact.contact_phone = x.contact_phone
    where x.status = any(:'done'::text [])
    group by x.sequence_id, x.contact_phone
),

-- Who has the old phones now.
phone_taken as materialized (
    select
        x.user_id,
        x.phone
    from leads as x
    where
        x.phone in (
            select t.old_value
            from target as t
            where t.column_name = 'phone'
        )
),

contact_phone_taken as materialized (
    select
        x.sequence_id,
        x.contact_phone,
        x.sequence_stepid
    from sequence_contacts as x
    where
        x.contact_phone in (
            select t.old_value
            from target as t
            where t.column_name = 'contact_phone'
        )
),

judged as materialized (
    select
        t.table_name,
        t.row_id,
        coalesce(s.user_id, l.user_id, m.user_id, b.user_id) as user_id,
        coalesce(sc.contact_phone, l.phone, m.recipient_phone, b.digits)::text as phone,
        coalesce(s.name, left(s.id::text, 0), r.name)::text as sequence,
        to_jsonb(now.value) as value_now,
        to_jsonb(old.value) as old_value,
        jsonb_object_agg(t.column_name, now.value) over a_row as expected,
        jsonb_object_agg(t.column_name, old.value) over a_row as becomes,
        t.column_name,
        coalesce(sc.status, m.status) as status,
        case
            when
                sc.id is null and l.id is null and m.id is null and b.id is null and r.id is null
                then 'row_gone'
            when
                (t.table_name, t.column_name) not in (
                    ('leads', 'device_id'),
                    ('leads', 'phone'),
                    ('leads', 'trigger'),
                    ('leads', 'name'),
                    ('leads', 'niche'),
                    ('broadcast_messages', 'device_id'),
                    ('broadcast_messages', 'status'),
                    ('broadcast_messages', 'error_message'),
                    ('broadcast_messages', 'scheduled_at'),
                    ('blocked', 'since'),
                    ('blocked', 'why'),
                    ('blocked', 'blocked_by'),
                    ('rule', 'value'),
                    ('sequence_contacts', 'assigned_device_id'),
                    ('sequence_contacts', 'processing_device_id'),
                    ('sequence_contacts', 'processing_started_at'),
                    ('sequence_contacts', 'next_trigger_time'),
                    ('sequence_contacts', 'status'),
                    ('sequence_contacts', 'last_error'),
                    ('sequence_contacts', 'contact_phone'),
                    ('sequence_contacts', 'sequence_stepid'),
                    ('sequence_contacts', 'current_step'),
                    ('sequence_contacts', 'current_trigger'),
                    ('sequence_contacts', 'completed_at'),
                    ('sequence_contacts', 'id')
                )
                then 'unknown_column'
            when t.undone then 'undone'
            when coalesce(now.value = old.value, now.value is null and old.value is null) then 'undone'
            when
                t.changed
                or not coalesce(now.value = new.value, now.value is null and new.value is null)
                then 'changed_since'
            when
                sc.status = any(:'done'::text [])
                and (origin.only_active or sc.completed_at > t.changed_at)
                then 'done_since'
            when sc.id in (select gone_on.id from gone_on) then 'done_since'
            -- Passed over, and the step that followed is done.
            when
                t.column_name = 'status'
                and sc.last_error ~ '^skipped: '
                and done.last_at > t.changed_at
                then 'done_since'
            -- Who has begun anew was written to since.
            when
                t.column_name = 'id'
                and done.last_at > t.changed_at
                then 'done_since'
            -- The sender has begun it. Where the run has changed the status, that it is still this one is enough.
            when m.status <> 'pending' and not t.has_status then 'done_since'
            -- The host's foreign key would not have it.
            when
                t.table_name in ('leads', 'broadcast_messages')
                and t.column_name = 'device_id'
                and old.value is not null
                and not exists (
                    select 1
                    from user_devices as d
                    where d.id = old.value::uuid
                )
                then 'device_missing'
            when
                t.column_name = 'phone'
                and leads_key.is_there
                and (l.user_id, old.value) in (
                    select
                        x.user_id,
                        x.phone
                    from phone_taken as x
                )
                or t.column_name = 'contact_phone'
                and (sc.sequence_id, old.value, sc.sequence_stepid) in (
                    select
                        x.sequence_id,
                        x.contact_phone,
                        x.sequence_stepid
                    from contact_phone_taken as x
                )
                then 'phone_taken'
        end as verdict
    from target as t
    cross join origin
    cross join leads_key
    left join contact as sc on t.table_name = 'sequence_contacts' and t.row_id = sc.id
    left join lead as l on t.table_name = 'leads' and t.row_id = l.id
    left join message as m on t.table_name = 'broadcast_messages' and t.row_id = m.id
    left join done on sc.sequence_id = done.sequence_id and sc.contact_phone = done.contact_phone
    left join seqdev.blocked as b on t.table_name = 'blocked' and t.row_id = b.id
    left join seqdev.rule as r on t.table_name = 'rule' and t.row_id = r.id
    left join sequences as s on sc.sequence_id = s.id
    -- Values as text, all of them as the host's column and this session write them.
    cross join lateral (
        select
            case
                when t.table_name = 'leads' then to_jsonb(l)
                when t.table_name = 'broadcast_messages' then to_jsonb(m)
                when t.table_name = 'blocked' then to_jsonb(b)
                when t.table_name = 'rule' then to_jsonb(r)
                else to_jsonb(sc)
            end ->> t.column_name as value
    ) as now
    cross join lateral (
        select case
            when t.column_name in ('processing_started_at', 'next_trigger_time', 'completed_at')
                then to_jsonb(jsonb_populate_record(
                    null::sequence_contacts, jsonb_build_object(t.column_name, t.old_value)
                )) ->> t.column_name
            when t.column_name = 'since' then to_jsonb(t.old_value::timestamptz) #>> '{}'
            when t.column_name = 'scheduled_at'
                then to_jsonb(jsonb_populate_record(
                    null::broadcast_messages, jsonb_build_object(t.column_name, t.old_value)
                )) ->> t.column_name
            else t.old_value
        end as value
    ) as old
    cross join lateral (
        select case
            when t.column_name in ('processing_started_at', 'next_trigger_time', 'completed_at')
                then to_jsonb(jsonb_populate_record(
                    null::sequence_contacts, jsonb_build_object(t.column_name, t.new_value)
                )) ->> t.column_name
            when t.column_name = 'since' then to_jsonb(t.new_value::timestamptz) #>> '{}'
            when t.column_name = 'scheduled_at'
                then to_jsonb(jsonb_populate_record(
                    null::broadcast_messages, jsonb_build_object(t.column_name, t.new_value)
                )) ->> t.column_name
            else t.new_value
        end as value
    ) as new
    window a_row as (partition by t.table_name, t.row_id)
),

verdict as materialized (
    select distinct on (j.table_name, j.row_id)
        j.*,
        -- One column that cannot go back keeps the row; one that is back already does not.
        coalesce(
            min(nullif(j.verdict, 'undone')) over a_row,
            case when bool_and(coalesce(j.verdict = 'undone', false)) over a_row then 'undone' end
        ) as row_verdict
    from judged as j
    window a_row as (partition by j.table_name, j.row_id)
    order by j.table_name, j.row_id, j.column_name
),

becoming as materialized (
    select
        v.row_id,
        becoming.id,
        becoming.sequence_id,
        becoming.contact_phone,
        becoming.sequence_stepid,
        becoming.next_trigger_time
    from verdict as v
    inner join contact as sc on v.row_id = sc.id
    cross join lateral jsonb_populate_record(null::sequence_contacts, to_jsonb(sc) || v.becomes) as becoming
    where v.table_name = 'sequence_contacts' and v.becomes ->> 'status' = 'active'
),

message_to as materialized (
    select
        b.id as contact_id,
        m.created_at
    from becoming as b
    inner join broadcast_messages as m
        on
            b.contact_phone = m.recipient_phone
            and b.sequence_id = m.sequence_id
            and coalesce(b.sequence_stepid = m.sequence_stepid, b.next_trigger_time <= m.created_at)
            and m.id <> md5('seqdev message ' || b.id)::uuid
),

-- written: as in repair/stranded.sql
written as materialized (
    select distinct message_to.contact_id
    from message_to
    where
        -- Of an earlier time round, before the person began anew.
        not exists (
            select 1
            from seqdev.change as ch
            where ch.row_id = message_to.contact_id and ch.column_name = 'id' and ch.changed_at >= message_to.created_at
        )
)

select
    v.table_name,
    v.row_id,
    v.user_id,
    v.phone,
    v.sequence,
    is_device.from_device,
    coalesce(was.device_name, left(was.id::text, 0))::text as from_name,
    is_device.to_device,
    coalesce(d.device_name, left(d.id::text, 0))::text as to_name,
    'undo' as why,
    coalesce(
        v.row_verdict,
        case when written.contact_id is not null then 'message_exists' when is_blocked.is_there then 'blocked' end
    ) as refused,
    v.expected
    || case when v.table_name in ('leads', 'rule') then '{}' else jsonb_build_object('status', v.status) end as expected,
    v.becomes
from verdict as v
cross join lateral (
    select
        case when v.column_name like '%device_id' then v.value_now #>> '{}' end::uuid as from_device,
        case when v.column_name like '%device_id' then v.old_value #>> '{}' end::uuid as to_device
) as is_device
left join user_devices as was on is_device.from_device = was.id
left join user_devices as d on is_device.to_device = d.id
left join becoming on v.table_name = 'sequence_contacts' and v.row_id = becoming.row_id
left join written on becoming.id = written.contact_id
-- What this very undo takes off the list is not blocked.
left join lateral (
    select true as is_there
    from seqdev.blocked as b
    cross join lateral (
        -- digits: as in enroll/persons.sql
        select
            case
                when v.phone ~ '^[ (]*(\+|00)|@' then regexp_replace(bare.digits, '^00', '')
                else regexp_replace(bare.digits, :'national'::text, :'country'::text)
            end as digits
        from (
            select regexp_replace(
                v.phone, '[ ().+-]|(\.[0-9]+)?(:[0-9]+)?@(s\.whatsapp\.net|c\.us)$', '', 'g'
            ) as digits
        ) as bare
    ) as person
    where
        v.becomes ->> 'status' in ('active', 'pending')
        and b.digits = person.digits
        and b.since is not null
        and (b.user_id is null or b.user_id = v.user_id)
        and b.id not in (
            select t.row_id
            from target as t
            where t.table_name = 'blocked'
        )
    limit 1
) as is_blocked on true
where v.row_verdict is distinct from 'undone'
-- Of the list first: what comes back must not be stopped again.
order by v.table_name = 'blocked' desc, v.user_id, v.phone, v.table_name desc, v.row_id;
