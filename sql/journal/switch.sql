-- Who has paused the commands that write, if anybody has
--
-- Each batch looks, holding the lock of sql/postgres/begin.sql, before it does anything else.
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
