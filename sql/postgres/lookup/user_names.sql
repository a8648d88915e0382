-- The statement that reads the names of users
--
-- seqdev asks for no column of users but the id; hosts have others, each host its own. The statement is made here,
-- because a column cannot be a parameter, and names only what the role may read: a name, or what people log in with.
-- An email counts as a name that is typed whole, and is never shown.
--
-- Row:
--   statement  text    returns id and name, once for each name that a user has; null: there is nothing to read
--   unread     text[]  columns that hold names, and that this role may not read
-- Locks: none
with kept as (
    select
        possible.position,
        format('%I.%I', n.nspname, c.relname) as users,
        a.attname::text as name,
        has_column_privilege(c.oid, a.attnum, 'select') as is_readable
    from (values (1, 'full_name'), (2, 'name'), (3, 'username'), (4, 'email')) as possible (position, name)
    inner join pg_attribute as a on possible.name = a.attname
    inner join pg_class as c on a.attrelid = c.oid
    inner join pg_namespace as n on c.relnamespace = n.oid
    inner join pg_type as t on a.atttypid = t.oid
    where
        c.oid = to_regclass('users')
        and c.relkind in ('r', 'p')
        and a.attnum > 0
        and not a.attisdropped
        and t.typcategory = 'S'
)

select
    string_agg(
        format(
            'select id, %1$I::text as name from %2$s where %3$s',
            k.name,
            k.users,
            -- What else stands in such a column could not be told from a name.
            case k.name when 'email' then 'position(''@'' in email) > 0' else format('btrim(%I) <> ''''', k.name) end
        ),
        ' union all '
        order by k.position
    ) filter (where k.is_readable) as statement,
    coalesce(array_agg(k.name order by k.position) filter (where not k.is_readable), '{}') as unread
from kept as k;
