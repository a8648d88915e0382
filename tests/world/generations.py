"""What hosts of different ages add to the tables: their keys, checks, triggers and kinds of columns.

``make generations`` runs the tests of what seqdev does on each of them, ``SEQDEV_TEST_GENERATION=NAME make test`` all
tests on one. A test whose own rows break a rule of that host (two active rows of a person, a text that is NULL) is none
about it: it is skipped there, and pytest names the rule.
"""

import os
import subprocess
import sys
from collections.abc import Iterator

import psycopg
import pytest

BEHAVIOUR = ("tests/tick", "tests/enroll", "tests/repair")
"""Folders of the tests of what seqdev does."""

GENERATIONS = {
    "one active row": """
        create unique index one_active_per_contact on sequence_contacts (sequence_id, contact_phone)
        where status = 'active';
        alter table sequence_contacts add constraint step_range check (current_step between 0 and 100);
    """,
    "steps in order": """
        create function check_step_order() returns trigger language plpgsql as $$
        begin
            if new.status = 'active' and old.status = 'pending' and exists (
                select 1 from sequence_contacts as c
                where c.sequence_id = new.sequence_id and c.contact_phone = new.contact_phone
                    and c.current_step < new.current_step and c.status not in ('completed', 'sent', 'failed')
            ) then raise exception 'step % is not next', new.current_step;
            end if;
            return new;
        end $$;
        create trigger step_order before update on sequence_contacts
        for each row execute function check_step_order();
    """,
    "two names of a time": """
        alter table sequence_contacts add column next_send_at timestamp, add column updated_at timestamp default now();
        create function sync_times() returns trigger language plpgsql as $$
        begin
            if new.next_send_at is distinct from old.next_send_at then new.next_trigger_time = new.next_send_at; end if;
            if new.next_trigger_time is distinct from old.next_trigger_time then
                new.next_send_at = new.next_trigger_time;
            end if;
            new.updated_at = now();
            return new;
        end $$;
        create trigger sync_times before update on sequence_contacts for each row execute function sync_times();
    """,
    "strict messages": """
        alter table broadcast_messages
            alter column message_type set default 'text', alter column message_type set not null,
            alter column content set default '', alter column content set not null,
            alter column media_url set default '', alter column media_url set not null,
            alter column recipient_name set default '', alter column recipient_name set not null,
            add column updated_at timestamp default now(), add column min_delay integer default 10;
        create function wants_a_trigger() returns trigger language plpgsql as $$
        begin
            if new.sequence_id is not null and not exists (
                select 1 from leads as l where l.phone = new.recipient_phone and l.trigger <> ''
            ) then raise notice 'no trigger'; end if;
            return new;
        end $$;
        create trigger wants_a_trigger before insert on broadcast_messages
        for each row execute function wants_a_trigger();
    """,
    "aware timestamps": """
        alter table sequence_contacts
            alter column next_trigger_time type timestamptz using next_trigger_time at time zone 'UTC',
            alter column completed_at type timestamptz using completed_at at time zone 'UTC',
            alter column processing_started_at type timestamptz using processing_started_at at time zone 'UTC';
        alter table broadcast_messages
            alter column scheduled_at type timestamptz using scheduled_at at time zone 'UTC',
            alter column sent_at type timestamptz using sent_at at time zone 'UTC',
            alter column created_at type timestamptz using created_at at time zone 'UTC';
    """,
}
"""By name, the statements that make a host of that kind out of the usual one."""

KEPT_BY_HOST = {"updated_at", "next_send_at"}
"""Columns that triggers of these hosts keep, whoever writes the row."""

_GENERATION = os.environ.get("SEQDEV_TEST_GENERATION")

about_naive = pytest.mark.skipif(_GENERATION == "aware timestamps", reason="about naive timestamps")
"""For a test of how naive timestamps are read: a host without any is none about it."""

past_the_stopped = pytest.mark.skipif(
    _GENERATION == "steps in order", reason="this host activates no step after one that was stopped"
)
"""For a test in which the step after a stopped one becomes active."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """On a host of a generation: a test whose own rows that host refuses is none about it."""
    try:
        return (yield)
    except psycopg.Error as refusal:
        broken = refusal.sqlstate and refusal.sqlstate[:2] in ("23", "P0")
        if not (os.environ.get("SEQDEV_TEST_GENERATION") and broken):
            raise
        rule = refusal.diag.constraint_name or refusal.diag.column_name or refusal.diag.message_primary
        pytest.skip(f"this host refuses a row of the test's own: {rule}")


def main() -> int:
    """The behaviour tests on each generation; the worst exit code."""
    codes = []
    for name in GENERATIONS:
        print(f"on a host of the generation: {name}", flush=True)
        argv = [sys.executable, "-m", "pytest", "-rs", "-n", "2", "--dist", "worksteal", *BEHAVIOUR]
        environment = os.environ | {"SEQDEV_TEST_GENERATION": name}
        codes.append(subprocess.run(argv, env=environment, check=False).returncode)
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
