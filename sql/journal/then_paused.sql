-- Who had paused the commands that write at an instant, and since when there is a journal
--
-- Parameters:
--   at  timestamptz  the instant
-- Row:
--   begins      timestamptz  when the journal begins: its first run; null: it is empty
--   paused_at   timestamptz  since when all was paused then; null: it was not
--   resumed_at  timestamptz  until when; null: it was not, or still is
--   paused_by   text         by whom
--   why         text         what for
-- Locks: none
\if :{?at} \else \set at 'now' \endif
select
    (select min(r.started_at) from seqdev.run as r) as begins,
    p.paused_at,
    p.resumed_at,
    case when p.paused_at is not null then p.os_user || '@' || p.host end as paused_by,
    p.why
from (select :'at'::timestamptz as at) as asked
left join lateral (
    select one.*
    from seqdev.pause as one
    where one.paused_at <= asked.at and coalesce(one.resumed_at > asked.at, true)
    order by one.paused_at
    limit 1
) as p on true;
