"""One person in several spellings of a phone is enrolled once; what was asked for and is not there is listed."""

import json
import re
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from seqdev.enroll.rows import APPLY
from tests.world.command import Cli
from tests.world.host import Host
from tests.world.statements import binds

DIGITS = "60123456789"
INTERNATIONAL = [
    "+60 12-345 6789",
    "0060123456789",
    "(+60) 12.345.6789",
    f"{DIGITS}@s.whatsapp.net",
    f"{DIGITS}:3@s.whatsapp.net",
    f"{DIGITS}@c.us",
]
"""The same person as DIGITS, everywhere in the world."""

PARTIES = (
    *("120363012345678901@g.us", "60123-1610000000@g.us", "120363012345678901"),
    *("123456789012345@lid", "120363012345678901@newsletter", "1610000000@broadcast"),
)
"""Whom else WhatsApp sends to: groups, which some workers know without a server too, and others."""


def enroll(seqdev: Cli, *options: str) -> tuple[int, Any]:
    ran = seqdev("enroll", "--yes", "--format", "json", *options)
    return ran.code, json.loads(ran.out)


def refusals(result: Any) -> dict[str, str]:
    return {one["phone"]: one["reason"] for one in result["refused"]}


def enrolled(host: Host) -> list[str]:
    return [phone for (phone,) in host.rows("select contact_phone from sequence_contacts order by 1")]


@pytest.fixture
def warm(host: Host) -> tuple[UUID, UUID, UUID]:
    """A user, a device of theirs and a sequence of two steps."""
    user = host.user()
    sequence, _ = host.simple_sequence(user, steps=2)
    return user, host.device(user), sequence


@pytest.mark.parametrize("spelling", INTERNATIONAL)
def test_of_two_spellings_the_one_that_whatsapp_uses_is_taken(
    host: Host, seqdev: Cli, warm: tuple[UUID, UUID, UUID], spelling: str
) -> None:
    user, device, _ = warm
    host.lead(user, device, spelling, "WARM")
    host.lead(user, device, DIGITS, "WARM")
    dry = json.loads(seqdev("enroll", "--dry-run", "--format", "json").out)
    code, result = enroll(seqdev)
    assert (code, refusals(result)) == (3, {spelling: "same_person"})
    assert dry == result
    assert enrolled(host) == [DIGITS]
    # Again, nothing more happens.
    assert (enroll(seqdev)[0], enrolled(host)) == (3, [DIGITS])


@pytest.mark.parametrize("spelling", INTERNATIONAL)
def test_alone_every_spelling_is_a_phone(
    host: Host, seqdev: Cli, warm: tuple[UUID, UUID, UUID], spelling: str
) -> None:
    user, device, _ = warm
    host.lead(user, device, spelling, "WARM")
    assert enroll(seqdev)[0] == 0
    assert enrolled(host) == [spelling]


@pytest.mark.parametrize("phone", PARTIES)
def test_what_else_whatsapp_sends_to_is_no_bad_phone(
    host: Host, seqdev: Cli, warm: tuple[UUID, UUID, UUID], phone: str
) -> None:
    user, device, _ = warm
    host.lead(user, device, phone, "WARM")
    assert (enroll(seqdev)[0], enrolled(host)) == (0, [phone])


@pytest.mark.parametrize(
    "phone", ["call me", "12345", "1234567890123456", "6012@example.org", "@s.whatsapp.net"]
)
def test_what_is_no_phone_is_refused_and_nobody_else_for_it(
    host: Host, seqdev: Cli, warm: tuple[UUID, UUID, UUID], phone: str
) -> None:
    user, device, _ = warm
    host.lead(user, device, phone, "WARM")
    host.lead(user, device, phone.upper() + " ", "WARM")
    code, result = enroll(seqdev)
    assert (code, set(refusals(result).values())) == (3, {"bad_phone"})


def test_all_spellings_together_are_one_person(
    host: Host, seqdev: Cli, warm: tuple[UUID, UUID, UUID]
) -> None:
    user, device, _ = warm
    for spelling in INTERNATIONAL:
        host.lead(user, device, spelling, "WARM")
    code, result = enroll(seqdev)
    assert (code, len(enrolled(host))) == (3, 1)
    assert list(refusals(result).values()) == ["same_person"] * (len(INTERNATIONAL) - 1)


@pytest.mark.cases(5)
@pytest.mark.parametrize("in_sequence", [DIGITS, *INTERNATIONAL])
@pytest.mark.parametrize("spelling", [DIGITS, INTERNATIONAL[0]])
def test_who_is_in_the_sequence_in_another_spelling_is_not_enrolled_again(
    host: Host, seqdev: Cli, warm: tuple[UUID, UUID, UUID], in_sequence: str, spelling: str
) -> None:
    user, device, sequence = warm
    (_, second) = host.rows("select id from sequence_steps order by day_number")
    host.contact(sequence, second.id, in_sequence, device, lead=False)
    host.lead(user, device, spelling, "WARM")
    host.lead(user, None, "0060 123456789", "WARM")
    dry = json.loads(seqdev("enroll", "--dry-run", "--format", "json").out)
    code, result = enroll(seqdev)
    # Of their leads one is in, and the other is the same person.
    assert (code, refusals(result)) == (3, {"0060 123456789": "same_person"})
    assert [row["already_in"] for row in result["sequences"]] == [1]
    assert dry == result
    assert enrolled(host) == [in_sequence]


def test_who_is_in_stays_and_the_other_spelling_is_refused(
    host: Host, seqdev: Cli, warm: tuple[UUID, UUID, UUID]
) -> None:
    user, device, _ = warm
    host.lead(user, device, INTERNATIONAL[0], "WARM")
    enroll(seqdev)
    host.lead(user, device, DIGITS, "WARM")
    code, result = enroll(seqdev)
    assert (code, refusals(result)) == (3, {DIGITS: "same_person"})
    assert [row["already_in"] for row in result["sequences"]] == [1]
    assert enrolled(host) == [INTERNATIONAL[0]]


def test_the_one_with_a_device_of_its_user_is_taken(
    host: Host, seqdev: Cli, warm: tuple[UUID, UUID, UUID]
) -> None:
    user, device, _ = warm
    host.lead(user, None, DIGITS, "WARM")
    host.lead(user, device, INTERNATIONAL[0], "WARM")
    assert refusals(enroll(seqdev)[1]) == {DIGITS: "same_person"}
    assert enrolled(host) == [INTERNATIONAL[0]]


def test_waiting_rows_in_one_spelling_are_adopted_and_the_other_is_refused(
    host: Host, seqdev: Cli, warm: tuple[UUID, UUID, UUID]
) -> None:
    user, device, sequence = warm
    (first, second) = host.rows("select id from sequence_steps order by day_number")
    for step in (first, second):
        host.contact(sequence, step.id, INTERNATIONAL[0], device, status="pending", lead=False)
    host.lead(user, device, INTERNATIONAL[0], "WARM")
    host.lead(user, device, DIGITS, "WARM")
    assert refusals(enroll(seqdev)[1]) == {DIGITS: "same_person"}
    assert host.rows("select contact_phone, status from sequence_contacts order by status") == [
        (INTERNATIONAL[0], "active"),
        (INTERNATIONAL[0], "pending"),
    ]


def test_two_users_have_two_persons_and_two_sequences_take_a_spelling_each(
    host: Host, seqdev: Cli, warm: tuple[UUID, UUID, UUID]
) -> None:
    user, device, _ = warm
    host.simple_sequence(user, "COLD")
    host.lead(user, device, DIGITS, "WARM")
    host.lead(user, device, INTERNATIONAL[0], "COLD")
    other = host.user()
    host.simple_sequence(other, "WARM")
    host.lead(other, host.device(other), INTERNATIONAL[0], "WARM")
    assert enroll(seqdev)[0] == 0
    assert len(enrolled(host)) == 3


@pytest.mark.thorough
def test_of_leads_that_a_filter_leaves_out_none_stands_in_the_way(
    host: Host, seqdev: Cli, warm: tuple[UUID, UUID, UUID]
) -> None:
    user, device, _ = warm
    other = host.device(user, "other")
    host.lead(user, device, DIGITS, "WARM")
    host.lead(user, other, INTERNATIONAL[0], "WARM")
    assert enroll(seqdev, "--device", "other")[0] == 0
    assert enrolled(host) == [INTERNATIONAL[0]]
    assert refusals(enroll(seqdev)[1]) == {DIGITS: "same_person"}


@pytest.mark.parametrize(
    ("region", "national"),
    [("MY", "012-345 6789"), ("my", "0123456789"), ("US", "(202) 555-0101"), ("SG", "81234567")],
)
def test_a_national_number_is_one_of_the_region(
    host: Host,
    seqdev: Cli,
    warm: tuple[UUID, UUID, UUID],
    region: str,
    national: str,
) -> None:
    international = {"US": "12025550101", "SG": "6581234567"}.get(region, DIGITS)
    user, device, _ = warm
    host.lead(user, device, national, "WARM")
    host.lead(user, device, international, "WARM")
    assert refusals(json.loads(seqdev("enroll", "--dry-run", "--format", "json").out)) == {}
    host.rule("region", region)
    assert refusals(enroll(seqdev)[1]) == {national: "same_person"}
    assert enrolled(host) == [international]


def test_a_foreign_number_is_none_of_the_region(
    host: Host, seqdev: Cli, warm: tuple[UUID, UUID, UUID]
) -> None:
    user, device, _ = warm
    host.rule("region", "US")
    host.lead(user, device, "+2025550101", "WARM")
    host.lead(user, device, "12025550101", "WARM")
    assert enroll(seqdev)[0] == 0


def test_a_region_that_does_not_exist_is_wrong_usage(
    host: Host, seqdev: Cli, warm: tuple[UUID, UUID, UUID]
) -> None:
    host.rule("region", "XX")
    ran = seqdev("enroll", "--yes")
    assert (ran.code, ran.out) == (2, "")
    assert "the rule region cannot be 'XX': no such region" in ran.err


TYPED = [
    *INTERNATIONAL,
    "tel:+60-12-345-6789",
    "https://wa.me/60123456789?text=hi",
    "٦٠١٢٣٤٥٦٧٨٩",
    "６０123456789",
]


@pytest.mark.cases(6)
@pytest.mark.parametrize("typed", TYPED)
@pytest.mark.parametrize("stored", [DIGITS, INTERNATIONAL[0]])
def test_phones_find_a_lead_in_any_spelling(
    host: Host, seqdev: Cli, warm: tuple[UUID, UUID, UUID], tmp_path: Path, typed: str, stored: str
) -> None:
    user, device, _ = warm
    host.lead(user, device, stored, "WARM")
    host.lead(user, device, "60120000000", "WARM")
    file = tmp_path / "phones.txt"
    file.write_text(f"{typed}\n", encoding="utf-8")
    assert enroll(seqdev, "--phones", str(file))[0] == 0
    assert enrolled(host) == [stored]


def test_phones_and_names_that_match_nothing_are_listed(
    host: Host, seqdev: Cli, warm: tuple[UUID, UUID, UUID], tmp_path: Path
) -> None:
    user, device, _ = warm
    host.lead(user, device, DIGITS, "WARM")
    file = tmp_path / "phones.txt"
    file.write_text("601\n60999999999\n60123456789\n")
    code, result = enroll(seqdev, "--phones", str(file), "--sequence", "warm", "--sequence", "wram")
    assert code == 3
    assert result["unmatched"] == [
        {"option": "--sequence", "phone": None, "sequence": "wram"},
        {"option": "--phones", "phone": "601", "sequence": None},
        {"option": "--phones", "phone": "60999999999", "sequence": None},
    ]
    assert enrolled(host) == [DIGITS]


def test_of_many_phones_without_a_lead_twenty_are_listed_and_none_is_on_stderr(
    host: Host, seqdev: Cli, warm: tuple[UUID, UUID, UUID], tmp_path: Path
) -> None:
    file = tmp_path / "phones.txt"
    file.write_text("".join(f"6099{number:06}\n" for number in range(25)))
    ran = seqdev("--mask", "enroll", "--yes", "--phones", str(file), "--format", "json")
    assert (ran.code, len(json.loads(ran.out)["unmatched"])) == (3, 20)
    assert ran.err == "seqdev: 25 of 25 phones given are no lead's, 20 of them listed: --all lists all\n"
    assert "6099000" not in ran.out
    assert len(enroll(seqdev, "--phones", str(file), "--all")[1]["unmatched"]) == 25


def test_a_name_alone_that_is_no_sequences_enrols_nobody(
    host: Host, seqdev: Cli, warm: tuple[UUID, UUID, UUID]
) -> None:
    user, device, _ = warm
    host.lead(user, device, DIGITS, "WARM")
    code, result = enroll(seqdev, "--sequence", "wram")
    assert (code, [one["sequence"] for one in result["unmatched"]], enrolled(host)) == (3, ["wram"], [])


@pytest.mark.plain("another statement is planned there")
def test_whether_a_lead_is_refused_is_a_lookup_in_a_hash(host: Host, warm: tuple[UUID, UUID, UUID]) -> None:
    given = binds(host.connection, APPLY, most=10)
    plan = "\n".join(
        row[0] for row in host.connection.execute(b"explain verbose " + APPLY.statement.text.encode(), given)
    )
    looks = re.findall(r"SubPlan (\d+)\n\s+->\s+Function Scan on same", plan)
    assert len(looks) == 2
    # Row by row, 10,000 refused of 110,000 leads took minutes.
    assert [look for look in looks if not re.search(rf"hashed SubPlan {look}\b", plan)] == []
