-- Whether a phone is blocked: since when, and why
--
-- Parameters:
--   phones    text[]  the phone, in every writing that is tried
--   user      uuid    only what is blocked for this user, or for everybody
--   national  text    regular expression of what begins a national number
--   country   text    what stands for it in an international one
--   at        timestamptz  as it was at that instant, by the journal; empty: as it is
-- Row:
--   user_id     uuid         whose person it is; null: everybody's
--   since       timestamptz  since when
--   why         text         why
--   blocked_by  text         who has blocked it
-- Locks: none
\if :{?phones} \else \set phones '{}' \endif
\if :{?user} \else \set user '' \endif
\if :{?national} \else \set national '(?!)' \endif
\if :{?country} \else \set country '' \endif
\if :{?at} \else \set at '' \endif
select
    b.user_id,
    b.since,
    b.why,
    b.blocked_by
from (
    select
        kept.user_id,
        kept.digits,
        case when later.was ? 'since' then (later.was ->> 'since')::timestamptz else kept.since end as since,
        case when later.was ? 'why' then later.was ->> 'why' else kept.why end as why,
        case when later.was ? 'blocked_by' then later.was ->> 'blocked_by' else kept.blocked_by end as blocked_by
    from seqdev.blocked as kept
    -- What each first change since has replaced.
    left join lateral (
        select jsonb_object_agg(one.column_name, one.old_value) as was
        from (
            select distinct on (ch.column_name)
                ch.column_name,
                ch.old_value
            from seqdev.change as ch
            where ch.row_id = kept.id and ch.table_name = 'blocked' and ch.changed_at > nullif(:'at', '')::timestamptz
            order by ch.column_name, ch.id
        ) as one
    ) as later on nullif(:'at', '')::timestamptz is not null
) as b
where
    b.since is not null
    and (nullif(:'at', '')::timestamptz is null or b.since <= nullif(:'at', '')::timestamptz)
    and (nullif(:'user', '')::uuid is null or b.user_id is null or b.user_id = nullif(:'user', '')::uuid)
    and b.digits in (
        select person.digits
        from unnest(:'phones'::text []) as a (phone)
        cross join lateral (
            -- digits: as in enroll/persons.sql
            select
                case
                    when a.phone ~ '^[ (]*(\+|00)|@' then regexp_replace(bare.digits, '^00', '')
                    else regexp_replace(bare.digits, :'national'::text, :'country'::text)
                end as digits
            from (
                select regexp_replace(
                    a.phone, '[ ().+-]|(\.[0-9]+)?(:[0-9]+)?@(s\.whatsapp\.net|c\.us)$', '', 'g'
                ) as digits
            ) as bare
        ) as person
    )
order by b.since desc, b.user_id;
