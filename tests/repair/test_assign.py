"""What ``leads assign`` promises: even, with the fewest moves, those never written to first; undone like a repair."""

import itertools
from collections import Counter
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.world.command import Cli
from tests.world.host import Host
from tests.world.repairs import only, repair, run, snapshot


def assign(seqdev: Cli, *options: object, code: int = 0) -> Any:
    return run(seqdev, "leads", "assign", *options, "--yes", code=code)


def owned(host: Host, user: UUID) -> list[int]:
    """How many leads each device of the user owns, the fewest first."""
    rows = host.rows(
        "select count(l.id) from user_devices d left join leads l on l.device_id = d.id where d.user_id = %s group by d.id order by 1",
        user,
    )
    return [row.count for row in rows]


def give(host: Host, user: UUID, device: UUID | None, number: int, prefix: str) -> None:
    host.rows(
        "insert into leads (user_id, device_id, phone) select %s, %s, %s || i from generate_series(1, %s) i",
        user,
        device,
        prefix,
        number,
    )


def test_leads_without_a_device_are_spread_evenly_over_their_users_devices(host: Host, seqdev: Cli) -> None:
    one, two, three = host.user(), host.user(), host.user()
    a, _, _ = (host.device(one, name) for name in "ABC")
    banned = host.device(one, "banned", "banned")
    host.device(two, "D", "offline")
    give(host, one, a, 5, "6011")
    give(host, one, None, 6, "6012")
    give(host, two, None, 3, "6013")
    give(host, three, None, 2, "6014")
    before = snapshot(host)

    with only(host, {}):
        assert seqdev("leads", "assign", "--yes").code == 2
        dry = run(seqdev, "leads", "assign", "--distribute", "--dry-run", code=3)
    result = assign(seqdev, "--distribute", code=3)

    assert dry["totals"] == result["totals"]
    assert owned(host, one) == [0, 3, 3, 5]
    assert host.value("select count(*) from leads where device_id = %s", banned) == 0
    assert (owned(host, two), result["summary"]["reasons"]) == ([3], {"no_device_to_give": 2})
    assert host.value("select count(*) from leads where phone like '6011%%' and device_id = %s", a) == 5
    with only(host, {}):
        assign(seqdev, "--distribute", "--user", one)
    repair(seqdev, "undo", result["summary"]["run_id"])
    assert snapshot(host) == before


def test_rebalance_moves_those_never_written_to_first(host: Host, seqdev: Cli) -> None:
    user, other = host.user(), host.user()
    a, b = host.device(user, "A"), host.device(user, "B")
    give(host, user, a, 6, "6012")
    host.rows(
        "insert into broadcast_messages (user_id, device_id, recipient_phone, status) select %s, %s, '6012' || i, 'sent' from generate_series(1, 4) i",
        user,
        a,
    )
    # What another user wrote to the same phone does not count.
    host.rows(
        "insert into broadcast_messages (user_id, device_id, recipient_phone, status) values (%s, %s, '60126', 'sent')",
        other,
        host.device(other),
    )
    before = snapshot(host)
    result = assign(seqdev, "--rebalance", "--user", user)
    assert {total["why"]: total["rows"] for total in result["totals"]} == {"never_written": 2, "written": 1}
    moved = {row.phone for row in host.rows("select phone from leads where device_id = %s", b)}
    assert {"60125", "60126"} < moved
    assert len(moved) == 3
    with only(host, {}):
        assign(seqdev, "--distribute", "--rebalance")
    repair(seqdev, "undo", result["summary"]["run_id"])
    assert snapshot(host) == before


def fewest_moves(owns: list[int], free: int) -> int:
    """By trying every way to be even: the fewest leads that have to leave a device."""
    total = sum(owns) + free
    low, more = divmod(total, len(owns))
    return min(
        sum(max(0, own - (low + (number in high))) for number, own in enumerate(owns))
        for high in itertools.combinations(range(len(owns)), more)
    )


@pytest.mark.thorough
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    users=st.lists(
        st.tuples(st.lists(st.integers(0, 9), min_size=1, max_size=5), st.integers(0, 12)),
        min_size=1,
        max_size=3,
    ),
    rebalance=st.booleans(),
)
def test_even_with_the_fewest_moves(
    host: Host, seqdev: Cli, users: list[tuple[list[int], int]], rebalance: bool
) -> None:
    host.rows("delete from leads")
    host.rows("delete from user_devices")
    made = []
    for number, (owns, free) in enumerate(users):
        user = host.user()
        for place, leads in enumerate(owns):
            give(host, user, host.device(user), leads, f"60{number}{place}")
        give(host, user, None, free, f"60{number}9")
        made.append(user)
    result = assign(seqdev, "--distribute", *(["--rebalance"] if rebalance else []))
    moves = Counter(total["why"] == "no_device" for total in result["totals"] for _ in range(total["rows"]))
    for user, (owns, free) in zip(made, users, strict=True):
        after = owned(host, user)
        assert sum(after) == sum(owns) + free
        if rebalance:
            assert max(after) - min(after) <= 1
            continue
        # As when each lead goes to the device that owns the fewest at that moment.
        level = sorted(owns)
        for _ in range(free):
            level[0] += 1
            level.sort()
        assert after == level
    assert moves[True] == sum(free for _, free in users)
    assert moves[False] == (sum(fewest_moves(*user) for user in users) if rebalance else 0)


def test_a_stale_plan_of_an_assignment_is_exit_14(host: Host, seqdev: Cli, tmp_path: Any) -> None:
    user = host.user()
    a, _ = host.device(user, "A"), host.device(user, "B")
    give(host, user, None, 4, "6012")
    plan = tmp_path / "plan"
    run(seqdev, "leads", "assign", "--distribute", "--dry-run", "--plan", plan)
    host.rows("update leads set device_id = %s where phone = '60124'", a)
    with only(host, {}):
        assert seqdev("leads", "assign", "--distribute", "--yes", "--plan", str(plan)).code == 14
    host.rows("update leads set device_id = null where phone = '60124'")
    assert assign(seqdev, "--distribute", "--plan", plan)["summary"]["changed"] == 4
    assert owned(host, user) == [2, 2]


@pytest.mark.parametrize("rebalance", [False, True])
def test_nobody_gets_a_device_of_another_user(host: Host, seqdev: Cli, rebalance: bool) -> None:
    for number in range(3):
        user = host.user()
        for _ in range(number):
            host.device(user)
        give(host, user, None, 10, f"60{number}")
    assign(seqdev, "--distribute", *(["--rebalance"] if rebalance else []), code=3)
    assert not host.rows(
        "select 1 from leads l join user_devices d on d.id = l.device_id where d.user_id <> l.user_id"
    )
    assert host.value("select count(*) from leads where device_id is null") == 10
