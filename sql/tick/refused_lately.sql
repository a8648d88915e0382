-- How many contacts ticks have quarantined since the last that queued anything, in the last hour
--
-- Where nothing goes through, run after run, it is not the contacts that are wrong.
--
-- Parameters:
--   now  timestamptz  the instant of the transaction
-- Row:
--   contacts  integer  contacts that were quarantined
-- Locks: none
\if :{?now} \else \set now 'now' \endif
with tick as materialized (
    select
        r.started_at,
        coalesce((r.counts ->> 'queued')::integer, 0) as queued,
        -- Earlier versions counted them as set_aside.
        coalesce((r.counts ->> 'quarantined')::integer, (r.counts ->> 'set_aside')::integer, 0) as quarantined
    from seqdev.run as r
    where r.command = 'tick' and r.started_at > :'now'::timestamptz - interval '1 hour'
)

select coalesce(sum(tick.quarantined), 0)::integer as contacts
from tick
where
    tick.started_at > all(
        select t.started_at
        from tick as t
        where t.queued > 0
    );
