"""The page live on a terminal, with Textual."""

from textual.app import App
from textual.worker import WorkerFailed

from seqdev.errors import Exit, SeqdevError
from seqdev.top.asking import Asking
from seqdev.top.devices import Devices, Keys
from seqdev.top.people import People, Story


class Screen(App[SeqdevError]):
    """The screen: it begins with the devices, and ends with what has kept them away."""

    CSS = """
    #head { height: auto; padding: 0 1; }
    #filter { display: none; height: 3; }
    #filter.shown { display: block; }
    Keys { align: center middle; }
    Keys Static { width: auto; height: auto; padding: 1 2; border: round $primary; background: $surface; }
    """
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, asking: Asking) -> None:
        super().__init__()
        self._asking = asking
        self.failure: BaseException | None = None

    def on_mount(self) -> None:
        """Begin with the devices."""
        # Each page once: Textual keeps what it has drawn of a thousand widgets, long after they are gone.
        for page in (Keys(), People(self._asking), Story()):
            self.install_screen(page, type(page).NAME)
        self.push_screen(Devices(self._asking))

    def _handle_exception(self, error: Exception) -> None:
        """End with ``error``, as every command does: Textual would show a traceback with what rows hold."""
        if self.failure is None:
            self.failure = error.error if isinstance(error, WorkerFailed) else error
        self._close_messages_no_wait()


def watch(asking: Asking) -> int:
    """Show the screen until the person ends it; the exit code. Raises what kept the first page away."""
    screen = Screen(asking)
    try:
        failed = screen.run()
    finally:
        asking.end()
    if ended := failed or screen.failure:
        raise ended
    return Exit.DONE
