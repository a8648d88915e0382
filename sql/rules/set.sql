-- Set rules that still are what the plan says, and journal what they were, in one go
--
-- Each row is made, or locked, compared and changed, and journaled by this one statement. What this run has in the
-- journal is done: a commit whose answer was lost may have been this very one. The id is a function of the rule and of
-- whom it is set for, so that the journal knows it whenever the row was made.
--
-- Parameters:
--   run        uuid         the run that the journal names
--   now        timestamptz  the instant of the transaction
--   names      text[]       the rules
--   scopes     text[]       of each: for whom: all, user, sequence or device
--   scope_ids  uuid[]       of each: which of them; null for all
--   expected   text[]       of each: its value when it is changed; null: not set
--   becomes    text[]       of each: the value it gets; null: it is no longer set
-- Row:
--   done  integer  rules that have the value now, by this run
-- Locks: the rows of the rules, by id
\if :{?run} \else \set run '00000000-0000-0000-0000-000000000000' \endif
\if :{?now} \else \set now 'now' \endif
\if :{?names} \else \set names '{}' \endif
\if :{?scopes} \else \set scopes '{}' \endif
\if :{?scope_ids} \else \set scope_ids '{}' \endif
\if :{?expected} \else \set expected '{}' \endif
\if :{?becomes} \else \set becomes '{}' \endif
with wanted as materialized (
    select
        md5(concat_ws(' ', 'seqdev rule', w.name, w.scope, w.scope_id))::uuid as id,
        w.*
    from unnest(
        :'names'::text [], :'scopes'::text [], :'scope_ids'::uuid [], :'expected'::text [], :'becomes'::text []
    ) as w (name, scope, scope_id, expected, becomes)
),

made as (
    insert into seqdev.rule (id, name, scope, scope_id, value)
    select
        w.id,
        w.name,
        w.scope,
        w.scope_id,
        w.becomes
    from wanted as w
    where w.expected is null
    order by w.id
    on conflict (id) do nothing
    returning id
),

fit as materialized (
    select
        r.id,
        w.becomes
    from wanted as w
    inner join seqdev.rule as r on w.id = r.id
    where r.value is not distinct from w.expected
    order by r.id
    for update of r
),

changed as (
    update seqdev.rule as r
    set value = fit.becomes
    from fit
    where r.id = fit.id
    returning r.id
),

journal as (
    insert into seqdev.change (run_id, table_name, row_id, column_name, old_value, new_value, changed_at)
    select
        :'run'::uuid,
        'rule',
        w.id,
        'value',
        w.expected,
        w.becomes,
        :'now'::timestamptz
    from wanted as w
    where
        w.id in (
            select made.id
            from made
            union all
            select changed.id
            from changed
        )
    returning row_id
)

select
    (
        (select count(*) from journal)
        -- What the statement itself writes there is not seen by it.
        + (select count(*) from seqdev.change as ch where ch.run_id = :'run'::uuid and ch.table_name = 'rule')
    )::integer as done;
