-- Contacts at their last step whose lead another session has locked, on Citus
--
-- At the end of a sequence the claim takes the sequence's trigger out of the lead's list. Rows of several shards cannot be
-- locked and passed over in one statement: each shard is asked by itself, in a transaction of its own. Where a node gives
-- no answer, none is named.
--
-- Parameters:
--   contacts  uuid[]  the contacts
-- Gates: gates/steps.sql
-- Row:
--   contact_id  uuid  a contact that would wait for its lead
-- Locks: the leads of the contacts, and gives them back at once; those somebody else has locked are the answer
\if :{?contacts} \else \set contacts '{}' \endif
\if :{?steps} \else \ir ../gates/steps.sql \endif
with last_step as materialized (
    select s.*
    from unnest(:'steps'::uuid [], :'next_steps'::uuid []) as s (id, next_id)
    where s.next_id is null
),

entry as materialized (
    select
        s.sequence_id,
        btrim(s.trigger) as trigger
    from unnest(:'step_sequences'::uuid [], :'entry_triggers'::text []) as s (sequence_id, trigger)
    where s.trigger is not null
),

needed as materialized (
    select
        sc.id as contact_id,
        l.id as lead_id
    from sequence_contacts as sc
    inner join sequences as s on sc.sequence_id = s.id
    inner join leads as l on sc.contact_phone = l.phone and s.user_id = l.user_id
    inner join entry on sc.sequence_id = entry.sequence_id
    where
        sc.id = any(:'contacts'::uuid [])
        and sc.sequence_stepid in (select last_step.id from last_step)
        and regexp_split_to_array(btrim(l.trigger), ' *, *') @> array[entry.trigger]
)

select set_config('seqdev.needed', coalesce(jsonb_object_agg(needed.contact_id, needed.lead_id), '{}')::text, true) as needed
from needed;

with needed as materialized (
    select
        n.key::uuid as contact_id,
        n.value::uuid as lead_id
    from jsonb_each_text(current_setting('seqdev.needed')::jsonb) as n
),

held as materialized (
    select h.id
    from run_command_on_shards('leads', format(
        'with free as materialized (select l.id from %%1$s as l where l.id = any(%1$L) for no key update skip locked) '
        'select string_agg(l.id::text, '' '') from %%1$s as l '
        'where l.id = any(%1$L) and l.id not in (select free.id from free)',
        (select array_agg(needed.lead_id) from needed)
    )) as answer
    cross join unnest(string_to_array(answer.result, ' ')) as h (id)
    where answer.success
)

select needed.contact_id
from needed
where needed.lead_id in (select held.id::uuid from held);
