"""Many ticks at once, killed at any point, among others who write to the same rows: I1 and I2 hold exactly.

Everything here goes through real processes. What is random comes from a seed that every failure prints;
SEQDEV_TEST_SEED repeats it (the choices, not the moments: those are the machine's).
"""

import pytest

from tests.concurrency.storm import Stage, Storm, overlap_under_queue, overlap_under_strict
from tests.world.crowd import Size
from tests.world.others import Capacity


def test_overlapping_and_killed_ticks_send_everything_exactly_once(stage: Stage) -> None:
    overlap_under_queue(
        stage,
        Size(3_000, users=3, devices=5),
        Storm(processes=4, batch=50, breaks=3),
    )


@pytest.mark.load
def test_eight_ticks_on_fifty_thousand_contacts_send_everything_exactly_once(stage: Stage) -> None:
    overlap_under_queue(
        stage,
        Size(50_000, users=5, devices=8),
        Storm(processes=8, batch=200, breaks=12),
    )


@pytest.mark.thorough
def test_strict_never_exceeds_a_limit_whoever_overlaps_or_is_killed(stage: Stage) -> None:
    overlap_under_strict(
        stage,
        Size(2_000, users=2, devices=5, offline=0.2),
        Storm(processes=4, batch=10, waves=2),
        Capacity(8, 14, 40),
        sends=4,
    )


@pytest.mark.load
def test_eight_strict_ticks_on_fifty_thousand_contacts_never_exceed_a_limit(stage: Stage) -> None:
    overlap_under_strict(
        stage,
        Size(50_000, users=2, devices=20, offline=0.2),
        Storm(processes=8, batch=60, waves=8),
        Capacity(),
        sends=100,
    )
