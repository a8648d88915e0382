-- Become the role that only reads, for an audit of the operator's own
--
-- Where there is no role seqdev_audit, or it has no grants in this database, or is not for whoever has logged in, the
-- audit runs as the role that has.
--
-- Parameters:
--   audit_role  text  the role that is meant to read
-- Row:
--   role  text  the role from now on, in this transaction; no row: none but the one that has logged in
-- Locks: none
\if :{?audit_role} \else \set audit_role 'seqdev_audit' \endif
select set_config('role', r.rolname, true) as role
from pg_roles as r
where
    r.rolname = :'audit_role'::text
    and pg_has_role(r.oid, 'member')
    and exists (
        select 1
        from pg_namespace as n
        where n.nspname = 'seqdev' and has_schema_privilege(r.oid, n.oid, 'usage')
    );
