"""The page live on a terminal, with Textual."""

from textual.app import App

from seqdev.errors import Exit, SeqdevError
from seqdev.top.asking import Asking
from seqdev.top.devices import Devices


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

    def on_mount(self) -> None:
        """Begin with the devices."""
        self.push_screen(Devices(self._asking))


def watch(asking: Asking) -> int:
    """Show the screen until the person ends it; the exit code. Raises what kept the first page away."""
    screen = Screen(asking)
    try:
        failed = screen.run()
    finally:
        asking.end()
    if failed:
        raise failed
    return Exit.UNEXPECTED if screen.return_code else Exit.DONE
