"""A person is found and judged in every spelling of the phone, as an enrolment does."""

import json
from typing import Any
from uuid import UUID

import pytest

from tests.faults.world import wait
from tests.world.command import Cli
from tests.world.host import Host

DIGITS = "60123456789"
SPELLINGS = ["+60 12-345 6789", "0060123456789", "(+60) 12.345.6789", f"{DIGITS}:3@s.whatsapp.net"]
NATIONAL = "012-345 6789"


@pytest.fixture
def warm(host: Host) -> tuple[UUID, UUID, UUID, UUID]:
    """A user, a device of theirs, a sequence and its step."""
    user = host.user()
    sequence, (step,) = host.simple_sequence(user)
    return user, host.device(user), sequence, step


def story(seqdev: Cli, phone: str) -> Any:
    ran = seqdev("explain", phone, "--format", "json")
    assert (ran.code, ran.err) == (0, "")
    (one,) = json.loads(ran.out)["stories"]
    return one


def calls(seqdev: Cli, phone: str) -> dict[str, tuple[str, str | None]]:
    """What is said to each lead, by its phone."""
    told = story(seqdev, phone)
    phones = {lead["lead_id"]: lead["phone"] for lead in told["leads"]}
    return {phones[one["lead_id"]]: (one["verdict"], one["same_as"]) for one in told["triggers"]}


def refused(seqdev: Cli) -> dict[str, str]:
    ran = seqdev("enroll", "--dry-run", "--format", "json")
    return {one["phone"]: one["reason"] for one in json.loads(ran.out)["refused"]}


@pytest.mark.cases(6)
@pytest.mark.parametrize("asked", [DIGITS, *SPELLINGS])
@pytest.mark.parametrize("stored", [DIGITS, *SPELLINGS])
def test_whatever_is_asked_and_stored_the_person_is_found(
    host: Host, seqdev: Cli, warm: tuple[UUID, UUID, UUID, UUID], asked: str, stored: str
) -> None:
    user, device, sequence, step = warm
    host.lead(user, device, stored, "WARM")
    host.contact(sequence, step, stored, device)
    told = story(seqdev, asked)
    assert [lead["phone"] for lead in told["leads"]] == [stored]
    assert [one["step"]["phone"] for one in told["waiting"]] == [stored]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_lead_whose_person_is_in_under_another_spelling_is_told_so(
    host: Host, seqdev: Cli, warm: tuple[UUID, UUID, UUID, UUID], spelling: str
) -> None:
    user, device, sequence, step = warm
    host.lead(user, device, spelling, "WARM")
    host.lead(user, device, DIGITS, "WARM")
    host.contact(sequence, step, DIGITS, device)
    # Another user's person of that phone has nothing to do with it.
    other = host.user()
    host.lead(other, host.device(other), "+60123456789", "WARM")
    assert refused(seqdev) == {spelling: "same_person"}
    for asked in (DIGITS, spelling):
        ran = seqdev("explain", asked, "--user", str(user), "--format", "json")
        (one,) = json.loads(ran.out)["stories"]
        phones = {lead["lead_id"]: lead["phone"] for lead in one["leads"]}
        assert {phones[row["lead_id"]]: (row["verdict"], row["same_as"]) for row in one["triggers"]} == {
            spelling: ("same_person", DIGITS),
            DIGITS: ("already_in", None),
        }
        screen = seqdev("explain", asked, "--user", str(user)).out
        assert f"not enrolled in warm: same_person: {DIGITS} is the same person" in screen
        assert "seqdev leads merge" in screen
        assert DIGITS not in seqdev("--mask", "explain", asked, "--user", str(user)).out


def test_of_two_leads_who_are_both_outside_one_is_taken(
    host: Host, seqdev: Cli, warm: tuple[UUID, UUID, UUID, UUID]
) -> None:
    user, device, _, _ = warm
    host.lead(user, None, DIGITS, "WARM")
    host.lead(user, device, SPELLINGS[0], "WARM")
    assert refused(seqdev) == {DIGITS: "same_person"}
    assert calls(seqdev, DIGITS) == {DIGITS: ("same_person", SPELLINGS[0]), SPELLINGS[0]: ("ready", None)}


def test_a_row_in_a_spelling_that_no_lead_has_stands_for_the_person(
    host: Host, seqdev: Cli, warm: tuple[UUID, UUID, UUID, UUID]
) -> None:
    user, device, sequence, step = warm
    host.lead(user, device, DIGITS, "WARM")
    host.contact(sequence, step, SPELLINGS[0], device, lead=False)
    assert refused(seqdev) == {}
    assert calls(seqdev, DIGITS) == {DIGITS: ("already_in", None)}


def test_a_national_number_is_read_as_the_rule_says(
    host: Host, seqdev: Cli, warm: tuple[UUID, UUID, UUID, UUID]
) -> None:
    user, device, sequence, step = warm
    host.lead(user, device, NATIONAL, "WARM")
    host.lead(user, device, DIGITS, "WARM")
    host.contact(sequence, step, DIGITS, device)
    assert calls(seqdev, DIGITS) == {DIGITS: ("already_in", None)}
    assert refused(seqdev) == {}
    host.rule("region", "MY")
    assert refused(seqdev) == {NATIONAL: "same_person"}
    for asked in (DIGITS, NATIONAL, "0123456789", "+60123456789"):
        assert calls(seqdev, asked) == {NATIONAL: ("same_person", DIGITS), DIGITS: ("already_in", None)}
    # An international one is not a national one, whatever it begins with.
    assert seqdev("explain", "+0123456789").code == 3


@pytest.mark.thorough
@pytest.mark.plain("its shards have indexes of their own")
@pytest.mark.parametrize("region", [None, "MY"])
def test_however_many_people_there_are_other_spellings_are_found_by_their_indexes(
    host: Host, seqdev: Cli, region: str | None
) -> None:
    user = host.user()
    host.lead(user, host.device(user), SPELLINGS[0], "WARM")
    if region:
        host.rule("region", region)
    # Of so few rows it would read all.
    host.rows(f"alter database {host.connection.info.dbname} set enable_seqscan = off")

    def used() -> dict[str, int]:
        return dict(
            host.rows(
                "select indexrelname, idx_scan from pg_stat_user_indexes where indexrelname like '%\\_odd'"
            )
        )

    story(seqdev, DIGITS)
    # The server counts with some delay.
    wait(lambda: min(used().values()) > 0)
    assert used().keys() == {"seqdev_leads_odd", "seqdev_contacts_odd"}
    assert min(used().values()) > 0, used()
