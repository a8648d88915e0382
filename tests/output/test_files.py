"""Files that commands write are plain files: what else bears the name stays what it is."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.world.command import Cli
from tests.world.host import Host

Make = Callable[[Path], None]


def device(path: Path) -> None:
    """A device node as /dev/null is one."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a device node")
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("device nodes cannot be made here")


def link_to_device(path: Path) -> None:
    path.symlink_to("/dev/null")


OTHERS: list[Make] = [device, link_to_device, os.mkfifo, Path.mkdir]


@pytest.fixture(params=["plan", "rejects"])
def write(request: pytest.FixtureRequest, host: Host, seqdev: Cli, tmp_path: Path) -> Cli:
    """A command that writes the file it is given, if it may."""
    user = host.user()
    device = host.device(user, "old")
    host.device(user, "new")
    host.lead(user, device, "60123456789")
    leads = tmp_path / "leads.csv"
    leads.write_text("phone,device\n1,old\n")
    if request.param == "plan":
        return lambda file: seqdev("repair", "device", "old", "--to", "new", "--dry-run", "--plan", file)
    return lambda file: seqdev("leads", "import", str(leads), "--user", str(user), "--rejects", file)


@pytest.mark.parametrize("make", OTHERS)
def test_what_is_no_plain_file_is_refused_and_stays(write: Cli, tmp_path: Path, make: Make) -> None:
    path = tmp_path / "out"
    make(path)
    before = os.lstat(path)
    ran = write(str(path))
    assert (ran.code, ran.out) == (2, "")
    assert f"cannot write {path}: it is not a plain file" in ran.err
    after = os.lstat(path)
    assert (after.st_mode, after.st_ino, after.st_rdev) == (before.st_mode, before.st_ino, before.st_rdev)


@pytest.mark.parametrize("exists", [True, False])
def test_a_symbolic_link_stays_and_its_file_is_written(write: Cli, tmp_path: Path, exists: bool) -> None:
    link, file = tmp_path / "link", tmp_path / "file"
    link.symlink_to(file)
    if exists:
        file.write_text("before")
    ran = write(str(link))
    assert ran.code in (0, 3), ran
    assert link.is_symlink()
    assert file.read_text() not in ("", "before")
