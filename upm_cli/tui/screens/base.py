"""What all screens have: the top line, a place for trouble, the keys at the bottom, and a board to show."""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.css.query import NoMatches
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Static

from upm_cli.core.records import Snapshot
from upm_cli.errors import UpmError
from upm_cli.tui.board import Board, Part
from upm_cli.tui.flow import Flow
from upm_cli.tui.project import Project
from upm_cli.tui.text import error_text
from upm_cli.tui.widgets.key_bar import KeyBar, Keys
from upm_cli.tui.widgets.listing import Listing
from upm_cli.tui.widgets.panes import TextPane
from upm_cli.tui.widgets.top_line import Heading, TopLine

WIDE, HUGE = 110, 170  # columns from which a screen shows more


class BoardScreen(Screen[None]):
    """One of the numbered screens."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (WIDE, "-wide"), (HUGE, "-huge")]  # noqa: RUF012
    NAME: ClassVar[str]
    LABEL: ClassVar[str]
    KEYS: ClassVar[tuple[str, ...]] = ("s", "a", "b", "p")  # of the line at the bottom, most useful first
    PANES: ClassVar[tuple[str, ...]] = ()  # lists that Tab goes through; a narrow screen shows one of them
    ONE_TRAINER: ClassVar[bool] = True  # whether it shows one trainer, not all of them

    def __init__(self, project: Project, flow: Flow) -> None:
        super().__init__()
        self.project, self.flow = project, flow
        self._board: Board | None = None
        self._pane = 0

    def compose(self) -> ComposeResult:
        yield TopLine()
        yield Static(id="trouble", markup=False)
        yield from self.body()
        yield KeyBar()

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

    def detail(self) -> tuple[str, Text, Sequence[str]] | None:
        """Return title, text and command of what the cursor is on, for Enter; None: there is nothing more to say."""
        return None

    @property
    def chosen(self) -> Snapshot | None:
        """The snapshot under the cursor, where there are snapshots."""
        return None

    @property
    def path(self) -> tuple[str, ...]:
        """The way to what is shown, for the top line."""
        trainer = self._board.trainer if self._board is not None and self.ONE_TRAINER else None
        return (trainer, self.LABEL) if trainer else (self.LABEL,)

    @property
    def listing(self) -> Listing | None:
        """The list that the keys work on: the pane one is in."""
        found = list(self.query(Listing))
        return next((each for each in found if each.has_focus_within), found[0] if found else None)

    def on_mount(self) -> None:
        self._show_pane()

    def pane(self, by: int) -> None:
        """Go to the next pane, or the one before."""
        if self.PANES:
            self._pane = (self._pane + by) % len(self.PANES)
            self._show_pane()
            self.query_one(f"#{self.PANES[self._pane]}", Listing).rows.focus()

    def go_to_pane(self, name: str) -> None:
        """Go to the pane `name`."""
        self._pane = self.PANES.index(name)
        self.pane(0)

    def _show_pane(self) -> None:
        for n, name in enumerate(self.PANES):
            listing = self.query_one(f"#{name}", Listing)
            listing.set_class(n == self._pane, "-shown")
            others = [*self.PANES[n + 1 :], *self.PANES[:n]]
            is_narrow = self.app.size.width < WIDE
            listing.hint = f" Tab: {', '.join(others)} " if others and is_narrow else ""

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        for n, name in enumerate(self.PANES):
            if event.widget.id == f"{name}-rows" and n != self._pane:
                self._pane = n
                self._show_pane()

    def show(self, board: Board | None, heading: Heading, trouble: UpmError | None, *, may_change: bool) -> None:
        """Show what was read last; with `trouble`, say so and grey the rest."""
        self._board = board
        is_past = board is not None and board.past is not None
        place = self.query_one("#trouble", Static)
        if trouble is not None:
            place.update(f"✗ {error_text(trouble)}")
        self.set_class(trouble is not None, "-trouble")
        self.set_class(is_past, "-past")
        self.set_class(heading.frozen_s is not None, "-frozen")
        if board is not None:
            self.draw(board)
        self.query_one(TopLine).show(replace(heading, path=self.path))
        keys = Keys(screen=self.NAME, here=self.KEYS, may_change=may_change and not is_past, is_past=is_past)
        self.query_one(KeyBar).show(keys)

    def on_resize(self, event: events.Resize) -> None:
        self._show_pane()
        for listing in self.query(Listing):
            listing.relayout()
        self.redraw()

    def redraw(self) -> None:
        """Draw the last board again."""
        for pane in self.query(TextPane):
            pane.forget()
        if self._board is not None:
            try:
                self.draw(self._board)
            except NoMatches:  # the size changed before everything was there
                return

    def pick(self, narrow: Sequence[str], wide: Sequence[str], huge: Sequence[str]) -> Sequence[str]:
        """Return what belongs to the present width."""
        width = self.app.size.width
        return huge if width >= HUGE else wide if width >= WIDE else narrow

    def no_trainers(self) -> str:
        """Return what to say, and to type, where there is no trainer."""
        return f"No trainers yet.\n\nNext:  {self.project.command(('train', '--source', 'FILE'))}"
