-- Whether the host has times of the day of its own, before which steps are not sent
--
-- Asked before gates/windows.sql, which says what they mean, where no rule sets a window: many hosts have none, and this
-- is the quicker question.
--
-- Parameters: none
-- Row:
--   has_hours  boolean  whether there is any; midnight, as which a host may have "at any time", is none
-- Locks: none
select
    exists (
        select 1
        from sequences as s
        cross join lateral (
            -- Where the host has no such column, its name is found further out.
            select
                (
                    select schedule_time::text
                    from (select s.*) as host
                ) as words
            from (select null::text as schedule_time) as missing
        ) as optional
        where optional.words ~ '[1-9]'
    ) or exists (
        select 1
        from sequence_steps as step
        cross join lateral (
            select
                (
                    select time_schedule::text
                    from (select step.*) as host
                ) as words
            from (select null::text as time_schedule) as missing
        ) as optional
        where optional.words ~ '[1-9]'
    ) as has_hours;
