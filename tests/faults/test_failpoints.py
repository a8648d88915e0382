"""kill -9 at every statement and every commit of every command that writes: all of it, or nothing of it."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from seqdev.settings import Policy
from tests.faults.reconcile import outcome
from tests.faults.record import Held, fault
from tests.faults.world import World

Worlds = Callable[..., World]

POLICIES = [policy.value for policy in Policy]


def passes(points: Counter[str]) -> list[tuple[str, int]]:
    """Each point and the passes at which to kill: the first and the last, of a commit every one."""
    return [
        (point, hit)
        for point, total in points.items()
        for hit in (range(1, total + 1) if point == "commit:sent" else sorted({1, total}))
    ]


def killed_everywhere(
    make_world: Worlds,
    held: Held,
    argv: list[object],
    before: list[list[object]] | None = None,
    every: int = 1,
) -> None:
    """Kill the command at every point it passes; finish it; account for it.

    Of a statement the first pass and the last, of a commit each.

    ``before``: commands that lead up to it. ``every``: only each so-many-th point.
    """
    # Fallback and reassign choose devices by what is queued at the moment: another run may choose others.
    policy = next((word for word in map(str, argv) if word in POLICIES), "queue")
    devices = policy in ("queue", "strict")

    def prepared() -> tuple[World, list[str]]:
        world = make_world()
        for command in before or []:
            world.ok(*command, codes=(0, 3))
        last = world.host.rows("select id from seqdev.run order by started_at desc limit 1")
        return world, [str(last[0].id) if word == "RUN" and last else str(word) for word in argv]

    world, words = prepared()
    points = Counter(world.trace(*words))
    assert points["commit:sent"] > 1
    world.account(policy=policy)
    expected = outcome(world.host, devices)
    slowest = 0.0
    for point, hit in passes(points)[::every]:
        world, words = prepared()
        ran = world.run(*words, point=point, hit=hit, shows=True)
        assert ran.code == -9, f"{point} {hit} was not reached: {ran}"
        slowest = max(slowest, world.nothing_left_behind())
        world.reconcile()
        assert world.run(*words, shows=True).code in (0, 3)
        world.account(expected, devices, policy)
        held.tries += 1
        held.killed += 1
    held.note(f"locks gone within {slowest:.2f} s")


@fault("kill -9 at every statement and commit of a tick under {policy}", policy=POLICIES)
def test_a_tick_killed_at_any_point_is_finished_by_the_next(
    make_world: Worlds, held: Held, policy: str
) -> None:
    killed_everywhere(make_world, held, ["tick", "--policy", policy, "--batch-size", 30])


@pytest.mark.thorough
@pytest.mark.fault("kill -9 at some points of a tick")
def test_a_tick_killed_at_some_points_is_finished_by_the_next(make_world: Worlds, held: Held) -> None:
    killed_everywhere(make_world, held, ["tick", "--batch-size", 30], every=48)


@fault("kill -9 at every statement and commit of enroll")
def test_an_enrolment_killed_at_any_point_is_finished_by_the_next(make_world: Worlds, held: Held) -> None:
    killed_everywhere(make_world, held, ["enroll", "--yes"])


@fault(
    "kill -9 at every statement and commit of repair {which}", which=["assigned", "device", "stuck", "plan"]
)
def test_a_repair_killed_at_any_point_is_finished_by_the_next(
    make_world: Worlds, held: Held, which: str, tmp_path: Path
) -> None:
    plan = tmp_path / "plan.json"
    device = ["repair", "device", "device 11", "--to", "device 12"]
    if which == "plan":
        # Made anew before each run: carried out once, it no longer fits, and that is exit code 14.
        killed_with_a_plan(make_world, held, [*device, "--plan", plan])
        return
    argv = {"assigned": ["repair", "assigned"], "device": device, "stuck": ["repair", "stuck"]}[which]
    killed_everywhere(make_world, held, [*argv, "--yes", "--batch-size", 5])


def killed_with_a_plan(make_world: Worlds, held: Held, argv: list[object]) -> None:
    def prepared() -> World:
        world = make_world()
        world.run(*argv, "--dry-run", shows=True)
        return world

    points = Counter(prepared().trace(*argv, "--yes"))
    for point, hit in passes(points):
        world = prepared()
        assert world.run(*argv, "--yes", point=point, hit=hit, shows=True).code == -9
        world.nothing_left_behind()
        moved = world.host.value("select count(*) from seqdev.change")
        world.reconcile()
        code = world.run(*argv, "--yes", shows=True).code
        assert code == (14 if moved else 0), "done in part, or done twice"
        world.account()
        held.tries += 1
        held.killed += 1


@fault("kill -9 at every statement and commit of repair undo")
def test_an_undo_killed_at_any_point_is_finished_by_the_next(make_world: Worlds, held: Held) -> None:
    repaired: list[object] = ["repair", "device", "device 11", "--to", "device 12", "--yes"]
    killed_everywhere(make_world, held, ["repair", "undo", "RUN", "--yes", "--batch-size", 5], [repaired])


@fault("kill -9 at every statement, commit and file of leads import")
def test_an_import_killed_at_any_point_is_all_or_nothing(
    make_world: Worlds, held: Held, tmp_path: Path
) -> None:
    file = tmp_path / "leads.csv"
    lines = [f"+60199777{i:04},CANARY-NAME {i}" for i in range(50)]
    file.write_text("\n".join(["phone,name", *lines, "nonsense,x"]) + "\n")
    rejects = tmp_path / "rejects.csv"

    def argv(world: World) -> list[object]:
        owner = world.host.value("select id from users order by id limit 1")
        return ["leads", "import", file, "--user", owner, "--distribute", "--rejects", rejects]

    world = make_world()
    points = Counter(world.trace(*argv(world)))
    new = "select count(*) from leads where phone ~ '60199777'"
    assert world.host.value(new) == 50
    for point, hit in passes(points):
        rejects.unlink(missing_ok=True)
        world = make_world()
        assert world.run(*argv(world), point=point, hit=hit, shows=True).code == -9
        world.nothing_left_behind()
        assert world.host.value(new) in (0, 50)
        if world.host.value(new):
            assert rejects.exists(), "imported, but who was rejected is lost"
        world.reconcile()
        assert world.run(*argv(world), shows=True).code == 3
        assert world.host.value(new) == 50
        world.account()
        held.tries += 1
        held.killed += 1


@pytest.mark.thorough
@pytest.mark.fault("")
def test_the_failpoints_of_a_tick_are_its_statements_and_commits(world: World) -> None:
    """The names are found, not listed: the statements that matter are among them."""
    points = set(world.trace("tick", "--policy", "reassign", "--batch-size", 30))
    for statement in (
        "gates/steps.sql",
        "gates/devices.sql",
        "tick/lock.sql",
        "tick/claim.sql",
        "tick/overflow.sql",
        "tick/reflect_failed.sql",
    ):
        assert {f"{statement}:before", f"{statement}:after"} <= points
    assert {"commit:before", "commit:sent", "commit:after"} <= points
