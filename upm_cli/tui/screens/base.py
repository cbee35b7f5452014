"""What all screens have: the top line, a place for trouble, the keys at the bottom, and a board to show."""

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Footer, Static

from upm_cli.errors import UpmError
from upm_cli.tui.board import Board, Part
from upm_cli.tui.project import Project
from upm_cli.tui.text import error_text
from upm_cli.tui.widgets.rows import Rows
from upm_cli.tui.widgets.top_line import Heading, TopLine

WIDE, HUGE = 100, 160  # columns from which a screen shows more


class BoardScreen(Screen[None]):
    """One of the numbered screens."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (WIDE, "-wide"), (HUGE, "-huge")]  # noqa: RUF012
    NAME: ClassVar[str]
    LABEL: ClassVar[str]

    def __init__(self, project: Project) -> None:
        super().__init__()
        self.project = project
        self._board: Board | None = None

    def compose(self) -> ComposeResult:
        yield TopLine()
        yield Static(id="trouble", markup=False)
        yield from self.body()
        yield Footer(compact=True, show_command_palette=False)

    def body(self) -> Sequence[Widget]:
        """Return the widgets between the top line and the keys."""
        raise NotImplementedError

    @property
    def parts(self) -> frozenset[Part]:
        """What this screen shows of a board, besides the overview."""
        raise NotImplementedError

    def draw(self, board: Board) -> None:
        """Show `board`; called when it changed and when the size did. A part that is None is not read yet."""
        raise NotImplementedError

    def words(self, trainer: str | None) -> Sequence[str]:
        """Return the command, after `upm`, that prints what this screen shows."""
        raise NotImplementedError

    def show(self, board: Board | None, heading: Heading, trouble: UpmError | None) -> None:
        """Show what was read last; with `trouble`, say so and grey the rest."""
        self.query_one(TopLine).show(heading)
        place = self.query_one("#trouble", Static)
        if trouble is not None:
            place.update(f"✗ {error_text(trouble)}")
        self.set_class(trouble is not None, "-trouble")
        self._board = board
        if board is not None:
            self.draw(board)

    def on_resize(self, event: events.Resize) -> None:
        for rows in self.query(Rows):
            rows.forget_widths()
        if self._board is not None:
            self.draw(self._board)

    def pick(self, narrow: Sequence[str], wide: Sequence[str], huge: Sequence[str]) -> Sequence[str]:
        """Return what belongs to the present width."""
        width = self.app.size.width
        return huge if width >= HUGE else wide if width >= WIDE else narrow
