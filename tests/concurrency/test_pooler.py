"""Ticks through PgBouncer in transaction pooling send everything exactly once."""

import pytest

from seqdev.tick.backlog import BACKLOG
from tests.concurrency.storm import Stage, Storm, overlap_under_queue, overlap_under_strict
from tests.world.backlog import MESSAGES, fill
from tests.world.crowd import Size
from tests.world.host import Host
from tests.world.others import Capacity
from tests.world.ticks import Ticks

pytestmark = pytest.mark.thorough


@pytest.mark.thorough
@pytest.mark.plain("one tick at a time claims: most of those beside it end before they would be killed")
def test_ticks_through_a_transaction_pooler_send_everything_exactly_once(
    pgbouncer: str, stage: Stage
) -> None:
    stage.ticks.database = pgbouncer
    overlap_under_queue(
        stage,
        Size(1_000, users=2, devices=5),
        Storm(processes=8, batch=20),
    )


@pytest.mark.thorough
def test_a_backlog_goes_through_a_transaction_pooler_once(pgbouncer: str, host: Host, ticks: Ticks) -> None:
    ticks.database = pgbouncer
    fill(host, 12_000)
    assert ticks.run("--batch-size", BACKLOG)["queued"] == 12_000 == host.value(MESSAGES)
    assert host.broken_promises() == []


@pytest.mark.load
def test_strict_limits_hold_through_a_transaction_pooler(pgbouncer: str, stage: Stage) -> None:
    stage.ticks.database = pgbouncer
    overlap_under_strict(
        stage,
        Size(3_000, users=2, devices=4, offline=0.2),
        Storm(processes=8, batch=10, waves=4),
        Capacity(8, 14, 40),
        sends=4,
    )
