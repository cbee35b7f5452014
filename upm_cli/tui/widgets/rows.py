"""A table whose rows have names: only rows that changed are drawn anew, and the cursor stays with its row.

It draws lines by itself, as that is many times faster than Textual's DataTable, which asks Rich for every cell: under
load a key must be answered with few milliseconds of work. For the same reason it never has the focus, which would mean
styles and frames: the dashboard hands it the keys.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

Cells = Mapping[str, Text]


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `is_number`: the heading stands on the right, as the numbers do.

    Where there is too little room, the columns of the highest `rank` go first; 0 stays. One with a `least` width is
    cut before others go, and takes what is left.
    """

    key: str
    title: str
    is_number: bool = False
    rank: int = 0
    least: int = 0


def fit(columns: Sequence[Column], needed: Mapping[str, int], room: int) -> dict[str, int]:
    """Return the width of each column that is shown in `room`, in order; two more each go between them."""
    least = {column.key: min(needed[column.key], column.least or needed[column.key]) for column in columns}
    chosen: set[str] = set()
    left = room
    for column in sorted(columns, key=lambda column: column.rank):
        if column.rank == 0 or least[column.key] + 2 <= left:
            chosen.add(column.key)
            left -= least[column.key] + 2
    widths = {column.key: least[column.key] for column in columns if column.key in chosen}
    cut = sorted((key for key in widths if widths[key] < needed[key]), key=lambda key: needed[key])
    for n, key in enumerate(cut):
        more = max(0, min(left // (len(cut) - n), needed[key] - widths[key]))
        widths[key] += more
        left -= more
    return widths


class Rows(ScrollView, can_focus=False):
    """Rows of text with a cursor on one of them."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"rows--cursor", "rows--header"}
    DEFAULT_CSS = """
    Rows { height: 1fr; overflow-x: hidden; scrollbar-size: 1 1; }
    Rows > .rows--header { color: $foreground 60%; }
    Rows > .rows--cursor { background: $block-cursor-background; }
    """

    class Highlighted(Message):
        """The cursor went to another row."""

        def __init__(self, rows: "Rows", name: str) -> None:
            super().__init__()
            self.rows, self.name = rows, name

        @property
        def control(self) -> "Rows":
            return self.rows

    class Selected(Highlighted):
        """The row under the cursor was clicked once more."""

    def __init__(self, *, id: str, follows: bool = False) -> None:
        super().__init__(id=id)
        self._follows = follows
        self._columns: dict[str, Column] = {}
        self._needed: dict[str, int] = {}  # the widest that each column ever was
        self._widths: dict[str, int] = {}  # of the columns that are shown
        self._rows: dict[str, Cells] = {}
        self._names: list[str] = []
        self._cursor = 0
        self._strips: dict[str, Strip] = {}  # drawn rows, as long as their cells stay

    # What is shown

    def show(
        self, columns: Sequence[Column], rows: Mapping[str, Cells], at: str | None = None, room: int | None = None
    ) -> None:
        """Show `rows` by name, in their order. The cursor stays with its row; where there is none, it goes to `at`.

        Columns that don't fit into `room` are left out, or their text is cut; None: there is room for all.
        """
        before, was_last = self.current, bool(self._names) and self._cursor == len(self._names) - 1
        names, count = list(rows), len(self._names)
        is_changed = self._lay_out(columns, rows, room)
        is_changed |= self._forget_changed(rows) or names != self._names
        self._rows, self._names = dict(rows), names
        wanted = before if before in rows else at
        if self._follows and was_last:
            wanted = names[-1] if names else None
        is_there = wanted is not None and wanted in rows
        self._cursor = names.index(wanted or "") if is_there else min(self._cursor, max(0, len(names) - 1))
        if is_changed:
            wide = Size(sum(self._widths.values()) + 2 * len(self._widths), len(names) + 1)
            if wide != self.virtual_size:
                self.virtual_size = wide
            self.refresh(layout=len(names) != count)
            self._keep_in_sight()
            if len(names) != count:
                self.call_after_refresh(self._keep_in_sight)  # only then is it known what there is to scroll

    def _lay_out(self, columns: Sequence[Column], rows: Mapping[str, Cells], room: int | None) -> bool:
        """Choose the columns and their widths; returns whether they are others than before."""
        for column in columns:
            widest = max((cells[column.key].cell_len for cells in rows.values()), default=0)
            self._needed[column.key] = max(widest, len(column.title), self._needed.get(column.key, 0))
        needed = {column.key: self._needed[column.key] for column in columns}
        widths = needed if room is None else fit(columns, needed, room)
        if widths == self._widths:
            return False
        self._widths, self._columns = widths, {column.key: column for column in columns if column.key in widths}
        self._strips.clear()
        return True

    def _forget_changed(self, rows: Mapping[str, Cells]) -> bool:
        """Forget the drawings of rows that changed; returns whether any did."""
        changed = [name for name, cells in rows.items() if name in self._rows and not self._is_same(name, cells)]
        for name in changed:
            self._strips.pop(name, None)
        return bool(changed)

    def _is_same(self, name: str, cells: Cells) -> bool:
        before = self._rows[name]
        return all(
            cells[key].plain == before[key].plain
            and cells[key].style == before[key].style
            and cells[key].spans == before[key].spans
            for key in self._widths
        )

    def forget_widths(self) -> None:
        """Let columns be narrower again from the next `show` on: there is another amount of room."""
        self._needed.clear()

    def redraw(self) -> None:
        """Draw every row again: the colours are others."""
        self._strips.clear()
        self.refresh()

    # The cursor

    @property
    def current(self) -> str | None:
        """The name of the row the cursor is on."""
        return self._names[self._cursor] if 0 <= self._cursor < len(self._names) else None

    def go_to(self, name: str) -> bool:
        """Put the cursor on the row `name`; False: there is none."""
        if name in self._rows:
            self._go(self._names.index(name))
        return name in self._rows

    def move(self, by: int) -> None:
        """Move the cursor by so many rows."""
        self._go(self._cursor + by)

    def end(self, which: int) -> None:
        """Move the cursor to the first row (-1) or the last one (1)."""
        self._go(0 if which < 0 else len(self._names) - 1)

    def page(self, by: int) -> None:
        """Move the cursor by so many pages."""
        self._go(self._cursor + by * max(1, self.size.height - 2))

    def _go(self, index: int) -> None:
        index = max(0, min(index, len(self._names) - 1))
        if index != self._cursor and self._names:
            self._cursor = index
            self.refresh()
            self._keep_in_sight()
            self.post_message(self.Highlighted(self, self._names[index]))

    def _keep_in_sight(self) -> None:
        top, height = self.scroll_offset.y, self.size.height - 1
        if height > 0 and not top <= self._cursor < top + height:
            wanted = self._cursor if self._cursor < top else self._cursor - height + 1
            self.scroll_to(y=wanted, animate=False, immediate=True, force=True)

    def on_resize(self, event: events.Resize) -> None:
        self.call_after_refresh(self._keep_in_sight)

    def on_click(self, event: events.Click) -> None:
        index = self.scroll_offset.y + event.y - 1
        if event.y > 0 and index < len(self._names):
            if index == self._cursor:
                self.post_message(self.Selected(self, self._names[index]))
            self._go(index)

    # Drawing

    def render_line(self, y: int) -> Strip:
        scroll, width = self.scroll_offset, self.size.width
        index = scroll.y + y - 1
        if y == 0:
            strip = self._heading()
        elif index < len(self._names):
            strip = self._strip(self._names[index])
        else:
            return Strip.blank(width, self.rich_style)
        strip = strip.crop_extend(scroll.x, scroll.x + width, None)
        if y > 0 and index == self._cursor:
            style = self.get_component_rich_style("rows--cursor", partial=True)
            return strip.apply_style(self.rich_style + Style(bgcolor=style.bgcolor))
        return strip.apply_style(self.rich_style)

    def _heading(self) -> Strip:
        color = self.get_component_rich_style("rows--header").color
        cells = {
            key: Text(column.title, style=Style(color=color), justify="right" if column.is_number else "left")
            for key, column in self._columns.items()
        }
        return Strip(self._segments(cells))

    def _strip(self, name: str) -> Strip:
        strip = self._strips.get(name)
        if strip is None:
            strip = self._strips[name] = Strip(self._segments(self._rows[name]))
        return strip

    def _segments(self, cells: Cells) -> Iterator[Segment]:
        console = self.app.console
        for key, width in self._widths.items():
            yield from _cell(cells[key], width, console)


def _cell(text: Text, width: int, console: Console) -> Iterator[Segment]:
    """Yield one cell in `width` columns, with one more on either side; what is cut ends with an ellipsis."""
    if text.cell_len > width:
        text = text.copy()
        text.truncate(width, overflow="ellipsis")
    free = width - text.cell_len
    before = free if text.justify == "right" else 0
    yield Segment(" " * (1 + before))
    yield from Segment.apply_style(text.render(console), console.get_style(text.style))
    yield Segment(" " * (1 + free - before))
