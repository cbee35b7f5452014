"""A table whose rows have names: it changes only the cells that changed, and its cursor stays with its row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widgets import DataTable


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


class Rows(DataTable[Text]):
    """Rows of text with a cursor on one of them. j and k, g and G move it, as the arrow keys do."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", "Down", show=False),
        Binding("k", "cursor_up", "Up", show=False),
        Binding("g", "scroll_top", "Top", show=False),
        Binding("G", "scroll_bottom", "Bottom", show=False),
    ]

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, cursor_type="row", zebra_stripes=False, cursor_foreground_priority="renderable")
        self._columns: tuple[Column, ...] = ()
        self._shown: dict[str, dict[str, Text]] = {}
        self._widths: dict[str, int] = {}  # that each column ever needed
        self._shown_widths: dict[str, int] = {}
        self.follows = False  # rows are added at the end, and the cursor goes with them while it is there

    def show(
        self,
        columns: Sequence[Column],
        rows: Mapping[str, Mapping[str, Text]],
        at: str | None = None,
        room: int | None = None,
    ) -> None:
        """Show `rows` by name, in their order. The cursor stays with its row; where there is none, it goes to `at`.

        Columns that don't fit into `room` are left out, or their text is cut; None: there is room for all.
        """
        widths = self._fit(columns, rows, room)
        columns = [column for column in columns if column.key in widths]
        wanted = {name: {key: _cut(cells[key], width) for key, width in widths.items()} for name, cells in rows.items()}
        before = list(self._shown)
        is_wider, self._shown_widths = widths != self._shown_widths, widths
        if is_wider or tuple(columns) != self._columns or list(wanted)[: len(before)] != before or not before:
            self._rebuild(columns, wanted, self.current or at)
        else:
            self._update(wanted)

    def forget_widths(self) -> None:
        """Let columns be narrower again from the next `show` on: there is another amount of room."""
        self._widths.clear()

    def go_to(self, name: str) -> bool:
        """Put the cursor on the row `name`; False: there is none."""
        if name not in self._shown:
            return False
        self.move_cursor(row=self.get_row_index(name))
        return True

    @property
    def current(self) -> str | None:
        """The name of the row the cursor is on."""
        names = list(self._shown)
        return names[self.cursor_row] if 0 <= self.cursor_row < len(names) else None

    def _fit(
        self, columns: Sequence[Column], rows: Mapping[str, Mapping[str, Text]], room: int | None
    ) -> dict[str, int]:
        """Return the widths of the columns that fit; one is as wide as it ever had to be, so that nothing jumps."""
        for column in columns:
            needed = max([len(column.title), *(cells[column.key].cell_len for cells in rows.values())])
            self._widths[column.key] = max(needed, self._widths.get(column.key, 0))
        if room is None:
            return {column.key: self._widths[column.key] for column in columns}
        return fit(columns, self._widths, room)

    def _rebuild(self, columns: Sequence[Column], wanted: dict[str, dict[str, Text]], at: str | None) -> None:
        with self.prevent(DataTable.RowHighlighted):
            self.clear(columns=True)
            for column in columns:
                title = Text(column.title, justify="right" if column.is_number else "left")
                self.add_column(title, width=self._shown_widths[column.key], key=column.key)
            for name, cells in wanted.items():
                self.add_row(*cells.values(), key=name)
            self._columns, self._shown = tuple(columns), wanted
            if at is not None and at in wanted:
                self.move_cursor(row=self.get_row_index(at))

    def _update(self, wanted: dict[str, dict[str, Text]]) -> None:
        """Change the cells that changed and add the rows that follow; a tail that was at its end goes on with it."""
        is_at_end = self.follows and self.cursor_row >= len(self._shown) - 1
        for name, cells in wanted.items():
            if name not in self._shown:  # they come last
                self.add_row(*cells.values(), key=name)
                continue
            for key, cell in cells.items():
                if cell != self._shown[name][key] or cell.style != self._shown[name][key].style:
                    self.update_cell(name, key, cell)
        self._shown = wanted
        if is_at_end and self.row_count:
            self.move_cursor(row=self.row_count - 1)


def _cut(cell: Text, width: int) -> Text:
    """Return a cell in at most `width` columns, the cut shown."""
    if cell.cell_len <= width:
        return cell
    cut = cell.copy()
    cut.truncate(width, overflow="ellipsis")
    return cut
