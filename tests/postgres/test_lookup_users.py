"""How users are named on the command line: by what names the host has for them. Emails of others are nowhere."""

import json
from dataclasses import dataclass
from uuid import UUID

import pytest

from tests.world.command import Cli, Ran
from tests.world.host import Host

PEOPLE = {
    "Alice Tan": "alice@example.com",
    "Alina": "ali@example.com",
    "Bob": "bob@example.com",
    "BOB": "bob2@example.com",
    "Twin": "twin1@example.com",
    "twin": "twin2@example.com",
    # People who have put their email in the place of a name.
    "carol@example.com": "carol@example.com",
}


@dataclass(frozen=True)
class Users:
    """Users by their name; each has a device, which is named as its user."""

    host: Host
    ids: dict[str, UUID]


@pytest.fixture
def users(host: Host) -> Users:
    host.rows("alter table users add full_name varchar(255), add email varchar(255), add password_hash text")
    ids = {}
    for name, email in PEOPLE.items():
        ids[name] = host.user()
        host.rows("update users set full_name = %s, email = %s where id = %s", name, email, ids[name])
        host.device(ids[name], name)
    return Users(host, ids)


def named(seqdev: Cli, text: str) -> list[str]:
    """Whose devices an audit shows for what was typed."""
    ran = seqdev("audit", "devices", "--user", text, "--all", "--format", "json")
    assert ran.code in (0, 3), ran.err
    return [row["device"] for row in json.loads(ran.out)["devices"]]


def refused(seqdev: Cli, *arguments: str) -> Ran:
    ran = seqdev(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert len(ran.err.splitlines()) == 2
    return ran


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("Alice Tan", "Alice Tan"),
        (" aLICE tan ", "Alice Tan"),
        ("alic", "Alice Tan"),
        ("Bob", "Bob"),
        ("BOB", "BOB"),
        ("ALICE@example.com", "Alice Tan"),
        ("carol@example.com", "carol@example.com"),
    ],
)
def test_a_user_is_found_by_name_or_whole_email(users: Users, seqdev: Cli, typed: str, found: str) -> None:
    assert named(seqdev, typed) == [found]


def test_an_id_or_its_beginning_will_do_as_before(users: Users, seqdev: Cli) -> None:
    bob = str(users.ids["Bob"])
    assert named(seqdev, bob) == named(seqdev, bob[:12].upper()) == ["Bob"]
    # Names win over what an id begins with, and whole ones over all else.
    users.host.rows("update users set full_name = %s where id = %s", bob[:4], users.ids["Alina"])
    assert named(seqdev, bob[:4]) == ["Alina"]


@pytest.mark.parametrize("column", ["full_name", "name", "username"])
@pytest.mark.parametrize("kind", ["text", "varchar(50)"])
def test_the_names_are_where_the_host_has_them(host: Host, seqdev: Cli, column: str, kind: str) -> None:
    host.rows(f"alter table users add {column} {kind}")
    user = host.user()
    host.rows(f"update users set {column} = 'Alice' where id = %s", user)
    host.device(user, "one")
    host.device(host.user(), "two")
    assert named(seqdev, "alice") == ["one"]
    assert "did you mean 'Alice'?" in refused(seqdev, "audit", "devices", "--user", "alcie").err


def test_a_user_has_as_many_names_as_columns_and_the_fullest_is_shown(users: Users, seqdev: Cli) -> None:
    users.host.rows("alter table users add username text, add name integer")
    users.host.rows("update users set username = 'bt' where full_name in ('Bob', 'BOB')")
    err = refused(seqdev, "audit", "devices", "--user", "bt").err
    assert f"{users.ids['Bob']} Bob" in err
    assert f"{users.ids['BOB']} BOB" in err


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("alcie tan", "did you mean 'Alice Tan'?"),
        ("zzz", "give its name, its id, or the first four characters of the id or more"),
        ("", "give its name, its id, or the first four characters of the id or more"),
        ("00000000-0000-4000-8000-000000000000", "give its name, its id, or"),
        ("carol", "give its name, its id, or"),
        ("carol@example", "give its name, its id, or"),
        ("alice@example.co", "did you mean 'Alice Tan'?"),
        ("@", "give its name, its id, or"),
    ],
)
def test_where_none_fits_the_nearest_names_are_offered_and_no_email(
    users: Users, seqdev: Cli, typed: str, said: str
) -> None:
    ran = refused(seqdev, "explain", "60120000001", "--user", typed)
    first, second = ran.err.splitlines()
    assert first == f"seqdev: no user {typed!r}"
    assert said in second
    assert "@" not in second


@pytest.mark.parametrize("typed", ["tWIN", "ali", "b"])
def test_where_several_fit_equally_they_are_listed_without_emails(
    users: Users, seqdev: Cli, typed: str
) -> None:
    ran = refused(seqdev, "audit", "devices", "--user", typed)
    assert "could be any of: " in ran.err
    assert "@" not in ran.err
    shared = "update users set email = 'one@example.com', full_name = 'x@y.example'"
    users.host.rows(shared)
    ran = refused(seqdev, "audit", "devices", "--user", "one@example.com")
    assert str(users.ids["Bob"]) in ran.err or "; …" in ran.err
    assert "y.example" not in ran.err


@pytest.mark.parametrize(
    "command",
    [
        ["repair", "missing", "--yes"],
        ["leads", "merge", "--yes"],
        ["enroll", "--yes"],
        ["pause", "--why", "x"],
        ["rules", "set", "max_per_day", "3", "--yes"],
    ],
    ids=" ".join,
)
def test_what_writes_wants_a_whole_name(users: Users, seqdev: Cli, command: list[str]) -> None:
    assert "did you mean 'Alice Tan'" in refused(seqdev, *command, "--user", "alice").err
    assert seqdev(*command, "--user", "ALICE tan").code in (0, 3)


@pytest.mark.parametrize(
    "command",
    [
        ["audit", "mismatches"],
        ["audit", "mismatches", "--at", "1s"],
        ["explain", "60120000001"],
        ["explain", "60120000001", "--at", "1s"],
        ["forecast"],
        ["stats"],
        ["top", "--once"],
        ["block", "list"],
        ["rules", "list"],
    ],
    ids=" ".join,
)
def test_what_reads_takes_the_beginning(users: Users, seqdev: Cli, command: list[str]) -> None:
    ran = seqdev(*command, "--user", "alice")
    assert ran.code in (0, 3), ran.err
    assert "could be any of" in refused(seqdev, *command, "--user", "ali").err


def test_what_is_kept_of_a_rule_or_a_run_has_the_id_and_no_name(users: Users, seqdev: Cli) -> None:
    assert seqdev("rules", "set", "max_per_day", "3", "--yes", "--user", "alice@example.com").code == 0
    kept = users.host.rows("select r::text from seqdev.rule r union all select r::text from seqdev.run r")
    assert len(kept) == 2
    assert not [row for row in kept if "lice" in row[0].lower()]
    assert users.host.value("select scope_id from seqdev.rule") == users.ids["Alice Tan"]


def test_the_next_command_names_the_user_as_a_shell_takes_it(users: Users, seqdev: Cli) -> None:
    assert seqdev("tick").code == 0
    users.host.lead(users.ids["Alice Tan"], None, "60120000001")
    ran = seqdev("audit", "all", "--user", "Alice Tan")
    assert ran.err.splitlines()[-1] == "seqdev: next: seqdev audit leads --user 'Alice Tan'"


def test_a_name_of_users_is_made_harmless(users: Users, seqdev: Cli) -> None:
    users.host.rows("update users set full_name = E'evil\x1b[31m' where full_name in ('Bob', 'BOB')")
    for command in (["audit", "devices"], ["repair", "missing", "--yes"]):
        ran = refused(seqdev, *command, "--user", "evil")
        assert "evil" in ran.err
        assert "\x1b" not in ran.err
