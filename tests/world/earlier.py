"""Schema seqdev as earlier versions made it, with rows as those wrote them.

Each shape is named by what it lacks. Written down anew, and never brought up to date: they are what is in the field.
Where a new version adds a table, a column or an index, the shape before it comes to ``SHAPES``.
"""

CONTACT = "00000000-0000-4000-8000-0000000000c1"
"""A contact that the run MOVED has moved from device A to B, and nobody since. CONTACT2: UNDONE has brought it back."""

CONTACT2 = "00000000-0000-4000-8000-0000000000c2"
A = "00000000-0000-4000-8000-0000000000da"
B = "00000000-0000-4000-8000-0000000000db"
TICK = "00000000-0000-4000-8000-000000000001"
MOVED = "00000000-0000-4000-8000-000000000002"
UNDONE = "00000000-0000-4000-8000-000000000003"
UNDO = "00000000-0000-4000-8000-000000000004"
RULED = "00000000-0000-4000-8000-000000000005"
BLOCKED = "60120000009"
"""A phone that is blocked, where there are blocked phones."""

_SCHEMA = "create schema seqdev;"

_RUN = """
create table seqdev.run (
    id uuid primary key, command text not null, started_at timestamptz not null, finished_at timestamptz, counts jsonb,
    version text not null
);
"""
_RUN_WITH_WHO = """
create table seqdev.run (
    id uuid primary key, command text not null, started_at timestamptz not null, finished_at timestamptz, counts jsonb,
    version text not null, arguments text, os_user text, database_user text, host text, pid integer, session text,
    backend_pid integer, exit_code integer, reason text
);
"""
_RUN_WITH_WHY = _RUN_WITH_WHO.replace("reason text", "reason text, why text")
_CHANGE = """
create table seqdev.change (
    id bigint generated always as identity primary key, run_id uuid not null, table_name text not null,
    row_id uuid not null, column_name text not null, old_value text, new_value text, changed_at timestamptz not null
);
create index seqdev_change_run on seqdev.change (run_id, id);
"""
_CHANGE_BY_ROW = f"{_CHANGE} create index seqdev_change_row on seqdev.change (row_id);"
_STARTED = "create index seqdev_run_started on seqdev.run (started_at);"
_PAUSE = """
create table seqdev.pause (
    paused_at timestamptz primary key, os_user text not null, host text not null, database_user text not null,
    why text not null, resumed_at timestamptz, resumed_by text, exclude ((true) with =) where (resumed_at is null)
);
"""
_SETTING = """
create table seqdev.setting (name text primary key, value text not null, set_at timestamptz not null, set_by text not null);
"""
_RULE = """
create table seqdev.rule (
    id uuid primary key, name text not null,
    scope text not null check (scope in ('all', 'user', 'sequence', 'device')),
    scope_id uuid check ((scope_id is null) = (scope = 'all')), value text
);
"""
_BLOCKED = """
create table seqdev.blocked (
    id uuid primary key, digits text not null, user_id uuid, since timestamptz, why text, blocked_by text,
    exclude (digits with =, (coalesce(user_id, '00000000-0000-0000-0000-000000000000')) with =)
);
"""

# A tick was journaled without who ran it, and its refused rows were called set aside.
_TICKED = f"""
insert into seqdev.run (id, command, started_at, finished_at, counts, version) values
    ('{TICK}', 'tick', now() - interval '5 days', now() - interval '5 days' + interval '1 second',
     '{{"policy": "queue", "due": 4, "queued": 3, "waiting": {{}}, "ended": 0, "chained": 0, "set_aside": 1,
       "failed_reflected": 0}}', '0.1.0');
"""
_REPAIRED = f"""
insert into seqdev.run (id, command, started_at, finished_at, counts, version) values
    ('{MOVED}', 'repair device', now() - interval '4 days', now() - interval '4 days' + interval '1 second',
     '{{"planned": 1, "changed": 1, "refused": {{}}}}', '0.1.0'),
    ('{UNDONE}', 'repair device', now() - interval '3 days', now() - interval '3 days' + interval '1 second',
     '{{"planned": 1, "changed": 1, "refused": {{}}}}', '0.1.0'),
    ('{UNDO}', 'repair undo {UNDONE}', now() - interval '2 days', now() - interval '2 days' + interval '1 second',
     '{{"undoes": "{UNDONE}", "planned": 1, "changed": 1, "refused": {{}}}}', '0.1.0');
insert into seqdev.change (run_id, table_name, row_id, column_name, old_value, new_value, changed_at) values
    ('{MOVED}', 'sequence_contacts', '{CONTACT}', 'assigned_device_id', '{A}', '{B}', now() - interval '4 days'),
    ('{UNDONE}', 'sequence_contacts', '{CONTACT2}', 'assigned_device_id', '{A}', '{B}', now() - interval '3 days'),
    ('{UNDO}', 'sequence_contacts', '{CONTACT2}', 'assigned_device_id', '{B}', '{A}', now() - interval '2 days');
"""
_WHO = """
update seqdev.run set arguments = '', os_user = 'operator', database_user = current_user, host = 'old-host', pid = 1,
    session = 'seqdev 00000000', exit_code = 0;
"""
_PAUSED = """
insert into seqdev.pause values
    (now() - interval '3 days', 'operator', 'old-host', 'seqdev', 'a lost device', now() - interval '2 days', 'operator');
"""
_SET = "insert into seqdev.setting values ('zone', 'UTC', now() - interval '6 days', 'operator');"

# What a rule was set for stood with the counts.
_RULED = f"""
insert into seqdev.rule
select md5('seqdev rule max_per_hour all')::uuid, 'max_per_hour', 'all', null, '7';
insert into seqdev.run (id, command, started_at, finished_at, counts, version, os_user, host, exit_code) values
    ('{RULED}', 'rules set', now() - interval '1 day', now() - interval '1 day' + interval '1 second',
     '{{"changed": 1, "why": "a new number"}}', '0.1.0', 'operator', 'old-host', 0);
insert into seqdev.change (run_id, table_name, row_id, column_name, old_value, new_value, changed_at)
select '{RULED}', 'rule', id, 'value', null, '7', now() - interval '1 day' from seqdev.rule;
"""
_BLOCK = f"""
insert into seqdev.blocked
select md5('seqdev blocked {BLOCKED}')::uuid, '{BLOCKED}', null, now() - interval '1 day', 'has asked for it', 'operator';
"""

_JOURNAL = _SCHEMA + _RUN_WITH_WHO + _CHANGE_BY_ROW + _PAUSE + _STARTED + _TICKED + _REPAIRED + _WHO + _PAUSED
_ZONED = _JOURNAL + _SETTING + _SET
SHAPES = {
    "no changes": _SCHEMA + _RUN + _TICKED,
    "changes not by row": _SCHEMA + _RUN + _CHANGE + _TICKED + _REPAIRED,
    "no pause, nor who ran": _SCHEMA + _RUN + _CHANGE_BY_ROW + _TICKED + _REPAIRED,
    "no settings": _JOURNAL,
    "no rules, nor blocked phones": _ZONED,
    "no blocked phones": _ZONED + _RULE + _RULED,
    "no rules": _ZONED + _BLOCKED + _BLOCK,
    "no purpose of runs": _ZONED + _RULE + _RULED + _BLOCKED + _BLOCK,
    "undos not indexed": (_ZONED + _RULE + _RULED + _BLOCKED + _BLOCK).replace(_RUN_WITH_WHO, _RUN_WITH_WHY),
}
"""The statements that make each, oldest first, in a database without schema seqdev."""
