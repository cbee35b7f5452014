"""A titled list that can be filtered, sorted and widened: what most of the screens are made of."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import Container
from textual.message import Message
from textual.widgets import Static

from upm_cli.tui.filtering import Filter
from upm_cli.tui.widgets.rows import Column, Rows
from upm_cli.tui.widgets.titles import entitle

_MOST: Final = 2000  # rows that are drawn; a filter reaches all of them
_BESIDE_NOTE: Final = 4  # columns of the border on both sides of what is written into it
_BESIDES: Final = 1  # columns of a list that its scroll bar takes


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row: its cells by column. `values` sort it, `fields` are what a filter finds by name."""

    cells: Mapping[str, Text]
    values: Mapping[str, Any] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    more: str = ""  # text that a filter finds too

    @property
    def text(self) -> str:
        return " ".join([*(cell.plain for cell in self.cells.values()), self.more])


class Listing(Container):
    """A box with a title around `Rows`. What is shown in it is `show`n; filter, order and width are its own."""

    def __init__(
        self, columns: Sequence[Column], *, id: str, title: str, classes: str = "pane", follows: bool = False
    ) -> None:
        """`follows`: rows are added at the end, and the cursor goes with them while it is there."""
        super().__init__(id=id, classes=f"listing {classes}")
        self.title = title
        self._follows = follows
        self.filter = Filter()
        self.hint = ""  # below the box, where there is no note
        self.is_wide = False
        self._columns = {column.key: column for column in columns}
        self._sort: tuple[str, bool] | None = None  # column, descending; None: as the rows come
        self._rows: Mapping[str, Row] = {}
        self._keys: tuple[str, ...] = ()
        self._at: str | None = None
        self._empty, self._note = "", ""
        self._said: str | None = None
        self._width = 0
        self.own_title: Text | None = None  # in place of title, count, filter and order
        self.own_note: Callable[[int], Text] | None = None  # takes the room there is; in place of note and hint

    def compose(self) -> ComposeResult:
        yield Rows(id=f"{self.id}-rows", follows=self._follows)
        yield Static(id=f"{self.id}-empty", classes="empty", markup=False)

    class Entered(Message):
        """Somebody clicked into a list."""

        def __init__(self, listing: "Listing") -> None:
            super().__init__()
            self.listing = listing

    def on_click(self) -> None:
        self.post_message(self.Entered(self))

    @property
    def room(self) -> int:
        """Columns inside the box, as it was seen last."""
        return self._width or self.app.size.width - 2

    def on_resize(self, event: events.Resize) -> None:
        if self.size.width and self.size.width != self._width:
            self._width = self.size.width
            entitle(self, None, self._below())

    @property
    def rows(self) -> Rows:
        return self.query_one(Rows)

    @property
    def current(self) -> str | None:
        """The name of the row under the cursor."""
        return self.rows.current

    def show(
        self,
        rows: Mapping[str, Row],
        keys: Sequence[str],
        *,
        empty: str = "",
        note: str = "",
        at: str | None = None,
    ) -> None:
        """Show `rows` by name, in their order, with the columns `keys`; `empty` is said when there are none.

        The cursor stays with its row, or goes to `at` in the beginning; `note` goes below the box.
        """
        self._rows, self._keys, self._at, self._empty, self._note = rows, tuple(keys), at, empty, note
        self._draw()

    def set_filter(self, found: Filter) -> None:
        """Show only the rows that `found` lets through."""
        if found.text != self.filter.text:
            self.filter = found
            self.rows.forget_widths()
            self._draw()

    def next_sort(self) -> str:
        """Sort by the next column, then the other way round; in the end as the rows come. Returns how, in words."""
        keys = [key for key in self._shown_keys() if any(key in row.values for row in self._rows.values())]
        if self._sort is None:
            first = next(iter(keys), None)
            self._sort = None if first is None else (first, self._columns[first].is_number)
        else:
            key, descending = self._sort
            after = keys.index(key) + 1 if key in keys else len(keys)
            is_first_way = descending == self._columns[key].is_number
            if is_first_way:
                self._sort = (key, not descending)
            else:
                self._sort = (keys[after], self._columns[keys[after]].is_number) if after < len(keys) else None
        self._draw()
        return self._sorted_by() or "as it comes, worst first"

    def widen(self) -> bool:
        """Show every column, or those that fit again; returns whether all are shown now."""
        self.is_wide = not self.is_wide
        self.rows.set_class(self.is_wide, "-scrolls")
        self.rows.forget_widths()
        self._draw()
        return self.is_wide

    @property
    def is_plain(self) -> bool:
        """Whether neither a filter nor an order is on."""
        return not self.filter and self._sort is None

    def relayout(self) -> None:
        """Let columns be narrower again: there is another amount of room."""
        self.rows.forget_widths()

    def go_to(self, name: str) -> bool:
        """Put the cursor on the row `name`; False: it is not shown."""
        return self.rows.go_to(name)

    def _shown_keys(self) -> tuple[str, ...]:
        return tuple(self._columns) if self.is_wide else self._keys

    def _sorted_by(self) -> str:
        if self._sort is None:
            return ""
        key, descending = self._sort
        return f"by {self._columns[key].title} {'▼' if descending else '▲'}"

    def _draw(self) -> None:
        if not self.is_mounted:
            return
        found = {name: row for name, row in self._rows.items() if self.filter.matches(row.text, row.fields)}
        if self._sort is not None:
            key, descending = self._sort
            known = [name for name, row in found.items() if row.values.get(key) is not None]
            known.sort(key=lambda name: found[name].values[key], reverse=descending)
            found = {name: found[name] for name in (*known, *(each for each in found if each not in set(known)))}
        shown = dict(list(found.items())[:_MOST])
        columns = [self._columns[key] for key in self._shown_keys()]
        room = None if self.is_wide else self.room - _BESIDES
        self.rows.show(columns, {name: row.cells for name, row in shown.items()}, self._at, room)
        self.set_class(not shown, "-empty")
        empty = self._empty
        if self._rows and not shown:
            empty = f"None of {len(self._rows):,} fits /{self.filter.text}\n\nEsc takes the filter away."
        if empty != self._said:
            self._said = empty
            self.query_one(".empty", Static).update(empty)
        entitle(self, self._titled(len(shown)) if self.own_title is None else self.own_title, self._below())

    def _below(self) -> Text:
        own = Text("") if self.own_note is None else self.own_note(self.room - _BESIDE_NOTE)
        return own or Text(self._note or self.hint)

    def _titled(self, shown: int) -> Text:
        count = f"{shown:,} of {len(self._rows):,}" if shown != len(self._rows) else f"{shown:,}"
        text = Text.assemble((self.title, "bold"), f" {count}" if self._rows else "")
        if self.filter:
            text.append(f"  /{self.filter.text}", style="yellow")
        if self._sort is not None:
            text.append(f"  {self._sorted_by()}", style="cyan")
        return text
