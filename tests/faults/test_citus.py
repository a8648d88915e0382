"""Four ticks at once on Citus, under users of every policy, while sessions, lines and nodes fail."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import psycopg
import pytest

from tests.faults.citus_world import CitusWorld, newcomers
from tests.faults.nodes import Machine, Nodes, Wire, wires
from tests.faults.processes import Forks, ended, start
from tests.faults.record import Held, fault
from tests.faults.world import scale
from tests.world import citus
from tests.world.waiting import in_background

RUNNERS = 4
PATIENCE = 600.0
"""Seconds for all tries of one fault, on a machine that has much else to do."""

TICK = ["tick", "--batch-size", "15", "--budget", "20s"]


@pytest.fixture(scope="session")
def nodes() -> Nodes:
    return Nodes()


@pytest.fixture(scope="session")
def lines(nodes: Nodes) -> Iterator[list[Wire]]:
    """What runs between the nodes; nothing, where that cannot be seen."""
    with wires(nodes) as made:
        yield made


@pytest.fixture(scope="session")
def database_on_all_nodes(nodes: Nodes, lines: list[Wire], forks: Forks) -> Iterator[str]:
    """With the host's tables, distributed and empty."""
    name = f"faults{citus.OWN}"
    addresses = [("127.0.0.1", line.proxy.port) for line in lines] or nodes.addresses
    made = nodes.make(name, addresses)
    assert ended(start(made, "db", "init", "--distributed"), PATIENCE).code == 0
    yield made
    nodes.drop(name)


@pytest.fixture
def world(database_on_all_nodes: str, nodes: Nodes, forks: Forks, held: Held) -> Iterator[CitusWorld]:
    made = CitusWorld.made(database_on_all_nodes, nodes, forks, held, 30)
    yield made
    made.host.connection.close()


class Runners:
    """Four ticks at once, again and again, each perhaps ended with SIGKILL."""

    def __init__(self, world: CitusWorld, chance: random.Random, kills: int = 0) -> None:
        self.ended = Counter[int]()
        self._world = world
        self._chance = chance
        self._kills = kills
        self._lock = threading.Lock()
        self._reach = 2.0

    def loops(self) -> list[Callable[[threading.Event], None]]:
        """Each in a thread of its own."""
        return [self._loop] * RUNNERS

    @property
    def killed(self) -> int:
        """How many were."""
        return self.ended[-9]

    def _loop(self, over: threading.Event) -> None:
        forks = Forks()
        try:
            while not over.is_set():
                with self._lock:
                    wanted = self.killed < self._kills
                    after = self._chance.uniform(0, self._reach) if wanted else None
                ran = forks.run(TICK, {"SEQDEV_DATABASE_URL": self._world.url}, kill_after=after)
                self._world.look(ran)
                assert ran.code in (-9, 0, 3, 13), ran
                with self._lock:
                    self.ended[ran.code] += 1
                    if after is not None:
                        # Who comes to an end was given too much time: the others are killed sooner.
                        self._reach = (
                            min(4.0, self._reach * 1.05) if ran.code == -9 else max(0.2, self._reach * 0.8)
                        )
        finally:
            forks.end()


def break_it(
    world: CitusWorld,
    runners: Runners,
    tries: int,
    one: Callable[[], int],
    held: Held,
    spare: Callable[[int], None] = lambda pid: None,
) -> None:
    """Four ticks at once, people who come, and ``one`` fault after the other; then the account of every row.

    ``one`` returns how many faults it was. ``spare`` is told of the sessions that the fault is not meant for.
    """
    done, deadline = 0, time.monotonic() + PATIENCE
    with in_background(newcomers(world, spare), *runners.loops()):
        while done < tries:
            assert time.monotonic() < deadline, f"{done} of {tries} faults in {PATIENCE} s"
            done += one()
    world.nothing_left_behind()
    world.account()
    held.tries += runners.killed or done
    held.killed += runners.killed
    if given_up := runners.ended[13]:
        held.note(f"{given_up} of {runners.ended.total()} ticks gave up with exit code 13")


@fault("Citus: SIGKILL of one of four ticks", run="citus")
def test_killed_ticks_lose_nothing(world: CitusWorld, held: Held, chance: random.Random) -> None:
    kills = scale(20)
    runners = Runners(world, chance, kills)
    counted = 0

    def one() -> int:
        nonlocal counted
        time.sleep(0.1)
        before, counted = counted, runners.killed
        return counted - before

    break_it(world, runners, kills, one, held)


@fault("Citus: {what} session of a tick ended", run="citus", what=["the coordinator's", "a worker's"])
def test_ended_sessions_lose_nothing(world: CitusWorld, held: Held, chance: random.Random, what: str) -> None:

    def one() -> int:
        time.sleep(chance.uniform(0.1, 1))
        return world.nodes.end_session(world.name, what == "a worker's", chance)

    break_it(world, Runners(world, chance), scale(16), one, held)
    assert world.host.value("select count(*) from seqdev.run where command = 'tick'") >= RUNNERS


_MOMENTS = {
    "a worker prepares": "PREPARE TRANSACTION",
    "it is committed, and a worker is to hear of it": "COMMIT PREPARED",
}
BETWEEN = [
    f"{what} while {moment}"
    for what in ("the coordinator's session ended", "the line to the worker cut", "the worker's answer lost")
    for moment in _MOMENTS
]


@fault("Citus: {what}", run="citus", what=BETWEEN)
def test_what_fails_between_prepare_and_commit_is_all_or_nothing(
    world: CitusWorld, lines: list[Wire], held: Held, chance: random.Random, what: str
) -> None:
    if not lines:
        pytest.skip(
            "NODES OUT OF SIGHT: nothing was shown about commits between nodes"
            " (a Citus on this machine, citus.node_conninfo = 'sslmode=disable')"
        )
    how, moment = what.split(" while ")

    def end(pid: int) -> bool:
        with psycopg.connect(world.url, autocommit=True) as connection:
            connection.execute("select pg_terminate_backend(%s::integer)", [pid])
        # Until it has looked up from what it waits for.
        time.sleep(0.2)
        return True

    acts: dict[str, Callable[[int], bool]] = {
        "the coordinator's session ended": end,
        "the line to the worker cut": lambda pid: False,
        "the worker's answer lost": lambda pid: True,
    }

    def one() -> int:
        line = chance.choice(lines)
        line.next(_MOMENTS[moment], acts[how], mute=how == "the worker's answer lost")
        deadline = time.monotonic() + PATIENCE / 2
        while not line.done():
            assert time.monotonic() < deadline, "no tick commits any more"
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.5))
        # What hangs keeps its people waiting until Citus has looked for it, which it does every minute.
        world.host.rows("select recover_prepared_transactions()")
        return 1

    def spare(pid: int) -> None:
        for line in lines:
            line.spared.add(pid)

    break_it(world, Runners(world, chance), scale(7), one, held, spare)


_OPPOSITE = (
    ["tick", "--batch-size", 50],
    ["tick", "--batch-size", 20, "--policy", "reassign"],
    ["repair", "device", "device 11", "--to", "device 12", "--yes", "--batch-size", 20],
    ["repair", "device", "device 12", "--to", "device 11", "--yes", "--batch-size", 30],
    ["leads", "assign", "--rebalance", "--yes", "--batch-size", 20],
    ["enroll", "--yes"],
)


@fault("Citus: repairs against ticks, in opposite orders", run="citus")
def test_repairs_and_ticks_come_to_their_end(world: CitusWorld, held: Held) -> None:
    with in_background(newcomers(world)):
        processes = [start(world.url, *argv) for argv in _OPPOSITE]
        for process in processes:
            ran = ended(process, PATIENCE)
            world.look(ran, shows=True)
            assert ran.code in (0, 3), ran
            held.tries += 1
    world.nothing_left_behind()
    world.account()


# -- Nodes -----------------------------------------------------------------------------------------------------


@fault("Citus: {what} paused for a moment (SIGSTOP)", run="citus", what=["a worker", "the coordinator"])
def test_a_paused_node_only_delays(
    world: CitusWorld, nodes: Nodes, held: Held, chance: random.Random, what: str
) -> None:
    machine = Machine(nodes.coordinator if what == "the coordinator" else nodes.workers[0])

    def one() -> int:
        time.sleep(chance.uniform(0.2, 1))
        machine.pause()
        time.sleep(chance.uniform(0.5, 3))
        machine.go_on()
        return 1

    break_it(world, Runners(world, chance), scale(4), one, held)


@fault("Citus: a worker killed and started again", run="citus")
def test_a_killed_worker_comes_back_with_everything(
    world: CitusWorld, nodes: Nodes, held: Held, chance: random.Random
) -> None:
    kill_nodes(world, Machine(nodes.workers[0]), held, chance)


@pytest.mark.faults
@pytest.mark.fault("Citus: the coordinator killed and started again")
def test_a_killed_coordinator_comes_back_with_everything(
    world: CitusWorld, nodes: Nodes, held: Held, chance: random.Random
) -> None:
    kill_nodes(world, Machine(nodes.coordinator), held, chance)


def kill_nodes(world: CitusWorld, machine: Machine, held: Held, chance: random.Random) -> None:
    """Kill the node at random moments, start it again, and account for every row."""

    def one() -> int:
        time.sleep(chance.uniform(1, 3))
        machine.kill()
        time.sleep(chance.uniform(0, 2))
        machine.start()
        world.connect_anew()
        return 1

    break_it(world, Runners(world, chance), scale(3), one, held)
