"""On a hot standby: what only reads works and says how far it lags; what writes refuses, and says where to go."""

import json
import re
import shlex
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from seqdev.postgres import home
from tests.faults.servers import Server, account, binaries
from tests.faults.world import wait
from tests.world.command import Cli
from tests.world.host import Host

pytestmark = [pytest.mark.thorough, pytest.mark.plain("a standby is made of the embedded server")]

READS = {
    "audit all": 3,
    "explain 60120000001": 0,
    "report --format json": 0,
    "stats --by status --format json": 0,
    "top --once": 0,
    "metrics": 0,
    "tick --dry-run": 0,
    "enroll --dry-run": 0,
    "journal prune --keep 90d --dry-run": 0,
}
WRITES = (
    "tick",
    "repair device B --to A --yes",
    "pause --why x",
    "rules set max_per_hour 3",
)
LEVEL = "seqdev: this server is a standby, not behind its primary\n"
A_PLAN = (
    "seqdev: a plan made on a standby may be out of date: carry it out at the primary; from a file, it changes nothing "
    "there if a single row has changed since (exit code 14)\n"
)
PRIMARY = "point seqdev at the primary; a URL that names all servers finds it: …@a,b/NAME?target_session_attrs=read-write\n"
REFUSED = f"seqdev: this server is a standby, which takes no writes: nothing was changed\nseqdev: {PRIMARY}"


class Standby(Server):
    """A standby of the session's server."""

    def value(self, statement: str) -> object:
        """One value, asked of it."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            (found,) = connection.execute(statement.encode()).fetchone() or (None,)
            return found

    @contextmanager
    def set(self, **settings: str) -> Iterator[None]:
        """Settings for a while."""
        for name, value in settings.items():
            self.execute(f"alter system set {name} = '{value}'")
        self.execute("select pg_reload_conf()")
        yield
        for name in settings:
            self.execute(f"alter system reset {name}")
        self.execute("select pg_reload_conf()")


def until(condition: Callable[[], object]) -> None:
    """Wait for it."""
    wait(condition)
    assert condition()


@pytest.fixture(scope="module")
def follower(server: str) -> Iterator[Standby]:
    """It follows the session's server."""
    made = Standby(home.find().parent / "standby", max_connections="200", wal_retrieve_retry_interval="50ms")
    user = account()
    primary = str(psycopg.conninfo.conninfo_to_dict(server)["host"])
    options = ["-h", primary, "-U", "postgres", "--checkpoint=fast", "--no-sync", "--no-manifest"]
    subprocess.run(
        [binaries() / "pg_basebackup", "-D", made.data, *options],
        check=True,
        capture_output=True,
        cwd="/",
        env={"LC_ALL": "C"},
        user=user[0] if user else None,
        group=user[1] if user else None,
        extra_groups=[] if user else None,
    )
    (made.data / "standby.signal").touch()
    # Not on the command line, or it could not be changed.
    with (made.data / "postgresql.conf").open("a") as file:
        file.write(f"primary_conninfo = 'host={primary} user=postgres'\n")
    made.start()
    yield made
    made.stop(signal.SIGQUIT)
    shutil.rmtree(made.folder)


@pytest.fixture
def standby(follower: Standby, host: Host) -> Standby:
    """With two devices, one of them offline, and a person due on each."""
    user = host.user()
    sequence, (step,) = host.simple_sequence(user)
    for number, name in enumerate("AB"):
        device = host.device(user, name, status="online" if name == "A" else "offline")
        host.contact(sequence, step, f"6012000000{number}", device)
    return follower


@pytest.fixture
def there(standby: Standby, host: Host, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From when it is called on, commands work on the standby, which knows all that there is."""

    def go() -> None:
        # The session's server writes its log when it likes: this waits for it, and for all before it.
        host.rows("set synchronous_commit = on")
        written = host.value("select pg_logical_emit_message(true, '', '')::text")
        until(lambda: standby.value(f"select pg_last_wal_replay_lsn() >= '{written}'"))
        monkeypatch.setenv("SEQDEV_DATABASE_URL", standby.url(host.value("select current_database()")))

    return go


def test_what_only_reads_works_there_and_says_once_how_far_it_lags(
    there: Callable[[], None], seqdev: Cli
) -> None:
    counted = "stats --by status --format json"
    here = seqdev(*shlex.split(counted)).out
    there()
    for argv, code in READS.items():
        ran = seqdev(*shlex.split(argv))
        assert (ran.code, ran.err.count(LEVEL)) == (code, 1), (argv, ran)
        assert ran.out, argv
        if argv == counted:
            assert ran.out == here


def test_what_writes_refuses_and_says_where_to_go(
    there: Callable[[], None], seqdev: Cli, host: Host, tmp_path: Path
) -> None:
    there()
    for argv in WRITES:
        ran = seqdev(*shlex.split(argv))
        assert (ran.code, ran.out, ran.err) == (10, "", REFUSED), argv
    file = tmp_path / "leads.csv"
    file.write_text("phone\n60120000009\n")
    user = host.value("select id from users")
    ran = seqdev("leads", "import", str(file), "--user", user, "--distribute", "--dry-run")
    assert (ran.code, ran.out) == (10, "")
    assert ran.err == (
        f"{LEVEL}seqdev: the dry run of an import reads the file into a temporary table, which a standby cannot make\n"
        f"seqdev: {PRIMARY}"
    )
    ran = seqdev("db", "check")
    assert ran.code == 10
    assert LEVEL in ran.err
    assert f"seqdev: commands that write will refuse: {PRIMARY}" in ran.err


@pytest.mark.thorough
def test_how_far_it_lags_in_each_state(
    standby: Standby, there: Callable[[], None], seqdev: Cli, host: Host
) -> None:
    def said() -> str:
        ran = seqdev("stats", "--by", "status")
        assert ran.code == 0
        return ran.err

    user = host.value("select id from users")
    there()
    with standby.set(recovery_min_apply_delay="1h"):

        def lags() -> object:
            # The first may still be replayed: the setting has to arrive too.
            host.device(user, "C")
            return re.fullmatch(r"seqdev: this server is a standby, \d\S* s behind its primary\n", said())

        until(lags)
    there()
    until(lambda: said() == LEVEL)
    standby.execute("select pg_wal_replay_pause()")
    assert "a standby, its replay paused: the last change that it knows is" in said()
    standby.execute("select pg_wal_replay_resume()")
    with standby.set(primary_conninfo="host=/nonexistent"):
        until(lambda: standby.value("select not exists (select from pg_stat_wal_receiver)"))
        assert re.search(
            r"a standby, to which its primary streams nothing now: the last change that it knows is .* old\n",
            said(),
        )


def test_a_plan_made_there_says_so_also_in_its_file(
    there: Callable[[], None],
    seqdev: Cli,
    host: Host,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "plan"
    repair = ("repair", "device", "B", "--to", "A", "--plan", str(file))
    there()
    ran = seqdev(*repair, "--dry-run")
    assert (ran.code, ran.err.count(LEVEL), ran.err.count(A_PLAN)) == (0, 1, 1), ran
    head, *rows = file.read_text().splitlines()
    assert json.loads(head)["standby"] == "a standby, not behind its primary"
    monkeypatch.setenv("SEQDEV_DATABASE_URL", host.url)
    # Whoever takes that out, has changed the plan.
    forged = json.loads(head)
    del forged["standby"]
    file.write_text("\n".join([json.dumps(forged), *rows, ""]))
    assert seqdev(*repair, "--yes").code == 2
    file.write_text("\n".join([head, *rows, ""]))
    ran = seqdev(*repair, "--yes")
    assert (ran.code, ran.err.count("seqdev: the plan was made on a standby, not behind its primary\n")) == (
        0,
        1,
    ), ran
    assert host.value("select count(distinct assigned_device_id) from sequence_contacts") == 1


def test_a_statement_that_the_standby_cancels_is_tried_again_and_that_is_said(
    standby: Standby, there: Callable[[], None], seqdev: Cli, host: Host
) -> None:
    host.make_leads()
    for statement in (
        "create table marker as select 1 as one",
        "create function slow() returns boolean language plpgsql as"
        " 'begin if exists (select from marker) then perform pg_sleep(50); end if; return true; end'",
        "alter table leads rename to people",
        "create view leads as select p.* from people as p where slow()",
    ):
        host.rows(statement)

    def at_the_primary() -> None:
        until(
            lambda: standby.value("select exists (select from pg_stat_activity where wait_event = 'PgSleep')")
        )
        host.rows("delete from marker")
        # The dead row goes, which the statement there could still see.
        host.rows("vacuum marker")

    with standby.set(max_standby_streaming_delay="0"):
        there()
        other = threading.Thread(target=at_the_primary)
        other.start()
        ran = seqdev("audit", "leads")
        other.join()
    assert ran.code in (0, 3), ran
    assert (
        ran.err.count(
            "seqdev: the standby cancelled a statement, which stood in the way of what its primary sends: "
            "it is tried again\n"
        )
        == 1
    ), ran
