-- Stop the rows of people whose phone is blocked, and journal it
--
-- Before a tick claims anything.
--
-- Parameters:
--   run       uuid         the run that the journal names
--   now       timestamptz  the instant of the transaction
--   contacts  uuid[]       the rows
--   reasons   text[]       why each of them is blocked
-- Locks: the rows it changes; those somebody else has locked are left for the next run
\if :{?run} \else \set run '00000000-0000-0000-0000-000000000000' \endif
\if :{?now} \else \set now 'now' \endif
\if :{?contacts} \else \set contacts '{}' \endif
\if :{?reasons} \else \set reasons '{}' \endif
with picked as materialized (
    select
        sc.id,
        sc.last_error,
        given.why
    from unnest(:'contacts'::uuid [], :'reasons'::text []) as given (id, why)
    inner join sequence_contacts as sc on given.id = sc.id
    where sc.status = 'active'
    for update of sc skip locked
),

stopped as (
    update sequence_contacts as sc
    set
        status = 'stopped',
        last_error = 'blocked: ' || picked.why
    from picked
    -- By key alone: that it is active was judged under the lock.
    where sc.id = picked.id
    returning sc.id, picked.last_error as old_error, sc.last_error as new_error
)

insert into seqdev.change (run_id, table_name, row_id, column_name, old_value, new_value, changed_at)
select
    :'run'::uuid,
    'sequence_contacts',
    stopped.id,
    c.column_name,
    c.old_value,
    c.new_value,
    :'now'::timestamptz
from stopped
cross join lateral (
    values
        ('status', 'active', 'stopped'),
        ('last_error', stopped.old_error, stopped.new_error)
) as c (column_name, old_value, new_value)
where c.old_value is distinct from c.new_value;
