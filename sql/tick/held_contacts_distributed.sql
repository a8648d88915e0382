-- Contacts whose own row another session has locked, on Citus
--
-- Rows of several shards cannot be locked and passed over in one statement: each shard is asked by itself, in a transaction
-- of its own. Where a node gives no answer, none is named.
--
-- Parameters:
--   contacts  uuid[]  the contacts
-- Row:
--   contact_id  uuid  a contact whose row is locked
-- Locks: the contacts, and gives them back at once; those somebody else has locked are the answer
\if :{?contacts} \else \set contacts '{}' \endif
select h.id::uuid as contact_id
from run_command_on_shards('sequence_contacts', format(
    'with free as materialized (select c.id from %%1$s as c where c.id = any(%1$L) for no key update skip locked) '
    'select string_agg(c.id::text, '' '') from %%1$s as c '
    'where c.id = any(%1$L) and c.id not in (select free.id from free)',
    :'contacts'::uuid []
)) as answer
cross join unnest(string_to_array(answer.result, ' ')) as h (id)
where answer.success;
