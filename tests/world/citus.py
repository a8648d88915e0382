"""Tests on Citus, the distributed Postgres: on one that runs already, never on an imitation of it.

``SEQDEV_TEST_CITUS_URL=postgresql://postgres@127.0.0.1:5432/postgres pytest tests/tick`` runs them there: each database
has the host's tables, distributed. One node is enough; it needs ``citus`` in ``shared_preload_libraries``, a superuser,
and ``max_worker_processes`` for a process of Citus's own in each database.
"""

import os

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

URL = os.environ.get("SEQDEV_TEST_CITUS_URL", "")
"""Of the Citus that tests run on; empty: they run on plain Postgres."""

SHARDS = 4

KEYS = """
do $$
declare key record;
begin
    -- A foreign key to a table that each node has makes Citus run the rest of a transaction a node at a time.
    for key in
        select conrelid::regclass as of, conname from pg_constraint where contype = 'f'
        and conrelid in ('leads'::regclass, 'sequence_contacts'::regclass, 'broadcast_messages'::regclass)
    loop
        execute format('alter table %s drop constraint %I', key.of, key.conname);
    end loop;
end $$;
alter table leads drop constraint leads_pkey, add primary key (phone, id);
alter table sequence_contacts drop constraint sequence_contacts_pkey, add primary key (contact_phone, id);
alter table broadcast_messages drop constraint broadcast_messages_pkey, add primary key (recipient_phone, id);
"""
"""What must be different about the keys of a host before its tables can be distributed."""

REFERENCES = ("users", "user_devices", "sequences", "sequence_steps", "device_load_balance")
DISTRIBUTED = {
    "leads": "phone",
    "sequence_contacts": "contact_phone",
    "broadcast_messages": "recipient_phone",
}


def server() -> str:
    """The conninfo of the server, to which a database's name is added."""
    parts = {name: str(value) for name, value in conninfo_to_dict(URL).items() if name != "dbname"}
    return make_conninfo("", **parts)


def extend(database: str) -> None:
    """Make Citus of an empty database, of one node that holds all shards."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("create extension citus")
        info = connection.info
        connection.execute("select citus_set_coordinator_host(%s, %s)", [info.host, info.port])
        connection.execute(
            "select citus_set_node_property(%s, %s, 'shouldhaveshards', true)", [info.host, info.port]
        )


def distribute(database: str) -> None:
    """Distribute the host's tables."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f"set citus.shard_count = {SHARDS}".encode())
        connection.execute("set client_min_messages = warning")
        connection.execute(KEYS.encode())
        for table in REFERENCES:
            connection.execute("select create_reference_table(%s)", [table])
        with_table = "none"
        for table, column in DISTRIBUTED.items():
            connection.execute(
                "select create_distributed_table(%s, %s, colocate_with => %s)", [table, column, with_table]
            )
            with_table = "leads"


def leave(server: str, name: str) -> None:
    """End all sessions in a database, also Citus's own, so that it can be a template."""
    with psycopg.connect(server, dbname="postgres", autocommit=True) as connection:
        connection.execute(f"alter database {name} with allow_connections false".encode())
        connection.execute(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = %s", [name]
        )


def pytest_runtest_setup(item: pytest.Item) -> None:
    """On Citus, a test that is marked as one of plain Postgres is skipped, with its reason."""
    if URL and (marker := item.get_closest_marker("plain")):
        pytest.skip(f"not on Citus: {marker.args[0]}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say that there was no Citus, where there was none."""
    if not URL:
        terminalreporter.write_line("NOT TESTED: Citus; SEQDEV_TEST_CITUS_URL names none", yellow=True)
