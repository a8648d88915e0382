"""Where Citus has distributed the host's tables."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest

from seqdev.postgres.engine import Database
from seqdev.settings import Settings
from tests.world import citus
from tests.world.host import Host

pytestmark = pytest.mark.skipif(not citus.URL, reason="NOT TESTED: SEQDEV_TEST_CITUS_URL names no Citus")

SETTINGS = (
    "TimeZone",
    "lock_timeout",
    "statement_timeout",
    "search_path",
    "row_security",
    "DateStyle",
    "jit",
)


@pytest.fixture
def elsewhere(database: str, connect: Callable[[str], psycopg.Connection]) -> str:
    """A database whose shards are reached by connections of their own, which begin with other settings."""
    connection = connect(database)
    name = connection.info.dbname
    for setting in (
        "citus.enable_local_execution = off",
        "timezone = 'Asia/Kuala_Lumpur'",
        "lock_timeout = '1h'",
        "datestyle = 'SQL, DMY'",
        "row_security = on",
    ):
        connection.execute(f"alter database {name} set {setting}".encode())
    return database


def test_the_settings_of_a_transaction_hold_on_all_nodes(host: Host, elsewhere: str) -> None:
    user = host.user()
    for number in range(20):
        host.lead(user, None, f"60123450{number:03}")
    host.connection.close()
    # Asked of each row, so that the node that has it answers.
    asked = ", ".join(f"current_setting('{name}' || left(phone, 0))" for name in SETTINGS)
    settings = replace(Settings(), database_url=elsewhere, timezone="America/Lima")
    database = Database(settings, "test", print)
    expected = ("America/Lima", "5s", "5min", "public, pg_temp", "off", "ISO, YMD", "off")
    for _ in range(2):
        with database.transaction() as transaction:
            assert transaction.distributed
            answers = transaction.made(f"select distinct {asked} from leads", lambda *values: values)
            assert answers == [expected]
            transaction.wait_at_most(timedelta(milliseconds=20))
            (answer,) = transaction.made(f"select distinct {asked} from leads", lambda *values: values)
            assert answer[1] == "20ms"
    database.close()
