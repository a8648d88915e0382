"""seqdev top on a service that moves, watched in a terminal of tmux, for as long as a person watches an incident."""

import os
import re
import time
from datetime import timedelta
from pathlib import Path

import pytest

from tests.world import tmux as terminal
from tests.world.host import Host
from tests.world.moving import AWAY, moving
from tests.world.tmux import Tmux, tmux

MINUTES = float(os.environ.get("SEQDEV_TEST_MINUTES", "10"))
GROWTH = 0.1
"""MB by which a round of all keys may let the program grow: what caches with an end take until they are full."""
DEVICES = 12

CONNECTIONS = "select count(*) from pg_stat_activity where application_name like 'seqdev top%'"


def one_round(window: Tmux, host: Host) -> None:
    """Every key once, and what it shows."""
    for title in ("overdue *", "in flight *", "hour *", "day *", "drained *", "state *", "device *"):
        window.press("s")
        window.see(title)
    rows_when(window, lambda found: found[0].startswith("device-00"))
    window.press("r")
    rows_when(window, lambda found: found[0].startswith("device-11"))
    window.press("r")
    window.press("/")
    window.see("letters of a name")
    window.press("-", "0", "3")
    assert [row.split()[0] for row in rows_when(window, lambda found: len(found) == 1)] == ["device-03"]
    window.press("Enter")
    window.press("Escape")
    rows_when(window, lambda found: len(found) == DEVICES)
    window.press("?")
    window.see("hold still, and go on")
    window.press("?")
    window.see("device-11", gone="hold still, and go on")
    window.press("Space")
    window.see("held still")
    window.press("Space")
    window.see("device-11", gone="held still")
    the_story_of_a_person(window)
    assert host.value(CONNECTIONS) == 1
    window.press("s")
    window.see("due *")


def rows(window: Tmux) -> list[str]:
    """The lines of devices, as they stand on the screen."""
    return [line.strip() for line in window.shown.splitlines() if re.match(r" *device-\d\d ", line)]


def rows_when(window: Tmux, wanted: object) -> list[str]:
    """The lines of devices, once they are as ``wanted``."""
    assert callable(wanted)
    end = time.monotonic() + terminal.PATIENCE
    while not (found := rows(window)) or not wanted(found):
        assert time.monotonic() < end, window.shown
        time.sleep(0.2)
    return found


def the_story_of_a_person(window: Tmux) -> None:
    """From a device whose people wait to one of them, and back."""
    window.press("/")
    window.see("letters of a name")
    window.press(*AWAY)
    window.see(AWAY, gone="device-11")
    window.press("Enter")
    # The keys go to the table once the filter has let go of them.
    window.press_until("Enter", "due since")
    window.see("due since", AWAY, "601")
    window.press("Enter")
    window.see("STOPPED: device_offline", gone="due since")
    window.press("Escape")
    window.see("due since")
    window.press("Escape")
    window.see(AWAY, "device_offline", gone="due since")
    window.press("Escape")
    window.see("device-11")


@pytest.mark.load
@pytest.mark.skipif(not terminal.found(), reason="no tmux on this machine")
def test_it_follows_a_moving_service_obeys_every_key_and_does_not_grow(host: Host, tmp_path: Path) -> None:
    sizes: list[float] = []
    seen_banned = seen_failed = seen_mismatched = False
    looked: set[str] = set()
    with moving(host, DEVICES) as service, tmux(tmp_path, "top", "--every", "1s") as window:
        window.see("device-11", "sort")
        program, began = window.program, time.monotonic()
        end = began + MINUTES * 60
        while time.monotonic() < end:
            one_round(window, host)
            shown = window.shown
            seen_banned |= "device_gone" in shown
            seen_failed |= bool(re.search(r"^ *failed +[.▁▂▃▄▅▆▇█]{60} now", shown, re.M))
            seen_mismatched |= bool(re.search(r"^ *mismatched +[.▁▂▃▄▅▆▇█]{60} now", shown, re.M))
            looked.add(shown.splitlines()[0])
            if time.monotonic() > began + min(60, MINUTES * 12):
                sizes.append(program.memory_info().rss / 2**20)
        print(
            f"{service.rounds} rounds, {service.bans} bans, {len(looked)} looks, MB: {[round(one) for one in sizes]}"
        )
        window.press("q")
        window.end()
    assert set(service.codes) <= {0, 3}
    assert service.bans
    assert seen_banned
    assert seen_failed
    assert seen_mismatched
    assert len(looked) > MINUTES, "it looks anew"
    quarter = max(1, len(sizes) // 4)
    first, last = (sum(part) / quarter for part in (sizes[:quarter], sizes[-quarter:]))
    assert last - first < GROWTH * len(sizes), sizes


@pytest.mark.thorough
@pytest.mark.skipif(not terminal.found(), reason="no tmux on this machine")
@pytest.mark.parametrize("columns", [60, 80, 120, 200])
def test_every_line_of_it_fits_the_terminal(host: Host, tmp_path: Path, columns: int) -> None:
    user = host.user()
    for number in range(3):
        host.device(user, f"device-{number:02}", "banned" if number else "online")
    host.device(user, "A name much longer than a screen is wide, " * 5)
    sequence, (step,) = host.simple_sequence(user)
    device = host.value("select id from user_devices where device_name = 'device-01'")
    host.contact(sequence, step, "601234567001", device, timedelta(minutes=-50))
    with tmux(tmp_path, "top", columns=columns) as window:
        shown = window.see("device-02", "sort", "filter")
    signs = 30 if columns == 60 else 60
    (strip,) = (line.strip() for line in shown.splitlines() if line.strip().startswith("ticks"))
    assert strip.split() == [*(["ticks,", "2", "min"] if signs == 30 else ["ticks"]), "." * signs, "now"]
    beyond = re.search(r"no room for ([\w, ]+): the right arrow goes there", " ".join(shown.split()))
    (heads,) = (line for line in shown.splitlines() if "due *" in line)
    for title in ("state", "overdue", "in flight", "hour", "day", "drained", "status"):
        assert title in (beyond[1].split(", ") if beyond else []) or f" {title} " in f"{heads} ", (
            title,
            shown,
        )
    assert columns > 80 or beyond, "numbers are not cut unsaid"
    assert "device_gone" in shown, "what decides stands there, however long a name is"
    assert re.search(r" A name much[ \w,]*… ", shown), "and a name that is cut says so"
    assert "critical" in shown
