"""The audit of leads finds a person who has several, in whatever spelling."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.world.command import Cli
from tests.world.host import Host

DIGITS = "60123456789"


def same(seqdev: Cli, *options: str) -> list[str]:
    ran = seqdev("audit", "leads", "--all", "--format", "json", *options)
    assert ran.code in (0, 3), ran.err
    return sorted(row["phone"] for row in json.loads(ran.out)["leads"] if row["finding"] == "same_person")


@pytest.fixture
def pair(host: Host) -> Any:
    user = host.user()
    device = host.device(user)
    host.lead(user, device, DIGITS)
    host.lead(user, device, "+60 12-345 6789")
    host.lead(user, device, "60123456780")
    other = host.user()
    host.lead(other, host.device(other), "+60123456789")
    return user


def test_the_spellings_of_a_person_of_one_user_are_found(host: Host, seqdev: Cli, pair: Any) -> None:
    assert same(seqdev) == ["+60 12-345 6789", DIGITS]
    ran = seqdev("audit", "leads", "--format", "json")
    (row, _) = (one for one in json.loads(ran.out)["leads"] if one["finding"] == "same_person")
    assert (row["detail"], row["repair"]) == ("one of 2 leads of a person", "seqdev leads merge")
    assert same(seqdev, "--user", str(pair)) == ["+60 12-345 6789", DIGITS]


def test_a_national_number_is_the_regions(host: Host, seqdev: Cli, pair: Any) -> None:
    host.lead(pair, None, "012-345 6780")
    assert same(seqdev) == ["+60 12-345 6789", DIGITS]
    host.rule("region", "MY")
    assert same(seqdev) == ["+60 12-345 6789", "012-345 6780", "60123456780", DIGITS]


def test_an_import_makes_no_second_lead_of_a_person(host: Host, seqdev: Cli, tmp_path: Path) -> None:
    user, other = host.user(), host.user()
    device = host.device(user)
    spelled = [host.lead(user, device, phone) for phone in ("+60 12-345 6789", "012-345 6780")]
    host.lead(other, None, "+60123456781")
    file = tmp_path / "leads.csv"
    file.write_text("phone,name\n60123456789,Ann\n60123456780,Ben\n60123456781,Cal\n")
    host.rule("region", "MY")
    ran = seqdev(
        "leads", "import", str(file), "--user", str(user), "--device", str(device), "--existing", "update"
    )
    assert ran.code == 0, ran.err
    assert host.rows("select phone, name from leads where user_id = %s order by name", user) == [
        ("+60 12-345 6789", "Ann"),
        ("012-345 6780", "Ben"),
        ("60123456781", "Cal"),
    ]
    assert host.value("select count(*) from leads where id = any(%s)", spelled) == 2
    assert same(seqdev) == []


@pytest.mark.plain("by whom a row is distributed is never null")
def test_true_duplicates_are_found_on_a_host_without_the_key(host: Host, seqdev: Cli) -> None:
    host.rows("alter table leads drop constraint leads_user_id_phone_key, alter phone drop not null")
    user = host.user()
    for phone in (DIGITS, DIGITS, "6012", None, None, ""):
        host.lead(user, None, phone)  # type: ignore[arg-type]
    assert same(seqdev) == [DIGITS, DIGITS]
