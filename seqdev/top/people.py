"""The people of a device live, and what ``seqdev explain`` says of one of them."""

from collections.abc import Sequence
from io import StringIO
from typing import ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen as Page
from textual.widgets import DataTable, Static

from seqdev.explain import explain
from seqdev.explain import view as explain_view
from seqdev.output.layout import cut
from seqdev.output.render import Format, Writer
from seqdev.output.text import mask, visible
from seqdev.output.words import number
from seqdev.postgres.engine import Database
from seqdev.top.asking import Asking, Watched
from seqdev.top.keys import Foot
from seqdev.top.rows import Device, Person
from seqdev.top.top import PEOPLE_LISTED


class People(Page[None]):
    """The people of a device who are due. There is one such page: it is told what to show."""

    NAME = "people"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "dismiss", "back")]

    def __init__(self, asking: Asking) -> None:
        super().__init__()
        self._asking = asking
        self._found: Sequence[Person] = ()
        self._title = ""

    def about(self, device: Device, found: Sequence[Person] | str) -> None:
        """Show the people of ``device``; ``found``: these, or why they are not known."""
        self._found = () if isinstance(found, str) else found
        title = f"{device.device} {device.device_id}: {number(device.due)} due; {device.state}"
        if len(self._found) == PEOPLE_LISTED:
            title += f"; the first {PEOPLE_LISTED} of them"
        self._title = found if isinstance(found, str) else title
        if self.is_mounted:
            self._list()

    def compose(self) -> ComposeResult:
        """The name of the device, and its people."""
        yield Static(id="device")
        yield DataTable(cursor_type="row", zebra_stripes=True)
        yield Foot(("Enter", "story"), ("Esc", "back"))

    def on_mount(self) -> None:
        """List them."""
        self.query_one(DataTable).add_columns("phone", "due since", "sequence", "day", "last error")
        self._list()

    def _list(self) -> None:
        self.query_one("#device", Static).update(Text(visible(self._title), "bold"))
        table = self.query_one(DataTable)
        table.clear()
        watched = self._asking.watched
        for place, one in enumerate(self._found):
            cells = (
                mask(one.phone) if watched.masked else one.phone,
                watched.clock.short(one.due) if one.due else "",
                cut(visible(one.sequence), self.size.width // 3, cell_len, "…"),
                "" if one.step is None else str(one.step),
                one.reason or "",
            )
            table.add_row(*(Text(visible(cell)) for cell in cells), key=str(place))
        table.focus()

    async def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Tell the story of the person."""
        event.stop()
        person = self._found[int(event.row_key.value or 0)]
        watched = self._asking.watched
        story = await self._asking.tell(lambda database: _story(database, person, watched))
        if self.is_current:
            page = self.app.get_screen(Story.NAME, Story)
            page.about(story)
            self.app.push_screen(page)


class Story(Page[None]):
    """What ``seqdev explain`` says of a person. There is one such page: it is told what to show."""

    NAME = "story"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "dismiss", "back")]

    def __init__(self) -> None:
        super().__init__()
        self._words = ""

    def about(self, words: str) -> None:
        """Show ``words``, from their beginning."""
        self._words = words
        if self.is_mounted:
            self._tell()

    def compose(self) -> ComposeResult:
        """The words."""
        with VerticalScroll():
            yield Static(id="words")
        yield Foot(("Esc", "back"))

    def on_mount(self) -> None:
        """Tell them."""
        self._tell()

    def _tell(self) -> None:
        self.query_one("#words", Static).update(Text.from_ansi(self._words))
        self.query_one(VerticalScroll).scroll_home(animate=False)


def _story(database: Database, person: Person, watched: Watched) -> str:
    found = explain.explain(database, person.phone, str(person.user_id))
    if watched.masked:
        known = {one for one in explain.writings(person.phone) if len(one) > 6}
        found = explain_view.masked(found, known)
    out = StringIO()
    explain_view.write_screen(Writer(Format.TABLE, watched.masked, out, watched.clock), found)
    return out.getvalue()
