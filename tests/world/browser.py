"""A headless Chromium, spoken to through its debugging pipe: what a page asks for, says and looks like."""

import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE = 120.0
"""Seconds for an answer, on a machine that has other things to do."""


def found() -> str | None:
    """The program; None: there is none."""
    return next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))),
        None,
    )


class Browser:
    """One page of a browser. ``events`` has all that it has told so far."""

    def __init__(self, to: int, back: int) -> None:
        self._to = to
        self._back = back
        self._rest = b""
        self._number = 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: object) -> Any:
        """The answer to a command of the protocol."""
        self._number += 1
        question = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            question["sessionId"] = self._session
        os.write(self._to, json.dumps(question).encode() + b"\0")
        while True:
            message = self._read()
            if message.get("id") == self._number:
                assert "error" not in message, (method, message)
                return message["result"]
            self.events.append(message)

    def open(self, page: Path, width: int) -> None:
        """Show ``page`` in a window of ``width``, and wait until all of it is there."""
        self.events.clear()
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        self.ask("Page.navigate", url=page.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._read())

    def media(self, kind: str = "screen", scheme: str = "light") -> None:
        """As on a screen or on paper (``print``), light or dark."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.ask("Emulation.setEmulatedMedia", media=kind, features=features)

    def value(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    @property
    def requests(self) -> list[str]:
        """The addresses that the page has asked for."""
        return [
            one["params"]["request"]["url"]
            for one in self.events
            if one["method"] == "Network.requestWillBeSent"
        ]

    @property
    def complaints(self) -> list[Any]:
        """What stands in the page's console."""
        kinds = (
            "Log.entryAdded",
            "Runtime.consoleAPICalled",
            "Runtime.exceptionThrown",
            "Page.javascriptDialogOpening",
        )
        return [one["params"] for one in self.events if one["method"] in kinds]

    def _read(self) -> Any:
        end = time.monotonic() + PATIENCE
        while b"\0" not in self._rest:
            assert select.select([self._back], [], [], max(0.0, end - time.monotonic()))[0], (
                "the browser is silent"
            )
            block = os.read(self._back, 1 << 16)
            assert block, "the browser has gone"
            self._rest += block
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)


@contextmanager
def browser(program: str, home: Path) -> Iterator[Browser]:
    """A browser with its profile in ``home``."""
    hear, to = os.pipe()
    back, say = os.pipe()
    options = (
        *(
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-dev-shm-usage",
        ),
        *("--no-first-run", "--remote-debugging-pipe", f"--user-data-dir={home}"),
    )
    # It reads from 3, and writes to 4.
    process = subprocess.Popen(
        ["/bin/bash", "-c", f'exec 3<&{hear} 4>&{say}; exec "$@"', "browser", program, *options],
        pass_fds=(hear, say),
        # It writes to the folder of its configuration, whose name tests set to one that is not there.
        env=os.environ | {"HOME": str(home), "XDG_CONFIG_HOME": str(home), "XDG_CACHE_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(hear)
    os.close(say)
    try:
        yield Browser(to, back)
    finally:
        process.kill()
        process.wait()
        os.close(to)
        os.close(back)
