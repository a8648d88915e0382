-- Stop the rows of people whose phone is blocked, and journal it, on Citus
--
-- Before a tick claims anything.
--
-- Parameters:
--   run       uuid         the run that the journal names
--   now       timestamptz  the instant of the transaction
--   contacts  uuid[]       the rows
--   reasons   text[]       why each of them is blocked
-- Locks: the rows it changes; it waits for those somebody else has locked
\if :{?run} \else \set run '00000000-0000-0000-0000-000000000000' \endif
\if :{?now} \else \set now 'now' \endif
\if :{?contacts} \else \set contacts '{}' \endif
\if :{?reasons} \else \set reasons '{}' \endif
-- As in tick/lock_distributed.sql: else another tick that waits for one row keeps this one from all of them.
select set_config('citus.enable_deadlock_prevention', 'off', true) as deadlock_prevention;

with picked as materialized (
    select
        sc.id,
        sc.contact_phone,
        sc.last_error,
        given.why
    from sequence_contacts as sc
    inner join unnest(:'contacts'::uuid [], :'reasons'::text []) as given (id, why) on sc.id = given.id
    where sc.status = 'active'
),

stopped as (
    update sequence_contacts as sc
    set
        status = 'stopped',
        last_error = 'blocked: ' || picked.why
    from picked
    where
        sc.contact_phone = picked.contact_phone
        and sc.id = picked.id
        and sc.status = 'active'
        and sc.last_error is not distinct from picked.last_error
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
