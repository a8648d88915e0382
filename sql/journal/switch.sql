-- Who has paused the commands that write, if anybody has
--
-- Batches look by sql/journal/batch.sql; this one works also where there are no rules yet.
--
-- Row:
--   paused_at      timestamptz  since when
--   os_user        text         who: the user of the operating system
--   host           text         where
--   database_user  text         and on the database
--   why            text         what for
-- Locks: none
select
    p.paused_at,
    p.os_user,
    p.host,
    p.database_user,
    p.why
from seqdev.pause as p
where p.resumed_at is null;
