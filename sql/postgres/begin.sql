-- The settings of a transaction, and its one instant
--
-- Runs first in every transaction, so that neither the server, nor the role, nor a connection pool, nor
-- the session before decides what a name or a timestamp means.
--
-- Parameters:
--   schema             text      schema of the host's tables
--   timezone           text      time zone in which naive timestamps are read
--   lock_timeout       text      longest wait for a lock
--   statement_timeout  text      longest run of a statement
--   idle_timeout       text      longest pause between two statements
--   alive_check        text      how often a running statement looks whether its client still lives
--   batch              boolean   it is a batch of a command that writes: hold the lock that a pause waits for
-- Row:
--   now                timestamptz  the instant of the transaction
-- Locks: none; in a batch an advisory one, shared: nobody ever takes it exclusively, sql/journal/batches.sql sees it
\if :{?schema} \else \set schema 'public' \endif
\if :{?timezone} \else \set timezone 'UTC' \endif
\if :{?lock_timeout} \else \set lock_timeout '5s' \endif
\if :{?statement_timeout} \else \set statement_timeout '5min' \endif
\if :{?idle_timeout} \else \set idle_timeout '15s' \endif
\if :{?alive_check} \else \set alive_check '200ms' \endif
\if :{?batch} \else \set batch 'false' \endif
-- Qualified, and without an operator, because the role's own search_path still holds here.
select pg_catalog.now() as now
from (
    values
        -- pg_catalog is first unless named; pg_temp last: a temporary table never stands in for the host's.
        ('search_path', pg_catalog.format('%I, pg_temp', :'schema'::text)),
        ('TimeZone', :'timezone'::text),
        ('lock_timeout', :'lock_timeout'::text),
        ('statement_timeout', :'statement_timeout'::text),
        ('idle_in_transaction_session_timeout', :'idle_timeout'::text),
        ('client_connection_check_interval', :'alive_check'::text),
        -- A client whose host has vanished is noticed after 25 s, as the client notices its server's, whatever it was
        -- about to send or to get: until then its locks stay.
        ('tcp_keepalives_idle', '10'),
        ('tcp_keepalives_interval', '5'),
        ('tcp_keepalives_count', '3'),
        ('tcp_user_timeout', '25s'),
        -- Or a role's old habits would change what patterns mean, and how dates and intervals come back.
        ('standard_conforming_strings', 'on'),
        ('DateStyle', 'ISO, YMD'),
        ('IntervalStyle', 'postgres'),
        -- Where row-level security would hide rows, an error: what is decided on a part of them is wrong.
        ('row_security', 'off'),
        -- Compiling these statements costs more than running them.
        ('jit', 'off')
) as setting (name, value)
having
    pg_catalog.bool_and(pg_catalog.set_config(setting.name, setting.value, true) is not null)
    -- 'seqd', 'paus': held before sql/journal/switch.sql looks, so that a pause misses no batch that missed it.
    and case
        when :'batch'::boolean then pg_catalog.pg_advisory_xact_lock_shared(1936028004, 1885435251)::text is not null
        else true
    end;
