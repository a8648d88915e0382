-- Wait no longer for locks in the rest of the transaction
--
-- Parameters:
--   most  interval  the longest wait; a shorter one that is set already stays
-- Row:
--   lock_timeout  text  the longest wait from now on
-- Locks: none
\if :{?most} \else \set most '20ms' \endif
select
    set_config(
        'lock_timeout',
        -- Zero stands for no limit.
        (extract(epoch from least(
            nullif(current_setting('lock_timeout')::interval, '0'), :'most'::interval
        )) * 1000)::integer || 'ms',
        true
    ) as lock_timeout;
