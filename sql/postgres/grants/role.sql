-- What is known of a role that privileges are to be granted to
--
-- Parameters:
--   to      text  the role
--   schema  text  schema of the host's tables
-- Row:
--   exists  boolean  whether there is such a role
--   hidden  text[]   tables of the host whose rows row-level security may hide from it
-- Locks: none
\if :{?to} \else \set to 'seqdev_tick' \endif
\if :{?schema} \else \set schema 'public' \endif
select
    r.oid is not null as exists,
    array(
        select t.relname::text
        from pg_class as t
        inner join pg_namespace as s on t.relnamespace = s.oid
        where
            s.nspname = :'schema'::text
            and t.relrowsecurity
            and (t.relowner <> r.oid or t.relforcerowsecurity)
            and not (r.rolsuper or r.rolbypassrls)
            and t.relname in (
                'users', 'user_devices', 'leads', 'sequences', 'sequence_steps', 'sequence_contacts',
                'broadcast_messages', 'device_load_balance'
            )
        order by t.relname
    ) as hidden
from (values (:'to'::text)) as given (name)
left join pg_roles as r on given.name = r.rolname;
