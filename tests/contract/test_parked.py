"""A session that waits for the next command is as a new one, or is not taken: tests may rely on that."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.world import citus
from tests.world.command import ROOT, Cli
from tests.world.host import Host
from tests.world.parked import ABOUT_SESSIONS, NEW_SESSIONS, Parking, Sessions, is_about_sessions
from tests.world.waiting import until

LEFT = (
    "set work_mem = '77MB'",
    "select pg_advisory_lock(1)",
    "create temporary table left_behind ()",
    "prepare left_behind as select 1",
    "listen left_behind",
    "set session characteristics as transaction read only",
)
"""What a command may leave in its session."""

SEEN = """
    select current_setting('work_mem'), current_setting('default_transaction_read_only'),
        current_setting('application_name'), current_setting('client_encoding'), current_setting('search_path'),
        (select count(*) from pg_locks where pid = pg_backend_pid() and locktype = 'advisory'),
        (select count(*) from pg_class where relname = 'left_behind'),
        (select count(*) from pg_prepared_statements), (select count(*) from pg_listening_channels())
"""

Open = Callable[[], Parking]


@pytest.fixture
def open_(database: str) -> Iterator[Open]:
    """Opens connections as commands do."""
    sessions = Sessions()

    def connect() -> Parking:
        options: dict[str, Any] = {
            "prepare_threshold": None,
            "client_encoding": "utf8",
            "connect_timeout": 10,
        }
        return sessions.connect(database, application_name="seqdev test", password=None, **options)

    yield connect
    sessions.end()


def used(connection: Parking) -> int:
    """Its process of the server, after a command."""
    pid = connection.info.backend_pid
    connection.commit()
    connection.close()
    return pid


def test_nothing_of_the_command_before_is_left(open_: Open) -> None:
    connection = open_()
    new = connection.execute(SEEN).fetchone()
    connection.commit()
    connection.autocommit = True
    for statement in LEFT:
        connection.execute(statement.encode())
    pid = used(connection)
    assert connection.closed
    with pytest.raises(psycopg.OperationalError, match="the connection is closed"):
        connection.execute("select 1")
    again = open_()
    assert again.info.backend_pid == pid
    assert not again.autocommit
    assert again.execute(SEEN).fetchone() == new


@pytest.mark.skipif(bool(citus.URL), reason="about sessions on one node")
@pytest.mark.parametrize(
    "changed",
    [
        "alter database {database} set work_mem = '77MB'",
        "alter role postgres in database {database} set work_mem = '77MB'",
        "alter database {database} with connection limit 50",
        "select pg_reload_conf()",
    ],
)
@pytest.mark.cases(4)
def test_where_a_new_session_would_be_another_a_new_one_is_begun(
    host: Host, open_: Open, changed: str
) -> None:
    loaded = "select pg_conf_load_time()"
    before = host.value(loaded)
    pid = used(open_())
    host.rows(changed.format(database=host.connection.info.dbname))
    if "reload" in changed:
        until(lambda: host.value(loaded) != before, "the configuration to be read")
    assert used(open_()) != pid


def test_one_that_was_ended_or_is_in_a_transaction_is_not_taken(host: Host, open_: Open) -> None:
    ended = used(open_())
    host.rows("select pg_terminate_backend(%s::integer, 5000)", ended)
    connection = open_()
    busy = connection.info.backend_pid
    connection.execute("select 1")
    connection.close()
    assert len({ended, busy, open_().info.backend_pid}) == 3


def test_commands_of_a_test_share_one_session_where_it_is_not_about_sessions(host: Host, seqdev: Cli) -> None:
    pids = "select array_agg(pid) from pg_stat_activity where datname = current_database() and application_name = 'parked'"
    seqdev("runs")
    first = host.value(pids)
    seqdev("tick")
    assert host.value(pids) == first
    assert (first is None) == NEW_SESSIONS
    for place in ABOUT_SESSIONS:
        assert (ROOT / "tests" / place).exists()
        assert is_about_sessions(ROOT / "tests" / place)
    assert not is_about_sessions(Path(__file__))
