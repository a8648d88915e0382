-- What the host's own columns say of sequences that counts beside the rules, if the rule host_columns is true
--
-- As the host has it; what is no time of the day counts as none (sql/gates/windows.sql).
--
-- Parameters:
--   sequence  uuid  a sequence; empty: all
-- Row:
--   name    text  the column
--   source  text  its table and name
--   value   text  its values, each once
-- Locks: none
\if :{?sequence} \else \set sequence '' \endif
select
    split_part(told.source, '.', 2) as name,
    told.source,
    string_agg(distinct told.value, ', ') as value
from (
    select
        'sequences.schedule_time' as source,
        s.id as sequence_id,
        (
            -- Where the host has no such column, its name is found further out.
            select schedule_time::text
            from (select s.*) as host
        ) as value
    from (select null::text as schedule_time) as missing
    cross join sequences as s
    union all
    select
        'sequence_steps.time_schedule',
        st.sequence_id,
        (
            select time_schedule::text
            from (select st.*) as host
        )
    from (select null::text as time_schedule) as missing
    cross join sequence_steps as st
) as told
where
    told.value ~ '\S'
    and (nullif(:'sequence', '')::uuid is null or told.sequence_id = nullif(:'sequence', '')::uuid)
group by told.source
order by told.source;
