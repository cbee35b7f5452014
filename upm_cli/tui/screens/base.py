"""What all of the numbered screens have: a board to show, panes to go through, a command that prints the same."""

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import Container
from textual.css.query import NoMatches
from textual.geometry import Size
from textual.widget import Widget

from upm_cli.core.records import Snapshot
from upm_cli.tui.board import Board, Part
from upm_cli.tui.flow import Flow
from upm_cli.tui.project import Project
from upm_cli.tui.widgets.listing import Listing
from upm_cli.tui.widgets.panes import TextPane
from upm_cli.tui.widgets.rows import Rows

WIDE, HUGE = 110, 170  # columns from which a screen shows more


class BoardView(Container):
    """One of the numbered screens: what is between the top line and the keys."""

    NAME: ClassVar[str]
    LABEL: ClassVar[str]
    KEYS: ClassVar[tuple[str, ...]] = ("s", "a", "b", "p")  # of the line at the bottom, most useful first
    PANES: ClassVar[tuple[str, ...]] = ()  # lists that Tab goes through; a narrow screen shows one of them
    ONE_TRAINER: ClassVar[bool] = True  # whether it shows one trainer, not all of them

    def __init__(self, project: Project, flow: Flow) -> None:
        super().__init__(id=f"view-{self.NAME}")
        self.project, self.flow = project, flow
        self._board: Board | None = None
        self._pane = 0
        self._drawn_for: Size | None = None

    def compose(self) -> ComposeResult:
        yield from self.body()

    def body(self) -> Sequence[Widget]:
        """Return its widgets."""
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

    def detail(self) -> tuple[str, Text, Sequence[str]] | None:
        """Return title, text and command of what the cursor is on, for Enter; None: there is nothing more to say."""
        return None

    @property
    def chosen(self) -> Snapshot | None:
        """The snapshot under the cursor, where there are snapshots."""
        return None

    @property
    def adapter(self) -> str | None:
        """The adapter under the cursor, where there are agents."""
        return None

    @property
    def path(self) -> tuple[str, ...]:
        """The way to what is shown, for the top line."""
        trainer = self._board.trainer if self._board is not None and self.ONE_TRAINER else None
        return (trainer, self.LABEL) if trainer else (self.LABEL,)

    @property
    def listing(self) -> Listing | None:
        """The list that the keys work on: the pane one is in."""
        return self.query_one(f"#{self.PANES[self._pane]}", Listing) if self.PANES else None

    def on_mount(self) -> None:
        self._show_pane()

    def pane(self, by: int) -> None:
        """Go to the next pane, or the one before."""
        if self.PANES:
            self._pane = (self._pane + by) % len(self.PANES)
            self._show_pane()
            self.redraw()

    def on_listing_entered(self, event: Listing.Entered) -> None:
        if event.listing.id in self.PANES:
            self._pane = self.PANES.index(event.listing.id)
            self._show_pane()

    def _show_pane(self) -> None:
        is_narrow = self.app.size.width < WIDE
        for listing in self.query(Listing):
            if listing.id in self.PANES:
                n = self.PANES.index(listing.id)
                others = [*self.PANES[n + 1 :], *self.PANES[:n]]
                listing.set_class(n == self._pane, "-shown")
                listing.hint = f" Tab: {', '.join(others)} " if others and is_narrow else ""

    def show(self, board: Board | None) -> None:
        """Show what was read last."""
        self._board = board
        self._draw()

    def _draw(self) -> None:
        if self._board is not None:
            try:
                self.draw(self._board)
            except NoMatches:  # not everything is there yet, or not any more
                return

    def on_resize(self, event: events.Resize) -> None:
        if not event.size or event.size == self._drawn_for:
            return  # it was hidden, or is seen again
        self._drawn_for = event.size
        self._show_pane()
        for listing in self.query(Listing):
            listing.relayout()
        self.redraw()

    def redraw(self, *, colours: bool = False) -> None:
        """Draw the last board again; `colours`: everything, as the colours are others."""
        if colours:
            for rows in self.query(Rows):
                rows.redraw()
        for pane in self.query(TextPane):
            pane.forget()
        self._draw()

    def pick(self, narrow: Sequence[str], wide: Sequence[str], huge: Sequence[str]) -> Sequence[str]:
        """Return what belongs to the present width."""
        width = self.app.size.width
        return huge if width >= HUGE else wide if width >= WIDE else narrow

    def no_trainers(self) -> str:
        """Return what to say, and to type, where there is no trainer."""
        return f"No trainers yet.\n\nNext:  {self.project.command(('train', '--source', 'FILE'))}"
