"""The devices live, and above them how the service is doing."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any, ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.coordinate import Coordinate
from textual.screen import ModalScreen
from textual.screen import Screen as Page
from textual.widgets import DataTable, Input, Static

from seqdev.errors import SeqdevError
from seqdev.output.columns import Named
from seqdev.output.layout import cut
from seqdev.output.text import visible
from seqdev.output.tones import Tone, Toned, tone
from seqdev.output.words import duration, number
from seqdev.top import view
from seqdev.top.asking import Asking
from seqdev.top.keys import Foot
from seqdev.top.people import People
from seqdev.top.rows import Device
from seqdev.top.top import Snapshot, look, people

_SHARE = 9
"""How many times as long as an answer has taken nothing is asked."""
_LISTED = 200
"""Devices on the screen, at most: the others are found with the filter."""
_NAME = 3
"""A name takes a part of the screen's width, at most: one in so many. What decides stands beside it."""
_MARGIN = timedelta(seconds=1)
_STYLES = {
    Tone.CRITICAL: "bold red",
    Tone.WARNING: "bold magenta",
    Tone.OK: "green",
    Tone.USUAL: "dim",
    Tone.HEADING: "bold",
}

_SORTS: dict[str, Callable[[Device], Any]] = {
    "due": lambda one: -one.due,
    "overdue": lambda one: one.oldest_due.timestamp() if one.oldest_due else float("inf"),
    "in flight": lambda one: -one.in_flight,
    "hour": lambda one: -one.sent_hour,
    "day": lambda one: -one.sent_day,
    # What stands comes first.
    "drained": lambda one: float("-inf") if one.drain is None else -one.drain.total_seconds(),
    "state": lambda one: one.state,
    "device": lambda one: one.device.casefold(),
}
"""By what devices can be sorted."""

_KEYS = """\
arrows  move, sideways too; PgUp and PgDn by a page
Enter   the device's people; then a person's story
Esc     back
s       sort by the next column
r       the other way round
/       only devices with these letters; Esc: all
space   hold still, and go on
…       a longer name: Enter shows all of it
?       these keys
q       end
"""


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

    def __init__(self, asking: Asking) -> None:
        super().__init__()
        self._asking = asking
        self._snapshot: Snapshot | None = None
        self._trouble = ""
        self._looked = time.monotonic()
        self._sort = next(iter(_SORTS))
        self._reversed = False
        self._held = False
        self._beyond: list[str] = []
        """The columns that have no room, or not for all of them."""

    def compose(self) -> ComposeResult:
        """The head, the devices, the keys."""
        yield Static("looking …", id="head", markup=False)
        yield Input(placeholder="letters of a name, an id or a state", id="filter")
        yield DataTable(cursor_type="row", zebra_stripes=True)
        yield Foot(*_FOOT)

    def on_mount(self) -> None:
        """Begin to look."""
        self.query_one(DataTable).focus()
        self.run_worker(self._watch())
        self.set_interval(1, self._show_head)

    async def _watch(self) -> None:
        watched = self._asking.watched
        while True:
            began = time.monotonic()
            if not self._held:
                try:
                    self._snapshot = await self._asking.ask(lambda database: look(database, watched.user))
                    self._trouble, self._looked = "", time.monotonic()
                    self._show()
                except SeqdevError as error:
                    if self._snapshot is None:
                        self.app.exit(error)
                        return
                    self._trouble = error.message
                    self._show_head()
            await asyncio.sleep(max(watched.every.total_seconds(), _SHARE * (time.monotonic() - began)))

    def _show(self) -> None:
        if self._snapshot is None:
            return
        self._show_head()
        table = self.query_one(DataTable)
        devices = self._chosen()
        place = table.cursor_row
        at = table.coordinate_to_cell_key(Coordinate(place, 0)).row_key.value if table.row_count else None
        table.clear(columns=True)
        names = Counter(one.device for one in self._snapshot.devices)
        room = self.size.width // _NAME
        rows = {
            str(one.device_id): _cells(one, self._snapshot.at, _name(one, names[one.device] == 1, room))
            for one in devices[:_LISTED]
        }
        heads = [_title(name, self._sort) for name in _COLUMNS]
        # Measured here: the table itself does so later, and cuts to the titles until then.
        widths = [max(one.cell_len for one in column) for column in zip(heads, *rows.values(), strict=True)]
        for head, width in zip(heads, widths, strict=True):
            table.add_column(head, width=width)
        for key, cells in rows.items():
            table.add_row(*cells, key=key)
        ends = list(accumulate(width + 2 * table.cell_padding for width in widths))
        if (
            beyond := [name for name, end in zip(_COLUMNS, ends, strict=True) if end > self._room()]
        ) != self._beyond:
            self._beyond = beyond
            self._show_head()
        if at is not None and at in (str(one.device_id) for one in devices[:_LISTED]):
            place = table.get_row_index(at)
        table.move_cursor(row=min(place, max(0, table.row_count - 1)))

    def _room(self) -> int:
        """Characters of a row that are in view, beside the bar that scrolls."""
        table = self.query_one(DataTable)
        return self.size.width - table.scrollbar_size_vertical

    def _show_head(self) -> None:
        if self._snapshot is None:
            return
        watched = self._asking.watched
        since = timedelta(seconds=time.monotonic() - self._looked)
        first, *others = view.head(
            self._snapshot, watched.clock, unicode=True, width=self.query_one("#head").content_size.width
        )
        text = _text(first)
        hidden = len(self._chosen()) - _LISTED
        if self._held:
            text.append("  held still: space goes on", _STYLES[Tone.WARNING])
        elif self._trouble:
            text.append(f"  no answer for {duration(since)}: {visible(self._trouble)}", "bold red")
        elif since > 3 * watched.every + _MARGIN:
            text.append(f"  looked {duration(since)} ago", _STYLES[Tone.WARNING])
        for line in others:
            text.append("\n")
            text.append(_text(line))
        if self._beyond:
            text.append(
                f"\nno room for {', '.join(self._beyond)}: the right arrow goes there", _STYLES[Tone.USUAL]
            )
        if hidden > 0:
            text.append(
                f"\n{_LISTED} devices shown, and {number(hidden)} more: / finds them", _STYLES[Tone.WARNING]
            )
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
        found = await self._asking.tell(lambda database: people(database, device.device_id))
        # Enter may have been pressed twice meanwhile.
        if self.is_current:
            page = self.app.get_screen(People.NAME, People)
            page.about(device, found)
            self.app.push_screen(page)

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
        self.app.push_screen(Keys.NAME)


class Keys(ModalScreen[None]):
    """What the keys do."""

    NAME = "keys"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q,enter", "dismiss", "back"),
    ]

    def compose(self) -> ComposeResult:
        """The keys."""
        yield Static(_KEYS, markup=False)


_FOOT = (("q", "end"), ("s", "sort"), ("r", "reverse"), ("/", "filter"), ("space", "hold"), ("?", "keys"))
_COLUMNS = ("device", "state", "due", "overdue", "in flight", "hour", "day", "drained", "status")


def _title(name: str, sort: str) -> Text:
    return Text(f"{name} *" if name == sort else name)


def _name(device: Device, alone: bool, room: int) -> str:
    """What to call ``device`` in ``room`` characters; ``alone``: no other has its name, it needs no id."""
    named = Named(device.device, device.device_id)
    name = visible(named.called)
    identity = "" if alone and named.called == named.name else f" {str(named.id)[:8]}"
    return cut(name, room - len(identity), cell_len, "…") + identity


def _cells(device: Device, now: datetime, name: str) -> list[Text]:
    one = view.line(device, now)
    overdue = "" if one.overdue_for is None else duration(one.overdue_for)
    numbers = (
        (number(one.due), ""),
        (overdue, ""),
        _of(device.in_flight, device.most_in_flight),
        _of(device.sent_hour, device.most_hour),
        _of(device.sent_day, device.most_day),
        (one.drained_in, _style(tone(one.drained_in))),
    )
    return [
        Text(name),
        Text(one.state, _style(tone(one.state))),
        *(Text(words, style, justify="right") for words, style in numbers),
        Text(visible(one.status), "dim"),
    ]


def _of(sent: int, most: int) -> tuple[str, str]:
    """A number of its limit, and in which style: what fits a terminal of 80 columns."""
    return f"{sent:,}/{most:,}", _STYLES[Tone.WARNING] if sent >= most else ""


def _text(line: Sequence[str | Toned]) -> Text:
    text = Text()
    for piece in line:
        text.append(visible(str(piece)), _style(piece.tone) if isinstance(piece, Toned) else "")
    return text


def _style(of: Tone | None) -> str:
    return _STYLES[of] if of else ""
