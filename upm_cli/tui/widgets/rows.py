"""A table whose rows have names: it changes only the cells that changed, and its cursor stays with its row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widgets import DataTable


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `is_number`: the heading stands on the right, as the numbers do."""

    key: str
    title: str
    is_number: bool = False


class Rows(DataTable[Text]):
    """Rows of text with a cursor on one of them. j and k, g and G move it, as the arrow keys do."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", "Down", show=False),
        Binding("k", "cursor_up", "Up", show=False),
        Binding("g", "scroll_top", "Top", show=False),
        Binding("G", "scroll_bottom", "Bottom", show=False),
    ]

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, cursor_type="row", zebra_stripes=False)
        self._columns: tuple[Column, ...] = ()
        self._shown: dict[str, dict[str, Text]] = {}
        self._widths: dict[str, int] = {}

    def show(self, columns: Sequence[Column], rows: Mapping[str, Mapping[str, Text]], at: str | None = None) -> None:
        """Show `rows` by name, in their order. The cursor stays with its row; where there is none, it goes to `at`."""
        wanted = {name: {column.key: cells[column.key] for column in columns} for name, cells in rows.items()}
        is_wider = self._widen(columns, wanted)
        if is_wider or tuple(columns) != self._columns or list(wanted) != list(self._shown):
            self._rebuild(columns, wanted, self.current or at)
        else:
            self._update(wanted)

    def forget_widths(self) -> None:
        """Let columns be narrower again from the next `show` on: there is another amount of room."""
        self._widths.clear()

    @property
    def current(self) -> str | None:
        """The name of the row the cursor is on."""
        names = list(self._shown)
        return names[self.cursor_row] if 0 <= self.cursor_row < len(names) else None

    def _widen(self, columns: Sequence[Column], wanted: Mapping[str, Mapping[str, Text]]) -> bool:
        """Make columns as wide as what they are to hold, never narrower again; return whether a width is new."""
        before = dict(self._widths)
        for column in columns:
            needed = max([len(column.title), *(cells[column.key].cell_len for cells in wanted.values())])
            self._widths[column.key] = max(needed, self._widths.get(column.key, 0))
        return self._widths != before

    def _rebuild(self, columns: Sequence[Column], wanted: dict[str, dict[str, Text]], at: str | None) -> None:
        with self.prevent(DataTable.RowHighlighted):
            self.clear(columns=True)
            for column in columns:
                title = Text(column.title, justify="right" if column.is_number else "left")
                self.add_column(title, width=self._widths[column.key], key=column.key)
            for name, cells in wanted.items():
                self.add_row(*cells.values(), key=name)
            self._columns, self._shown = tuple(columns), wanted
            if at is not None and at in wanted:
                self.move_cursor(row=self.get_row_index(at))

    def _update(self, wanted: dict[str, dict[str, Text]]) -> None:
        for name, cells in wanted.items():
            for key, cell in cells.items():
                if cell != self._shown[name][key] or cell.style != self._shown[name][key].style:
                    self.update_cell(name, key, cell)
        self._shown = wanted
