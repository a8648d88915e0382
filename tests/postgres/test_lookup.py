"""How devices, sequences and users are named on the command line."""

import json
from dataclasses import dataclass
from uuid import UUID

import pytest

from tests.world.command import Cli
from tests.world.host import Host


@dataclass(frozen=True)
class Named:
    """A user with devices and sequences that have these names."""

    host: Host
    user: UUID
    devices: dict[str, UUID]


@pytest.fixture
def named(host: Host) -> Named:
    user = host.user()
    devices = {name: host.device(user, name) for name in ("Alice-1", "alice-2", "ALICE-2", "Bob", "Bobby")}
    host.simple_sequence(user, "WELCOME")
    return Named(host, user, devices)


def shown(seqdev: Cli, text: str) -> list[str]:
    """The devices that an audit shows for what was typed."""
    ran = seqdev("audit", "devices", "--device", text, "--all", "--format", "json")
    assert ran.code in (0, 3), ran.err
    return [row["device"] for row in json.loads(ran.out)["devices"]]


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("aLICE-1", "Alice-1"),
        (" alice-1 ", "Alice-1"),
        ("alice-2", "alice-2"),
        ("ALICE-2", "ALICE-2"),
        ("BOB", "Bob"),
        ("bobb", "Bobby"),
        ("alice-1", "Alice-1"),
    ],
)
def test_a_name_is_found_whatever_its_case_and_what_fits_best_wins(
    named: Named, seqdev: Cli, typed: str, found: str
) -> None:
    assert shown(seqdev, typed) == [found]


@pytest.mark.parametrize("typed", ["Alice-2", "ali", "b"])
def test_where_several_fit_equally_they_are_listed(named: Named, seqdev: Cli, typed: str) -> None:
    ran = seqdev("audit", "devices", "--device", typed)
    assert (ran.code, ran.out, "could be any of" in ran.err) == (2, "", True)


@pytest.mark.parametrize(
    ("options", "near"),
    [
        (["--device", "alcie-1"], "did you mean 'Alice-1', 'ALICE-2' or 'alice-2'?"),
        (["--device", "bpb"], "did you mean 'Bob'?"),
        (["--sequence", "weclome"], "did you mean 'welcome'?"),
        (["--device", "zzz"], "give its name, its id, or the first four characters of the id or more"),
        (["--device", ""], "give its name, its id, or the first four characters of the id or more"),
        (
            ["--user", "zzzz"],
            "users have no names here: give its id, or the first four characters of the id or more",
        ),
    ],
)
def test_where_none_fits_the_nearest_are_offered(
    named: Named, seqdev: Cli, options: list[str], near: str
) -> None:
    ran = seqdev("audit", "mismatches", *options)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.splitlines()[-1] == f"seqdev: {near}"


def test_the_nearest_are_those_of_the_user(named: Named, seqdev: Cli) -> None:
    other = named.host.user()
    named.host.device(other, "bobo")
    ran = seqdev("audit", "mismatches", "--user", str(other), "--device", "bobi")
    assert "did you mean 'bobo'?" in ran.err


@pytest.mark.parametrize(
    "command",
    [
        ["repair", "missing", "--yes", "--device"],
        ["repair", "missing", "--dry-run", "--device"],
        ["pause", "--why", "x", "--device"],
        ["rules", "set", "max_per_day", "3", "--yes", "--device"],
    ],
    ids=" ".join,
)
def test_what_writes_wants_a_whole_name_in_any_case(named: Named, seqdev: Cli, command: list[str]) -> None:
    """A script that says bobb must not mean another device on the day when there is a bobb."""
    ran = seqdev(*command, "bobb")
    assert (ran.code, ran.out) == (2, "")
    assert "no device 'bobb'" in ran.err
    assert "did you mean 'Bobby'" in ran.err
    assert seqdev(*command, "bobBY").code in (0, 3)


def test_what_enrol_does_not_find_is_offered_too(named: Named, seqdev: Cli) -> None:
    ran = seqdev("enroll", "--sequence", "welcom", "--dry-run")
    assert (ran.code, "did you mean 'welcome'?" in ran.err) == (3, True)


@pytest.mark.parametrize("stored", ["Caf\u00e9 Z\u00fcrich", "Cafe\u0301 Zu\u0308rich"])
@pytest.mark.parametrize("typed", ["caf\u00e9 z\u00fcrich", "Cafe\u0301 Zu\u0308rich", "CAF\u00c9"])
def test_an_accent_is_the_same_in_both_its_writings(host: Host, seqdev: Cli, stored: str, typed: str) -> None:
    user = host.user()
    host.device(user, stored)
    host.device(user, "Cafeteria")
    assert shown(seqdev, typed) == [stored]


@pytest.mark.parametrize("typed", ["", "  "])
def test_nothing_is_no_name_not_even_of_a_device_without_one(host: Host, seqdev: Cli, typed: str) -> None:
    user = host.user()
    device = host.device(user, "A")
    host.rows("update user_devices set device_name = '' where id = %s", device)
    ran = seqdev("audit", "devices", "--device", typed)
    assert (ran.code, ran.out) == (2, "")
    assert f"no device {typed!r}" in ran.err
    assert shown(seqdev, str(device)[:8]) == [""]
