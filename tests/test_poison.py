"""Rows that the database refuses: each is found, set aside with its reason, and keeps nobody back."""

import json
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from seqdev import pace
from tests.conftest import Cli, Ran
from tests.host import Host

POLICIES = ("queue", "strict", "fallback", "reassign")


def tick(seqdev: Cli, *options: str, code: int = 0) -> tuple[Any, str]:
    """The summary of a tick, and what it said on stderr."""
    ran = seqdev("tick", "--format", "json", *options)
    assert ran.code == code, ran
    return json.loads(ran.out), ran.err


def raise_on(host: Host, table: str, when: str, event: str = "insert", body: str = "") -> None:
    """A trigger of the host's on ``table`` that refuses the rows for which ``when`` is true."""
    host.rows(
        f"create function refuse_{table}() returns trigger language plpgsql as $$ begin"
        f" {body or 'raise exception $m$no, %$m$, new;'} end $$"
    )
    host.rows(
        f"create trigger refuse before {event} on {table} for each row"
        f" when ({when}) execute function refuse_{table}()"
    )


def people(host: Host, number: int, device: UUID | None, first: int = 0, **columns: object) -> list[str]:
    """``number`` people who are due on ``device``, in a sequence of their own; their phones."""
    user = host.value("select user_id from user_devices where id = %s", device) if device else host.user()
    sequence, (step, _) = host.simple_sequence(user, steps=2)
    phones = [f"6012{first + i:07}" for i in range(number)]
    host.rows(
        "insert into sequence_contacts (sequence_id, sequence_stepid, contact_phone, assigned_device_id,"
        " status, next_trigger_time) select %s, %s, phone, %s, 'active',"
        " now() at time zone 'UTC' - interval '1 minute' from unnest(%s::text[]) as phone",
        sequence,
        step,
        device,
        list(phones),
    )
    return phones


def one_of(column: str, phones: Iterable[str]) -> str:
    """A condition of a trigger: the new row is one of these people's."""
    return f"new.{column} in ({', '.join(repr(phone) for phone in phones)})"


def set_aside(host: Host) -> dict[str, str]:
    """The reason of each phone that is set aside."""
    found = host.rows("select contact_phone, last_error from sequence_contacts where status = 'set_aside'")
    return {row.contact_phone: row.last_error for row in found}


@pytest.mark.parametrize("policy", POLICIES)
def test_a_row_that_a_trigger_refuses_is_set_aside_and_all_others_go(
    host: Host, seqdev: Cli, policy: str
) -> None:
    phones = people(host, 40, host.device(host.user()))
    bad = {phones[0], phones[17], phones[39]}
    raise_on(host, "broadcast_messages", one_of("recipient_phone", bad))

    summary, err = tick(seqdev, "--policy", policy, code=3)

    assert (summary["due"], summary["queued"], summary["set_aside"], summary["waiting"]) == (40, 37, 3, {})
    assert set(set_aside(host)) == bad
    assert "3 contacts set aside: SQLSTATE P0001, raised by function public.refuse_broadcast_messages" in err
    assert "seqdev repair set-aside" in err
    assert not any(phone in err for phone in phones)
    assert not host.broken_promises()
    # They are no longer due: nobody tries them again.
    assert tick(seqdev, "--policy", policy)[0]["due"] == 0
