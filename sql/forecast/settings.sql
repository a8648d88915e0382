-- What a forecast asks of the server for its transaction
--
-- Memory for its hashes and sorts. Its statement goes from hour to hour by tables that the planner takes to be small:
-- joined by nested loops, which pair all with all, 200,000 contacts take two minutes instead of four seconds.
--
-- Row:
--   settings  integer  how many were set
-- Locks: none
select count(set_config(setting.name, setting.value, true))::integer as settings
from (
    values
        ('work_mem', '64MB'),
        ('enable_nestloop', 'off'),
        ('jit', 'off')
) as setting (name, value);
