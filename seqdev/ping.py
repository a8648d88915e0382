"""Pings: a monitor gets to know that a run has begun, and how it ended. The run does not depend on it.

As healthchecks.io and its kin take them: ``URL/start``, then ``URL/CODE`` with the exit code, of which zero
is success. The URL is a secret: whoever has it can say that all is well. It is in no message of this module.
"""

import re
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit, urlunsplit

from seqdev import __version__
from seqdev.errors import UsageError

_PATIENCE = 0.9
"""Seconds that a run waits in all: for the answer to its end."""
_FOR_START = 0.4
"""Of these, for the answer to its beginning, where that is still to come."""
_LONGEST = 10_000
"""Characters that are sent, at most."""
_LONG_NUMBER = re.compile(r"\+?\d{7,}")
"""What may be a phone."""


def check(url: str) -> None:
    """Raise UsageError, which does not show it, unless ``url`` is one that can be pinged."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or "@" in parts.netloc or not url.isascii() or re.search(r"[\s\x00-\x1f\x7f]", url):
        raise UsageError(
            "the ping URL cannot be used (it is not shown, since it is a secret)",
            "it must begin with http:// or https:// and a host, without user and password: see "
            "docs/cron-and-monitoring.md",
        )


class Ping:
    """The pings of one run, the first of which is sent when it is made. No method raises."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._trouble: list[str | None] = []
        self._begun = self._thread(lambda: self._send("start", "", _FOR_START))

    def end(self, code: int, text: str) -> str | None:
        """Tell the exit ``code``, and ``text`` about the run, of which what may be a phone is left out.

        Returns within a second: why the monitor did not take it, in words; None where it did.
        """
        until = time.monotonic() + _PATIENCE

        def send() -> None:
            # One after the other: else a monitor may take the run for one that never ends.
            if self._begun:
                self._begun.join(_FOR_START)
            left = max(0.1, until - time.monotonic())
            self._trouble.append(self._send(str(code), _LONG_NUMBER.sub("…", text)[:_LONGEST], left))

        thread = self._thread(send)
        if thread is None:
            return "there is no thread for it"
        thread.join(max(0.0, until - time.monotonic()))
        return self._trouble[0] if self._trouble else "it did not answer in time"

    def _thread(self, work: Callable[[], object]) -> threading.Thread | None:
        """``work`` in a thread that holds back neither the run nor the end of the process."""
        thread = threading.Thread(target=work, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return None
        return thread

    def _send(self, word: str, text: str, patience: float) -> str | None:
        """Why it was not taken, in words without the URL; None where it was."""
        import ssl
        from urllib.error import HTTPError, URLError
        from urllib.request import Request, urlopen

        parts = urlsplit(self._url)
        url = urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{word}", fragment=""))
        headers = {"User-Agent": f"seqdev/{__version__}", "Content-Type": "text/plain; charset=utf-8"}
        # check lets through http and https only.
        request = Request(url, text.encode("utf-8", "replace"), headers)  # noqa: S310
        try:
            with urlopen(request, timeout=patience):  # noqa: S310
                return None
        except HTTPError as error:
            error.close()
            return f"it answered {error.code}"
        except (OSError, ValueError) as error:
            # URLError is an OSError too, and holds what it was.
            cause = error.reason if isinstance(error, URLError) else error
            if isinstance(cause, TimeoutError):
                return "it did not answer in time"
            if isinstance(cause, ssl.SSLError):
                return "its certificate is not good, or it does not speak TLS"
            # The words of the system hold no name.
            return f"it cannot be reached: {getattr(cause, 'strerror', None) or type(cause).__name__}"
        except Exception as error:
            return f"it cannot be understood: {type(error).__name__}"
