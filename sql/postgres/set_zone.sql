-- Keep the zone of naive timestamps with the database
--
-- Parameters:
--   zone  text         a name that the server knows
--   now   timestamptz  the instant of the transaction
--   who   text         who says so
-- Row:
--   zone  text  what is kept now
-- Locks: the row it writes
\if :{?zone} \else \set zone 'UTC' \endif
\if :{?now} \else \set now 'now' \endif
\if :{?who} \else \set who 'set with psql' \endif
insert into seqdev.setting (name, value, set_at, set_by)
-- An error unless the server knows the zone.
select 'zone', :'zone'::text, :'now'::timestamptz, :'who'::text
where :'now'::timestamptz at time zone :'zone'::text is not null
on conflict (name) do update set value = excluded.value, set_at = excluded.set_at, set_by = excluded.set_by
returning value as zone;
