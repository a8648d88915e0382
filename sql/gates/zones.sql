-- The time zones that the server knows
--
-- Where a window is read in a zone that is not among them, it is not open: the name of a zone that the server does not
-- know would end the statement. To list them takes some twenty milliseconds, so that it is done once a process.
--
-- Parameters: none
-- Row:
--   zones  text  text[]: their names
-- Locks: none
select coalesce(array_agg(z.name), '{}')::text as zones
from pg_timezone_names as z
\gset
