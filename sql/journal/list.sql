-- The journal of runs, newest first: who ran what, and how it ended
--
-- Unfinished is running as long as its session is there, and cut off otherwise. Where sessions cannot tell,
-- behind a pooler or hidden from this role, it is running while one is at work, and for ten minutes.
--
-- Parameters:
--   now      timestamptz  the instant of the transaction
--   since    interval     only runs begun in this time; empty: all
--   until    timestamptz  only runs begun before; empty: all
--   command  text         only this command, or all below it, such as repair; empty: all
--   but      text         not this command; empty: all
--   run      uuid         only this one; empty: all
--   most     integer      runs to return; empty: all
-- Row:
--   run_id         uuid         the run
--   command        text         what was run
--   arguments      text         the options given; … stands for a value that is not kept
--   started        timestamptz  when it began
--   lasted         interval     how long it ran, or runs; null if it was cut off
--   state          text         running, done, paused, stopped (by a signal), failed, cut off (killed, or lost)
--   exit_code      integer      of the process; null if there is none yet, or it was not kept
--   reason         text         why it ended before its work was done
--   counts         jsonb        what it did
--   os_user        text         who ran it
--   host           text         where
--   pid            integer      as which process there
--   database_user  text         and who on the database
--   version        text         of seqdev
--   why            text         what for, as the person said with --why
--   total          integer      such runs in all, listed or not
-- Locks: none
\if :{?now} \else \set now 'now' \endif
\if :{?since} \else \set since '' \endif
\if :{?until} \else \set until '' \endif
\if :{?command} \else \set command '' \endif
\if :{?but} \else \set but '' \endif
\if :{?run} \else \set run '' \endif
\if :{?most} \else \set most '20' \endif
with chosen as (
    select r.*
    from seqdev.run as r
    where
        (nullif(:'since', '')::interval is null or r.started_at >= :'now'::timestamptz - nullif(:'since', '')::interval)
        and (nullif(:'until', '')::timestamptz is null or r.started_at < nullif(:'until', '')::timestamptz)
        -- Where nothing is asked of a run but its time, an index alone counts them.
        and (:'but'::text = '' or r.command <> :'but'::text)
        and (nullif(:'run', '')::uuid is null or r.id = nullif(:'run', '')::uuid)
        and (
            nullif(:'command', '')::text is null
            or r.command = nullif(:'command', '')::text
            or starts_with(r.command, nullif(:'command', '')::text || ' ')
        )
),

listed as materialized (
    select c.*
    from chosen as c
    order by c.started_at desc, c.id
    limit nullif(:'most', '')::integer
),

session as materialized (
    select
        a.application_name as name,
        bool_or(a.state <> 'idle') as working
    from pg_stat_activity as a
    where a.datname = current_database() and starts_with(a.application_name, 'seqdev ')
    group by a.application_name
),

judged as (
    select
        l.*,
        l.finished_at is null
        and case
            when s.name is not null and l.backend_pid is not null then true
            when s.working then true
            when
                l.backend_pid is not null
                and (l.database_user = current_user or pg_has_role('pg_read_all_stats', 'usage'))
                then false
            else l.started_at > :'now'::timestamptz - interval '10 minutes'
        end as running
    from listed as l
    left join session as s on l.session = s.name
)

select
    j.id as run_id,
    j.command,
    j.arguments,
    j.started_at as started,
    case when j.running then :'now'::timestamptz else j.finished_at end - j.started_at as lasted,
    case
        when j.running then 'running'
        when j.finished_at is null then 'cut off'
        -- 3: with findings. 141: whoever read the report of the work had enough.
        when j.exit_code is null or j.exit_code in (0, 3, 141) then 'done'
        when j.exit_code = 4 then 'paused'
        when j.exit_code > 128 then 'stopped'
        else 'failed'
    end as state,
    j.exit_code,
    j.reason,
    -- Earlier versions said set_aside.
    case
        when j.counts ? 'set_aside'
            then j.counts - 'set_aside' || jsonb_build_object('quarantined', j.counts -> 'set_aside')
        else j.counts
    end as counts,
    j.os_user,
    j.host,
    j.pid,
    j.database_user,
    j.version,
    -- Earlier versions kept that of a rule or a pause with the counts.
    coalesce(j.why, j.counts ->> 'why') as why,
    counted.total
from judged as j
cross join (
    select count(*)::integer as total
    from chosen
) as counted
order by j.started_at desc, j.id;
