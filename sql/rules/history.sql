-- Who has changed rules, newest first
--
-- Parameters:
--   name  text     only this rule; empty: all
--   most  integer  changes to return; empty: all
-- Row:
--   changed_at  timestamptz  when
--   name        text         the rule
--   scope       text         for whom it is set: all, user, sequence, device
--   scope_id    uuid         which user, sequence or device; null for all
--   scope_name  text         the name of that sequence or device
--   old_value   text         what was set; null: nothing
--   new_value   text         what was set then; null: nothing
--   run_id      uuid         the run: seqdev repair undo takes it back
--   command     text         what was run
--   os_user     text         who: the user of the operating system
--   host        text         where
--   why         text         what for, as --why has it
--   total       integer      changes in all, listed or not
-- Locks: none
\if :{?name} \else \set name '' \endif
\if :{?most} \else \set most '20' \endif
select
    ch.changed_at,
    r.name,
    r.scope,
    r.scope_id,
    coalesce(d.device_name, s.name, left(coalesce(d.id, s.id)::text, 0))::text as scope_name,
    ch.old_value,
    ch.new_value,
    ch.run_id,
    run.command,
    run.os_user,
    run.host,
    coalesce(run.why, run.counts ->> 'why') as why,
    (count(*) over ())::integer as total
from seqdev.rule as r
inner join seqdev.change as ch on r.id = ch.row_id and ch.table_name = 'rule'
left join seqdev.run as run on ch.run_id = run.id
left join user_devices as d on r.scope = 'device' and r.scope_id = d.id
left join sequences as s on r.scope = 'sequence' and r.scope_id = s.id
where :'name'::text = '' or r.name = :'name'::text
order by ch.id desc
limit nullif(:'most', '')::integer;
