"""The line of keys at the foot of a page."""

from rich.text import Text
from textual.widgets import Static


class Foot(Static):
    """The keys of a page, and what they do.

    Textual's own Footer makes its widgets anew whenever another page is shown, and keeps the old ones: a
    screen that is watched for hours would grow.
    """

    DEFAULT_CSS = """
    Foot { dock: bottom; height: 1; padding: 0 1; background: $panel; }
    """

    def __init__(self, *keys: tuple[str, str]) -> None:
        """``keys``: each with the word for what it does."""
        text = Text(no_wrap=True)
        for key, word in keys:
            text.append(key, "bold").append(f" {word}  ")
        super().__init__(text)
