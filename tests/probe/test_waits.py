"""``seqdev db check``: who would wait however long, and what is never due or too long for its column."""

import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

from tests.world.command import Cli
from tests.world.host import Host


def check(seqdev: Cli, *options: str) -> tuple[int, dict[str, str]]:
    """The exit code, and what each finding says."""
    ran = seqdev("db", "check", "--format", "json", *options)
    return ran.code, {one["item"]: one["why"] for one in json.loads(ran.out)}


def test_who_waits_for_another_reason_than_time_is_counted_by_reason(host: Host, seqdev: Cli) -> None:
    host.rule("max_lateness", "1h")
    user, other = host.user(), host.user()
    # Offline, or late, or not due yet: time ends that.
    device, stranger = host.device(user, status="offline"), host.device(other)
    sequence, (first, second) = host.simple_sequence(user, steps=2)
    for number, due in enumerate([-3, 0, 300]):
        host.contact(sequence, first, f"601200000{number}", device, timedelta(days=due))
    code, found = check(seqdev, "--ok")
    assert (code, found["contacts that wait"]) == (0, "none of 3 who are active for another reason than time")
    assert found["steps that are not sent"] == "every step of an active sequence has something to send"

    host.rows("update sequence_steps set content = ' ' where id = %s", second)
    later: dict[str, Any] = {"due_in": timedelta(days=40)}
    for number, (step, owner) in enumerate(
        [
            (first, stranger),
            (first, uuid4()),
            (first, None),
            (first, None),
            (second, device),
            (uuid4(), device),
        ]
    ):
        host.contact(sequence, step, f"601300000{number}", owner, **later)
    host.contact(sequence, first, "6014", device, lead=False, **later)
    host.contact(sequence, first, "6015", device, processing_device_id=device, **later)
    # Of a sequence that is not active nobody is expected to be sent.
    draft = host.sequence(user, status="draft")
    host.contact(draft, host.step(draft, 1, "DRAFT", content=None), "6016", None, **later)
    code, found = check(seqdev)
    assert code == 3
    counted = {
        item.removeprefix("contacts that wait: "): why.split()[0]
        for item, why in found.items()
        if "wait:" in item
    }
    assert counted == {
        "device_of_other_user": "1",
        "device_missing": "1",
        "no_device": "2",
        "no_content": "1",
        "step_missing": "1",
        "no_lead": "1",
        "claimed": "1",
    }
    assert found["steps that are not sent: no_content"].startswith("1 step of active sequences: whoever")
    assert "seqdev audit all" in found["contacts that wait: no_lead"]


def test_active_rows_that_are_never_due_or_of_no_sequence_are_counted(host: Host, seqdev: Cli) -> None:
    user = host.user()
    device = host.device(user)
    sequence, (step,) = host.simple_sequence(user)
    gone, (gone_step,) = host.simple_sequence(user)
    contacts = [host.contact(sequence, step, f"601200000{number}", device) for number in range(3)]
    host.rows("update sequence_contacts set next_trigger_time = null where id = any(%s)", contacts[:2])
    host.contact(gone, gone_step, "6013", device)
    # Those who are done need neither.
    host.contact(gone, gone_step, "6014", device, status="completed")
    host.rows("update sequence_contacts set next_trigger_time = null where contact_phone = '6014'")
    host.rows("alter table sequence_contacts drop constraint if exists sequence_contacts_sequence_id_fkey")
    host.rows("delete from sequences where id = %s", gone)
    code, found = check(seqdev)
    assert code == 3
    assert found["sequence_contacts.next_trigger_time missing"].startswith(
        "2 active contacts: they are never"
    )
    assert found["sequence_contacts.sequence_id of no sequence"].startswith("1 active contact: no tick looks")


def test_names_that_do_not_fit_into_the_column_that_they_are_copied_into_are_counted(
    host: Host, seqdev: Cli
) -> None:
    user = host.user()
    device = host.device(user)
    sequence, (step,) = host.simple_sequence(user)
    for number, name in enumerate(["x" * 20, "\N{GRINNING FACE}" * 20, "x" * 21, "x" * 255, None]):
        host.contact(sequence, step, f"601200000{number}", device, contact_name=name)
    host.lead(user, device, "60130000001", "WARM", "x" * 31)
    assert check(seqdev)[0] == 0
    host.rows("alter table broadcast_messages alter recipient_name type varchar(20)")
    host.rows("alter table sequence_contacts alter contact_name type text")
    assert [item for item in check(seqdev)[1] if "long" in item] == [
        "sequence_contacts.contact_name too long for broadcast_messages.recipient_name"
    ]
    host.rows("update sequence_contacts set contact_name = null where length(contact_name) > 200")
    host.rows("alter table sequence_contacts alter contact_name type varchar(30)")
    code, found = check(seqdev)
    assert code == 3
    assert {item: why.split(":")[0] for item, why in found.items() if "long" in item} == {
        "leads.name too long for sequence_contacts.contact_name": "1 row has more than 30 characters there",
        "sequence_contacts.contact_name too long for broadcast_messages.recipient_name": (
            "1 row has more than 20 characters there"
        ),
    }
    assert seqdev("enroll", "--yes").code == 3
    assert "22001" in seqdev("tick").err
