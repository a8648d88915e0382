-- What the host's own columns say of sequences that counts beside the rules, if the rule host_columns is true
--
-- As the host has it; what is no time of the day counts as none (sql/gates/windows.sql), what is no number as 0.
-- A priority that all sequences have is left out, and the longest delay where messages have no column for it.
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
    union all
    select
        'sequences.priority',
        ranked.id,
        ranked.value
    from (
        select
            s.id,
            own.value,
            min(coalesce(own.value, '0')) over () < max(coalesce(own.value, '0')) over () as is_told
        from (select null::text as priority) as missing
        cross join sequences as s
        cross join lateral (
            select
                (
                    select priority::text
                    from (select s.*) as host
                ) as value
        ) as own
    ) as ranked
    where ranked.is_told
    union all
    select
        told.name,
        told.sequence_id,
        told.value
    from (select null::text as min_delay_seconds, null::text as max_delay_seconds) as missing
    cross join sequences as s
    cross join lateral (
        values
            (
                'sequences.min_delay_seconds', s.id, (
                    select min_delay_seconds::text
                    from (select s.*) as host
                )
            ),
            (
                'sequences.max_delay_seconds', s.id, (
                    select max_delay_seconds::text
                    from (select s.*) as host
                )
            )
    ) as told (name, sequence_id, value)
    union all
    select
        told.name,
        told.sequence_id,
        told.value
    from (select null::text as min_delay_seconds, null::text as max_delay_seconds) as missing
    cross join sequence_steps as st
    cross join lateral (
        values
            (
                'sequence_steps.min_delay_seconds', st.sequence_id, (
                    select min_delay_seconds::text
                    from (select st.*) as host
                )
            ),
            (
                'sequence_steps.max_delay_seconds', st.sequence_id, (
                    select max_delay_seconds::text
                    from (select st.*) as host
                )
            )
    ) as told (name, sequence_id, value)
) as told
where
    told.value ~ '\S'
    and (
        told.source not like '%.max_delay_seconds'
        or exists (
            select 1
            from pg_attribute as a
            where
                a.attrelid = to_regclass('broadcast_messages')
                and a.attname = 'max_delay_seconds'
                and not a.attisdropped
        )
    )
    and (nullif(:'sequence', '')::uuid is null or told.sequence_id = nullif(:'sequence', '')::uuid)
group by told.source
order by told.source;
