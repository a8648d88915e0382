-- Let the settings of the transaction hold on all nodes of Citus
--
-- sql/postgres/begin.sql sets them here only. Citus passes on what SET LOCAL sets, if it is told to: with the BEGIN of
-- each node that the transaction comes to need, so that it costs nothing more.
--
-- Locks: none
do $$
declare
    setting text;
begin
    perform set_config('citus.propagate_set_commands', 'local', true);
    -- Not those that end idle transactions: a node is idle while another one, or this client, has work to do.
    foreach setting in array array[
        'TimeZone', 'lock_timeout', 'statement_timeout', 'client_connection_check_interval', 'tcp_keepalives_idle',
        'tcp_keepalives_interval', 'tcp_keepalives_count', 'tcp_user_timeout', 'standard_conforming_strings',
        'DateStyle', 'IntervalStyle', 'row_security', 'jit'
    ]
    loop
        execute format('set local %I to %L', setting, current_setting(setting));
    end loop;
    -- A list of names, each of them quoted already.
    execute format('set local search_path to %s', current_setting('search_path'));
end
$$;
