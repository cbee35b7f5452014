"""The frame around the numbered screens: the top line, a place for trouble, the keys; one of the screens is seen.

All of them live in one Textual screen, so that going to another one is a matter of milliseconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.screen import Screen
from textual.widgets import Static

from upm_cli.errors import UpmError
from upm_cli.tui.board import Board
from upm_cli.tui.screens.base import HUGE, WIDE, BoardView
from upm_cli.tui.text import error_text
from upm_cli.tui.widgets.key_bar import KeyBar, Keys
from upm_cli.tui.widgets.top_line import Heading, TopLine


class Main(Screen[None]):
    """Shows one view at a time. The others are made while nobody waits for them, or when somebody goes there."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (WIDE, "-wide"), (HUGE, "-huge")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [  # else Textual moves the focus, which nothing here has
        Binding("tab", "app.pane(1)", "Next pane", show=False, priority=True),
        Binding("shift+tab", "app.pane(-1)", "Pane before", show=False, priority=True),
    ]

    def __init__(self, views: Sequence[BoardView], first: str) -> None:
        super().__init__()
        self.views: Mapping[str, BoardView] = {view.NAME: view for view in views}
        self._seen, self._said = first, ""
        self._top, self._trouble, self._keys = TopLine(), Static(id="trouble", markup=False), KeyBar()

    def compose(self) -> ComposeResult:
        yield self._top
        yield self._trouble
        yield Container(self.view, id="views")
        yield self._keys

    @property
    def view(self) -> BoardView:
        """The view that is seen."""
        return self.views[self._seen]

    @property
    def is_whole(self) -> bool:
        """Whether all of the frame is there: not before it is made, nor when the dashboard is being closed."""
        return self._top.is_attached and self._trouble.is_attached and self._keys.is_attached

    async def go(self, name: str) -> None:
        """Let the view `name` be seen."""
        if name != self._seen:
            await self.prepare(name)
            self.view.display = False
            self._seen = name
            self.view.display = True

    async def prepare(self, name: str) -> bool:
        """Make the view `name`, unseen; False: it is there already."""
        view, places = self.views[name], self.query("#views")
        if view.is_attached or not places:  # without a place the dashboard is being closed
            return False
        view.display = False
        await places.first().mount(view)
        return True

    def show(self, board: Board | None, heading: Heading, trouble: UpmError | None, *, may_change: bool) -> None:
        """Show what was read last; with `trouble`, say so and grey the rest."""
        view, is_past = self.view, board is not None and board.past is not None
        said = "" if trouble is None else f"✗ {error_text(trouble)}"
        if said != self._said:
            self._said = said
            self._trouble.update(said)
        self.set_class(trouble is not None, "-trouble")
        self.set_class(is_past, "-past")
        self.set_class(heading.frozen_s is not None, "-frozen")
        view.show(board)
        self._top.show(replace(heading, path=view.path))
        keys = Keys(screen=view.NAME, here=view.KEYS, may_change=may_change and not is_past, is_past=is_past)
        self._keys.show(keys)
