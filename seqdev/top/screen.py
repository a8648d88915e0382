"""The page live on a terminal, with Textual.

All questions go to the database from one thread, and so by one connection.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from io import StringIO
from typing import Any, ClassVar, TypeVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.coordinate import Coordinate
from textual.screen import ModalScreen
from textual.screen import Screen as Page
from textual.widgets import DataTable, Footer, Input, Static

from seqdev.errors import Exit, SeqdevError
from seqdev.explain import explain
from seqdev.explain import view as explain_view
from seqdev.output.render import Format, Writer
from seqdev.output.tables import short
from seqdev.output.text import mask, visible
from seqdev.postgres.engine import Database
from seqdev.top import view
from seqdev.top.rows import Device, Person
from seqdev.top.top import PEOPLE_LISTED, Snapshot, look, people
from seqdev.top.view import Level

T = TypeVar("T")

_SHARE = 9
"""How many times as long as an answer has taken nothing is asked."""
_LISTED = 200
"""Devices on the screen, at most: the others are found with the filter."""
_STYLES = {Level.OK: "green", Level.WARNING: "yellow", Level.CRITICAL: "bold red"}
_STATES = {"online": "green", "device_full": "yellow", "device_restricted": "yellow", "paused": "yellow"}

_SORTS: dict[str, Callable[[Device], Any]] = {
    "due": lambda one: -one.due,
    "oldest due": lambda one: one.oldest_due.timestamp() if one.oldest_due else float("inf"),
    "in flight": lambda one: -one.in_flight,
    "this hour": lambda one: -one.sent_hour,
    "today": lambda one: -one.sent_day,
    "drained in": lambda one: -(timedelta.max if one.drain is None else one.drain),
    "state": lambda one: one.state,
    "device": lambda one: one.device.casefold(),
}
"""By what devices can be sorted."""

_KEYS = """\
arrows, PgUp, PgDn   move
Enter                the people of the device; then the story of the person
Esc                  back
s                    sort by the next column
r                    the other way round
/                    only devices whose name, id or state has these letters; Esc: all
space                hold still, and go on
?                    these keys
q                    end
"""


class Screen(App[None]):
    """The screen: what it asks of the database, and the page that it begins with."""

    CSS = """
    #head { height: auto; padding: 0 1; }
    #filter { display: none; height: 3; }
    #filter.shown { display: block; }
    Keys { align: center middle; }
    Keys Static { width: auto; height: auto; padding: 1 2; border: round $primary; background: $surface; }
    """
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, database: Database, every: timedelta, user: str | None, masked: bool) -> None:
        """``every``: how often to look anew; ``user``: only what is theirs; ``masked``: hide phones."""
        super().__init__()
        self.every = every.total_seconds()
        self.user = user
        self.masked = masked
        self._database = database
        self._asking = ThreadPoolExecutor(max_workers=1)
        self._failed: SeqdevError | None = None

    def run_to_the_end(self) -> int:
        """Show it until the person ends it; the exit code. Raises what kept the first page away."""
        try:
            self.run()
        finally:
            self._asking.shutdown(cancel_futures=True)
        if self._failed:
            raise self._failed
        return Exit.DONE if self.return_code == 0 else Exit.UNEXPECTED

    def on_mount(self) -> None:
        """Begin with the devices."""
        self.push_screen(Devices())

    def give_up(self, error: SeqdevError) -> None:
        """End with ``error``."""
        self._failed = error
        self.exit()

    async def ask(self, question: Callable[[Database], T]) -> T:
        """The database's answer to ``question``, after those that were asked before."""
        return await asyncio.get_running_loop().run_in_executor(
            self._asking, lambda: question(self._database)
        )

    async def tell(self, question: Callable[[Database], T]) -> T | str:
        """As ``ask``; what kept the answer away, as words."""
        try:
            return await self.ask(question)
        except SeqdevError as error:
            return error.message


class Devices(Page[None]):
    """The devices, and above them how the service is doing."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "app.quit", "end"),
        Binding("s", "sort", "sort"),
        Binding("r", "reverse", "reverse"),
        Binding("slash", "filter", "filter"),
        Binding("space", "hold", "hold"),
        Binding("question_mark", "keys", "keys"),
        Binding("escape", "all", "all", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._snapshot: Snapshot | None = None
        self._trouble = ""
        self._looked = time.monotonic()
        self._sort = next(iter(_SORTS))
        self._reversed = False
        self._held = False

    def compose(self) -> ComposeResult:
        """The head, the devices, the keys."""
        yield Static("looking …", id="head", markup=False)
        yield Input(placeholder="letters of a name, an id or a state", id="filter")
        yield DataTable(cursor_type="row", zebra_stripes=True)
        yield Footer()

    def on_mount(self) -> None:
        """Begin to look."""
        self.query_one(DataTable).focus()
        self.run_worker(self._watch())
        self.set_interval(1, self._show_head)

    async def _watch(self) -> None:
        screen = _of(self.app)
        while True:
            began = time.monotonic()
            if not self._held:
                try:
                    self._snapshot = await screen.ask(lambda database: look(database, screen.user))
                    self._trouble, self._looked = "", time.monotonic()
                    self._show()
                except SeqdevError as error:
                    if self._snapshot is None:
                        screen.give_up(error)
                        return
                    self._trouble = error.message
                    self._show_head()
            await asyncio.sleep(max(screen.every, _SHARE * (time.monotonic() - began)))

    def _show(self) -> None:
        if self._snapshot is None:
            return
        self._show_head()
        table = self.query_one(DataTable)
        devices = self._chosen()
        place = table.cursor_row
        at = table.coordinate_to_cell_key(Coordinate(place, 0)).row_key.value if table.row_count else None
        table.clear(columns=True)
        table.add_columns(*(_title(name, self._sort) for name in _COLUMNS))
        for one in devices[:_LISTED]:
            table.add_row(*_cells(one, self._snapshot.at), key=str(one.device_id))
        if at is not None and at in (str(one.device_id) for one in devices[:_LISTED]):
            place = table.get_row_index(at)
        table.move_cursor(row=min(place, max(0, table.row_count - 1)))

    def _show_head(self) -> None:
        if self._snapshot is None:
            return
        text = Text()
        since = time.monotonic() - self._looked
        told = f"{self._snapshot.last.database}  {self._snapshot.at:%Y-%m-%d %H:%M:%S %Z}"
        text.append(visible(told), "bold")
        hidden = len(self._chosen()) - _LISTED
        if self._held:
            text.append("  held still: space goes on", "yellow")
        elif self._trouble:
            ago = short(timedelta(seconds=since))
            text.append(f"  no answer for {ago}: {visible(self._trouble)}", "bold red")
        elif since > 3 * _of(self.app).every + 1:
            text.append(f"  looked {short(timedelta(seconds=since))} ago", "yellow")
        for line in view.head(self._snapshot):
            style = _STYLES[line.level] if line.level else ""
            verdict = f"  [{line.level}]" if line.level in (Level.WARNING, Level.CRITICAL) else ""
            text.append(f"\n{line.about:<12} ", "dim")
            text.append(visible(line.words) + verdict, style)
        if hidden > 0:
            text.append(f"\n{_LISTED} devices shown, and {hidden:,} more: / finds them", "yellow")
        self.query_one("#head", Static).update(text)

    def _chosen(self) -> Sequence[Device]:
        devices = self._snapshot.devices if self._snapshot else ()
        wanted = self.query_one(Input).value.strip().casefold()
        kept = [one for one in devices if wanted in f"{one.device} {one.device_id} {one.state}".casefold()]
        return sorted(kept, key=_SORTS[self._sort], reverse=self._reversed)

    def on_input_changed(self) -> None:
        """Show what the filter leaves."""
        self._show()

    def on_input_submitted(self) -> None:
        """Go back from the filter to what it has left."""
        self.query_one(DataTable).focus()

    async def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Show the people of the device."""
        device = next(one for one in self._chosen() if str(one.device_id) == event.row_key.value)
        found = await _of(self.app).tell(lambda database: people(database, device.device_id))
        self.app.push_screen(People(device, found))

    def action_sort(self) -> None:
        """Sort by the next column."""
        names = list(_SORTS)
        self._sort = names[(names.index(self._sort) + 1) % len(names)]
        self._show()

    def action_reverse(self) -> None:
        """Sort the other way round."""
        self._reversed = not self._reversed
        self._show()

    def action_filter(self) -> None:
        """Ask for letters."""
        entry = self.query_one(Input)
        entry.add_class("shown")
        entry.focus()

    def action_all(self) -> None:
        """Take the filter away."""
        entry = self.query_one(Input)
        entry.value = ""
        entry.remove_class("shown")
        self.query_one(DataTable).focus()

    def action_hold(self) -> None:
        """Hold still, or go on."""
        self._held = not self._held
        self._show_head()

    def action_keys(self) -> None:
        """Show the keys."""
        self.app.push_screen(Keys())


class Keys(ModalScreen[None]):
    """What the keys do."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q,enter", "dismiss", "back"),
    ]

    def compose(self) -> ComposeResult:
        """The keys."""
        yield Static(_KEYS, markup=False)


class People(Page[None]):
    """The people of a device who are due."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "dismiss", "back")]

    def __init__(self, device: Device, found: Sequence[Person] | str) -> None:
        """``found``: the people, or why they are not known."""
        super().__init__()
        self._device = device
        self._found = [] if isinstance(found, str) else found
        self._why = found if isinstance(found, str) else ""

    def compose(self) -> ComposeResult:
        """The name of the device, and its people."""
        device = self._device
        words = f"{device.device} {device.device_id}: {device.due:,} due; {device.state}"
        if len(self._found) == PEOPLE_LISTED:
            words += f"; the first {PEOPLE_LISTED} of them"
        yield Static(Text(visible(self._why or words), "bold"))
        yield DataTable(cursor_type="row", zebra_stripes=True)
        yield Footer()

    def on_mount(self) -> None:
        """List them."""
        table = self.query_one(DataTable)
        table.add_columns("phone", "due since", "sequence", "day", "last error")
        masked = _of(self.app).masked
        for number, one in enumerate(self._found):
            cells = (
                mask(one.phone) if masked else one.phone,
                _instant(one.due),
                one.sequence,
                "" if one.step is None else str(one.step),
                one.reason or "",
            )
            table.add_row(*(Text(visible(cell)) for cell in cells), key=str(number))
        table.focus()

    async def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Tell the story of the person."""
        event.stop()
        person = self._found[int(event.row_key.value or 0)]
        screen = _of(self.app)
        story = await screen.tell(lambda database: _story(database, person, screen.masked))
        self.app.push_screen(Story(story))


class Story(Page[None]):
    """What ``seqdev explain`` says of a person."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "dismiss", "back")]

    def __init__(self, words: str) -> None:
        """``words``: what it says."""
        super().__init__()
        self._words = words

    def compose(self) -> ComposeResult:
        """The words."""
        with VerticalScroll():
            yield Static(Text(self._words))
        yield Footer()


def _of(app: App[Any]) -> Screen:
    assert isinstance(app, Screen)
    return app


def _story(database: Database, person: Person, masked: bool) -> str:
    found = explain.explain(database, person.phone, str(person.user_id))
    if masked:
        found = explain_view.masked(found, {one for one in explain.writings(person.phone) if len(one) > 6})
    out = StringIO()
    explain_view.write_screen(Writer(Format.TABLE, masked, out), found)
    return out.getvalue()


_COLUMNS = ("device", "state", "due", "oldest due", "in flight", "this hour", "today", "drained in", "status")


def _title(name: str, sort: str) -> Text:
    return Text(f"{name} *" if name == sort else name)


def _cells(device: Device, now: datetime) -> list[Text]:
    one = view.line(device, now)
    return [
        Text(visible(f"{one.device} {str(one.device_id)[:8]}")),
        Text(one.state, _STATES.get(one.state, "bold red")),
        Text(f"{one.due:,}", justify="right"),
        Text(one.oldest_due, justify="right"),
        Text(one.in_flight, _full(device.in_flight, device.most_in_flight), justify="right"),
        Text(one.this_hour, _full(device.sent_hour, device.most_hour), justify="right"),
        Text(one.today, _full(device.sent_day, device.most_day), justify="right"),
        Text(one.drained_in, "bold red" if one.drained_in == "stands" else "", justify="right"),
        Text(visible(one.status), "dim"),
    ]


def _full(number: int, most: int) -> str:
    return "yellow" if number >= most else ""


def _instant(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M}" if at else ""
