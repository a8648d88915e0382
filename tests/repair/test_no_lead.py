"""People whose lead was deleted or got another phone in mid-sequence: found, moved to that phone, or ended."""

import json
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.world.command import Cli
from tests.world.host import Host
from tests.world.repairs import message, only, repair, run_of, snapshot

OLD, NEW = "6012000001", "6012000002"
ENDED = {"status": "stopped", "last_error": "ended: no lead of the user has this phone"}


class Scene:
    """A person who has had the first step, and whose lead is deleted then."""

    def __init__(self, host: Host, seqdev: Cli) -> None:
        self.host = host
        self.user = host.user()
        self.device = host.device(self.user, "A")
        self.sequence, self.steps = host.simple_sequence(self.user, steps=2)
        self.lead = host.lead(self.user, self.device, OLD, "WARM")
        host.contact(self.sequence, self.steps[0], OLD, self.device)
        # Another user's lead has the phone, too.
        other = host.user()
        host.lead(other, host.device(other), OLD)
        assert seqdev("tick").code == 0
        host.rows("delete from leads where id = %s", self.lead)
        self.waits: UUID = host.value("select id from sequence_contacts where status = 'active'")

    def new_lead(self) -> UUID:
        return self.host.lead(self.user, self.device, NEW, "WARM")

    def journal(self, lead: UUID) -> None:
        """The journal knows that the lead's phone was changed."""
        self.host.rows(
            "insert into seqdev.change (run_id, table_name, row_id, column_name, old_value, new_value, changed_at)"
            " values (%s, 'leads', %s, 'phone', %s, %s, now())",
            *(uuid4(), lead, OLD, NEW),
        )


def on(row: UUID, values: dict[str, Any]) -> dict[tuple[UUID, str], Any]:
    return {(row, column): value for column, value in values.items()}


def found(seqdev: Cli, *flags: str) -> list[tuple[str, str]]:
    rows = json.loads(seqdev(*flags, "audit", "contacts", "--all", "--format", "json").out)["contacts"]
    return [(row["contact_id"], row["repair"]) for row in rows if row["finding"] == "no_lead"]


def reasons(result: Any) -> dict[str, int]:
    return dict(result["summary"]["reasons"])


def test_rows_to_come_without_a_lead_of_their_user_are_found(host: Host, seqdev: Cli) -> None:
    scene = Scene(host, seqdev)
    assert found(seqdev) == [(str(scene.waits), "seqdev repair no-lead")]
    host.rows("update sequence_contacts set status = 'pending' where id = %s", scene.waits)
    assert len(found(seqdev)) == 1
    scene.host.lead(scene.user, scene.device, OLD)
    assert found(seqdev) == []


def test_where_people_are_written_to_without_a_lead_it_is_no_finding(host: Host, seqdev: Cli) -> None:
    Scene(host, seqdev)
    host.rule("without_lead", "true")
    assert found(seqdev) == []


def test_nobody_is_moved_where_the_new_phone_is_not_known(host: Host, seqdev: Cli) -> None:
    scene = Scene(host, seqdev)
    scene.new_lead()
    with only(host, {}):
        assert reasons(repair(seqdev, "no-lead", code=3)) == {"new_phone_unknown": 1}


def test_the_journal_knows_the_new_phone(host: Host, seqdev: Cli) -> None:
    scene = Scene(host, seqdev)
    scene.journal(scene.new_lead())
    before = snapshot(host)
    with only(host, on(scene.waits, {"contact_phone": NEW})):
        result = repair(seqdev, "no-lead")
    assert [row["why"] for row in result["rows"]] == ["journal"]
    assert found(seqdev) == []
    repair(seqdev, "undo", run_of(result))
    assert snapshot(host) == before


def test_rows_in_another_spelling_than_the_leads_wait_for_leads_merge(host: Host, seqdev: Cli) -> None:
    scene = Scene(host, seqdev)
    stays = host.lead(scene.user, scene.device, f"+{OLD}", "WARM")
    # Set aside by a merge, which the journal knows: not a phone that anybody has now.
    aside = host.lead(scene.user, None, f"merged {uuid4()}", "")
    scene.journal(aside)
    with only(host, {}):
        assert reasons(repair(seqdev, "no-lead", code=3)) == {"other_spelling": 1}
    with only(host, {(scene.waits, "contact_phone"): f"+{OLD}"}):
        assert seqdev("leads", "merge", "--yes").code == 0
    assert found(seqdev) == []
    assert host.value("select phone from leads where id = %s", stays) == f"+{OLD}"


def test_the_operator_names_the_new_phone_and_the_person_goes_on_there(host: Host, seqdev: Cli) -> None:
    scene = Scene(host, seqdev)
    scene.new_lead()
    with only(host, on(scene.waits, {"contact_phone": NEW})):
        repair(seqdev, "no-lead", "--phone", "+60 12-000 001", "--to", "+60 12-000 002")
    host.make_all_due()
    assert seqdev("tick").code == 0
    sent = host.rows("select recipient_phone, sequence_stepid from broadcast_messages")
    assert set(sent) == {(OLD, scene.steps[0]), (NEW, scene.steps[1])}
    # Nothing is missing of the past.
    assert json.loads(seqdev("audit", "contacts", "--format", "json").out)["contacts"] == []


def test_a_phone_without_a_lead_or_that_has_been_there_takes_nobody(host: Host, seqdev: Cli) -> None:
    scene = Scene(host, seqdev)
    named = ("no-lead", "--phone", OLD, "--to", NEW)
    with only(host, {}):
        assert reasons(repair(seqdev, *named, code=3)) == {"no_lead": 1}
    scene.new_lead()
    row = host.contact(scene.sequence, scene.steps[0], NEW, scene.device, status="completed")
    with only(host, {}):
        assert reasons(repair(seqdev, *named, code=3)) == {"already_in": 1}
    host.rows("delete from sequence_contacts where id = %s", row)
    host.write_phone("broadcast_messages", NEW)
    with only(host, {}):
        assert reasons(repair(seqdev, *named, code=3)) == {"message_exists": 1}


def test_they_can_be_ended_and_brought_back(host: Host, seqdev: Cli) -> None:
    scene = Scene(host, seqdev)
    before = snapshot(host)
    with only(host, on(scene.waits, ENDED)):
        result = repair(seqdev, "no-lead", "--end")
    assert found(seqdev) == []
    host.make_all_due()
    assert seqdev("tick").code == 0
    assert host.value("select count(*) from broadcast_messages") == 1
    assert "ended: no lead of the user has this phone" in seqdev("explain", OLD).out
    repair(seqdev, "undo", run_of(result))
    assert snapshot(host) == before


def test_options_that_do_not_fit_are_usage(host: Host, seqdev: Cli) -> None:
    for options in (["--to", NEW], ["--phone", OLD, "--to", NEW, "--end"]):
        assert seqdev("repair", "no-lead", *options, "--yes").code == 2


def test_a_phone_that_nobody_without_a_lead_has_is_no_success(host: Host, seqdev: Cli) -> None:
    Scene(host, seqdev)
    with only(host, {}):
        for options in (["--dry-run"], ["--yes"]):
            ran = seqdev("repair", "no-lead", "--phone", "6019999999", *options)
            assert ran.code == 3
            assert "seqdev: nobody without a lead has the phone given with --phone\n" in ran.err
            assert "6019999999" not in ran.out + ran.err


@pytest.mark.thorough
def test_mask_hides_the_phones_of_plan_and_journal(host: Host, seqdev: Cli) -> None:
    scene = Scene(host, seqdev)
    scene.new_lead()
    named = ("repair", "no-lead", "--phone", OLD, "--to", NEW)
    for output in ("table", "json", "csv"):
        ran = seqdev("--mask", *named, "--dry-run", "--format", output)
        assert not [phone for phone in (OLD, NEW) if phone in ran.out + ran.err], output
    run = run_of(repair(seqdev, *named[1:]))
    for output in ("table", "json", "csv"):
        ran = seqdev("--mask", "repair", "show", run, "--format", output)
        assert ran.code == 0
        assert not [phone for phone in (OLD, NEW) if phone in ran.out], output
    assert NEW in seqdev("repair", "show", run).out


def test_an_undo_makes_nothing_active_that_another_processor_has_written_since(
    host: Host, seqdev: Cli
) -> None:
    scene = Scene(host, seqdev)
    result = repair(seqdev, "no-lead", "--end")
    message(host, scene.waits, scene.device, "1 minute", own=False)
    with only(host, {}):
        undone = repair(seqdev, "undo", run_of(result), code=3)
    assert reasons(undone) == {"message_exists": 1}
