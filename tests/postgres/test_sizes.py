"""``seqdev db check`` says what seqdev takes on the disk, and which of its indexes to build anew."""

import re

import psycopg
import pytest

from seqdev.commands import sizes as said
from seqdev.output.words import size
from seqdev.postgres import sizes
from tests.faults.world import wait
from tests.world import citus
from tests.world.command import Cli
from tests.world.host import Host

pytestmark = pytest.mark.thorough

ROWS = 4000
BLOWN_UP = {"seqdev_contacts_due"} if citus.URL else {"seqdev_contacts_due", "seqdev_contacts_phone"}
"""By updates beside an old reader. On Citus it is one of the coordinator's, and the shards may forget old rows."""

REINDEX = r"outside a transaction: (reindex index concurrently public\.(\w+))"


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """An index of a test is worth a word too."""
    monkeypatch.setattr(sizes, "LEAST", 200_000)


def advised(seqdev: Cli) -> dict[str, str]:
    """The statements that it advises, by index."""
    ran = seqdev("db", "check", "--no-probe")
    assert ran.code in (0, 3)
    return {name: statement for statement, name in re.findall(REINDEX, ran.err)}


def advised_by_new_statistics(host: Host, seqdev: Cli) -> dict[str, str]:
    """The same, when the server has counted all changes, which it does with time, and an ANALYZE came after that."""
    found: dict[str, str] = {}

    def look() -> bool:
        host.rows("analyze")
        found.update(advised(seqdev))
        return found.keys() >= BLOWN_UP

    wait(look)
    return found


@pytest.fixture
def crowd(host: Host) -> Host:
    """People who wait, and as many leads; nobody cleans up behind them."""
    user = host.user()
    sequence, (step,) = host.simple_sequence(user)
    host.device(user, "A")
    for statement in (
        "alter table sequence_contacts set (autovacuum_enabled = false)",
        "alter table leads set (autovacuum_enabled = false)",
        "insert into leads (user_id, device_id, name, phone) select u.id, d.id, 'A', '6012' || 1000000 + n"
        f" from users as u, user_devices as d, generate_series(1, {ROWS}) as n",
        "insert into sequence_contacts"
        " (sequence_id, sequence_stepid, contact_phone, status, next_trigger_time, assigned_device_id)"
        f" select '{sequence}', '{step}', l.phone, 'active', now() + random() * interval '1 day', l.device_id from leads as l",
    ):
        host.rows(statement)
    return host


def bloat(host: Host) -> None:
    """Every row moves on in time, again and again, while a transaction is open that could still see all of them."""
    with psycopg.connect(host.url) as reader:
        reader.execute("set transaction isolation level repeatable read")
        reader.execute("select count(*) from sequence_contacts")
        for _ in range(14):
            host.rows(
                "update sequence_contacts set next_trigger_time = next_trigger_time + interval '1 hour'"
            )
    host.rows("update sequence_contacts set status = 'completed' where contact_phone like '%1'")


@pytest.mark.thorough
def test_an_index_that_updates_have_blown_up_is_built_anew_by_the_advice(crowd: Host, seqdev: Cli) -> None:
    crowd.rows("analyze")
    code = seqdev("db", "check", "--no-probe").code
    assert advised(seqdev) == {}
    bloat(crowd)
    found = advised_by_new_statistics(crowd, seqdev)
    assert found.keys() >= BLOWN_UP, found
    # The leads have as many rows, which nobody has changed.
    assert "seqdev_leads_phone" not in found
    assert seqdev("db", "check", "--no-probe").code == code
    for statement in found.values():
        crowd.rows(statement)
    assert advised(seqdev) == {}


@pytest.mark.thorough
def test_nothing_is_advised_by_statistics_that_are_old(crowd: Host, seqdev: Cli) -> None:
    bloat(crowd)
    # Never analysed: nobody knows how many rows there are.
    assert advised(seqdev) == {}
    assert advised_by_new_statistics(crowd, seqdev)
    with psycopg.connect(crowd.url) as connection:
        connection.execute("update sequence_contacts set status = 'active'")
    # The server counts changes when it gets to it.
    wait(lambda: not advised(seqdev))
    assert not advised(seqdev)


def test_an_index_in_parts_is_judged_by_its_parts(host: Host, seqdev: Cli) -> None:
    for statement in (
        "alter table leads rename to leads_of_before",
        "alter index seqdev_leads_phone rename to leads_of_before_phone",
        "create table leads (like leads_of_before including defaults) partition by hash (user_id)",
        "create table leads_1 partition of leads for values with (modulus 2, remainder 0)",
        "create table leads_2 partition of leads for values with (modulus 2, remainder 1)",
        "create index seqdev_leads_phone on leads (phone)",
    ):
        host.rows(statement)
    ran = seqdev("db", "check", "--no-probe")
    assert re.search(r"its indexes on the host's tables: \d+ kB \(.*, \d+ more\)", ran.err), ran.err


def test_the_sizes_are_said_and_where_the_journal_is_large_how_it_gets_smaller(
    host: Host, seqdev: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = seqdev("db", "check", "--no-probe")
    own = re.search(r"seqdev: seqdev's own tables: (\d+) kB \(.*\d+ kB.*, 3 more\)\n", ran.err)
    assert own, ran.err
    assert int(own[1]) == round(
        host.value(
            "select sum(pg_total_relation_size(oid)) from pg_class where relkind = 'r'"
            " and relnamespace = 'seqdev'::regnamespace"
        )
        / 1000
    )
    assert re.search(r"seqdev: its indexes on the host's tables: \d+ kB \(seqdev_\w+ .*\)\n", ran.err), (
        ran.err
    )
    assert "journal prune" not in ran.err
    unknown = r"[(,] ?run \d+ kB of rows not analysed"
    assert re.search(unknown, ran.err), ran.err
    host.rows("analyze seqdev.run")
    assert re.search(r"[(,] ?run \d+ kB of 0 rows", seqdev("db", "check", "--no-probe").err)
    if host.value("select current_setting('server_version_num')::integer") >= 150000:
        host.rows(
            "insert into seqdev.run (id, command, started_at, version)"
            " values (gen_random_uuid(), 'x', now(), 'x')"
        )
        host.rows("select pg_stat_force_next_flush()")
        assert re.search(unknown, seqdev("db", "check", "--no-probe").err)
    monkeypatch.setattr(said, "LARGE", 1)
    more = seqdev("db", "check", "--no-probe")
    assert (more.code, more.out) == (ran.code, ran.out)
    assert re.search(
        r"seqdev: the journal takes \d+ kB: .*: seqdev journal prune --keep 90d --dry-run\n", more.err
    )
    assert seqdev("journal", "prune", "--keep", "90d", "--dry-run").code == 0


def test_sizes_in_words() -> None:
    assert [
        size(one) for one in (0, 8192, 999_499, 999_600, 1_250_000, 12_000_000, 1_500_000_000, 2 * 10**15)
    ] == [*("0 bytes", "8 kB", "999 kB", "1 MB", "1.2 MB", "12 MB", "1.5 GB", "2,000 TB")]
