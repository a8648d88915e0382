-- A year of the journal, for the benchmarks: minutely ticks of three hosts, repairs, their undos, and what they changed
--
-- One run in a thousand is a repair of people; one in ten of these was undone. The ticks have moved people as well.
-- Only the last hundredth of the changes is of rows that there are: the others' people are long done.
--
-- Variables: runs, changes (numbers of rows)
\set ON_ERROR_STOP on
\if :{?runs} \else \set runs 1000 \endif
\if :{?changes} \else \set changes 1000 \endif
set timezone = 'UTC';
set synchronous_commit = off;

insert into seqdev.run (
    id, command, arguments, started_at, finished_at, counts, version, os_user, database_user, host, pid, session,
    backend_pid, exit_code
)
select
    md5('run ' || n)::uuid,
    case
        when n % 10000 = 1 then 'repair undo ' || md5('run ' || n - 1)::uuid
        when n % 1000 = 0 then 'repair device'
        else 'tick'
    end,
    '--policy queue',
    began.at,
    began.at + interval '2 seconds',
    '{"queued": 12, "completed": 12, "ended": 3, "moved": 0, "quarantined": 0}',
    '1.0.0',
    'seqdev',
    'seqdev_tick',
    'host-' || n % 3,
    1000 + n % 30000,
    'seqdev tick 0123abcd',
    2000 + n % 30000,
    0
from generate_series(0, :runs - 1) as n
cross join lateral (select now() - interval '365 days' * (:runs - n)::float8 / :runs as at) as began;

-- Made again below, which is quicker than row by row.
drop index seqdev.seqdev_change_run, seqdev.seqdev_change_row;

insert into seqdev.change (run_id, table_name, row_id, column_name, old_value, new_value, changed_at)
select
    r.id,
    'sequence_contacts',
    case when n > :changes * 0.99 then md5('contact ' || n % 1000000)::uuid else md5('gone ' || n)::uuid end,
    'assigned_device_id',
    md5('device ' || n % 300)::text,
    md5('device ' || (n + 1) % 300)::text,
    r.started_at
from generate_series(0, :changes - 1) as n
-- Half by ticks, a few each; half by repairs, thousands each.
cross join lateral (
    select (n::float8 / :changes * (:runs - 1))::bigint as at
) as place
cross join lateral (
    select md5('run ' || case when n % 2 = 0 then place.at else place.at - place.at % 1000 end)::uuid as id,
    now() - interval '365 days' * (:runs - place.at)::float8 / :runs as started_at
) as r;

set maintenance_work_mem = '512MB';
create index seqdev_change_run on seqdev.change (run_id, id);
create index seqdev_change_row on seqdev.change (row_id);
vacuum analyze seqdev.run;
vacuum analyze seqdev.change;
