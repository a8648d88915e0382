-- What an audit asks of the server for its transaction
--
-- Memory for its hashes and sorts.
--
-- Row:
--   settings  integer  how many were set
-- Locks: none
select count(set_config(setting.name, setting.value, true))::integer as settings
from (
    values
        ('work_mem', '64MB')
) as setting (name, value);
