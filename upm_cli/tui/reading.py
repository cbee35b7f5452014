"""How the dashboard reads: a look a second in a thread, of now or of an instant that is over, and what follows."""

import threading
from bisect import bisect_left, bisect_right
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from textual import on
from textual.message import Message

from upm_cli.errors import UpmError
from upm_cli.tui import messages
from upm_cli.tui.board import Board, Part
from upm_cli.tui.flow import Flow
from upm_cli.tui.project import Project
from upm_cli.tui.screens.base import BoardView
from upm_cli.tui.screens.main import Main
from upm_cli.tui.threads import Threaded
from upm_cli.tui.widgets.top_line import Heading

if TYPE_CHECKING:
    from upm_cli.ops.strips import Strips
    from upm_cli.ops.then import Moment
    from upm_cli.tui.readers import Readers

REFRESH_S: Final = 1.0
STRIPS_S: Final = 5.0  # strips are read again after so long at the earliest


class Live(Protocol):
    """What boards of now are read with."""

    def read(self, wanted: str | None, parts: frozenset[Part]) -> Board: ...


class Reading(Threaded):
    """What the dashboard knows of a project, and since when."""

    def __init__(
        self,
        project: Project,
        main: Main,
        flow: Flow,
        *,
        read_only: bool,
        reader: Live | None = None,
        at_ms: int | None = None,
    ) -> None:
        super().__init__()
        self.project, self.flow = project, flow
        self.main = main
        self._read_only = read_only
        self._reader = reader  # None: what `_readers` has
        self._readers: Readers | None = None
        self._opening = threading.Lock()
        self._board: Board | None = None
        self._trouble: UpmError | None = None
        self._read_at_s = project.clock.monotonic_s()
        self._wanted: str | None = None
        self._at_ms = at_ms  # the instant that is shown; None: now
        self._moments: tuple[Moment, ...] = ()
        self._frozen_at_s: float | None = None
        self._is_reading = self._reads_again = False
        self._strips: Strips | None = None
        self._strips_of: object = None
        self._strips_at_s = -STRIPS_S
        self._is_reading_strips = False
        self._is_closing = False  # threads that read for long stop then

    def on_unmount(self) -> None:
        self._is_closing = True
        if self._readers is not None:
            self._readers.close()

    def _open_readers(self) -> "Readers":
        """Return the readers; to be called in threads, as what they need takes longer to import than a first frame."""
        with self._opening:
            if self._readers is None:
                from upm_cli.tui.readers import Readers

                self._readers = Readers(self.project)
            return self._readers

    def get_default_screen(self) -> Main:
        return self.main

    @property
    def base(self) -> BoardView:
        """The view below any dialog."""
        return self.main.view

    @property
    def why_not(self) -> str:
        """Why nothing can be changed now; empty: it can."""
        if self._read_only:
            return "READ-ONLY: the keys that change something do nothing"
        return "this is the past, which can't be changed: \\ goes back to now" if self._at_ms is not None else ""

    @property
    def is_at_rest(self) -> bool:
        """Whether something is on the screen and no thread works on more of it."""
        is_reading = self._is_reading or self._reads_again or self._is_reading_strips
        return (self._board is not None or self._trouble is not None) and not is_reading and not self.workers

    # Looking

    def refresh_board(self) -> None:
        """Look again, as each second; not while the screen is frozen or shows the past."""
        if self._frozen_at_s is None and self._at_ms is None:
            self.look()
        else:
            self.show_board()

    def look(self) -> None:
        """Read the board in a thread; when one is being read, once more after it."""
        if self._is_reading:
            self._reads_again = True
            return
        self._is_reading, self._reads_again = True, False
        self.in_thread(partial(self._read, self._at_ms, self._wanted, self.base.parts), messages.BoardFailed)

    def _read(self, at_ms: int | None, wanted: str | None, parts: frozenset[Part]) -> messages.BoardRead:
        if at_ms is None:
            reader = self._reader or self._open_readers().live
            return messages.BoardRead(reader.read(wanted, parts))
        text = next((each.text for each in self._moments if each.at_ms == at_ms), "")
        return messages.BoardRead(self._open_readers().past.read(at_ms, text, wanted, parts), at_ms)

    @on(messages.BoardRead)
    def _board_read(self, message: messages.BoardRead) -> None:
        if message.asked_at_ms == self._at_ms:
            board = message.board
            if board.trainer != (self._board.trainer if self._board is not None else None):
                self._strips = None
            self._board, self._trouble = board, None
            if self._wanted not in board.details:
                self._wanted = board.trainer
            self._read_at_s = self.project.clock.monotonic_s()
            if board.past is None:
                self.flow.note(board.overview, board.at_ms)
        self._looked()
        self._look_at_strips()

    @on(messages.BoardFailed)
    def _board_failed(self, message: messages.BoardFailed) -> None:
        self._trouble = message.error
        self._looked()

    def _looked(self) -> None:
        self._is_reading = False
        self.show_board()
        if self._reads_again:
            self.look()

    def show_board(self) -> None:
        """Show what was read last on the screen one is on."""
        if not (self.main.is_whole and self.main.view.is_mounted):
            return
        clock, board = self.project.clock, self._board
        now_s = clock.monotonic_s()
        troubles = () if board is None else (board.troubles.get(part) for part in sorted(self.base.parts))
        trouble = self._trouble or next((each for each in troubles if each is not None), None)
        if board is not None and self._strips is not None and board.trainer == self._strips.trainer:
            board = board.with_strips(self._strips)
        heading = Heading(
            folder=self.project.folder,
            read_only=self._read_only,
            board=board,
            now_ms=clock.now_ms(),
            stale_s=None if self._trouble is None else now_s - self._read_at_s,
            frozen_s=None if self._frozen_at_s is None else now_s - self._frozen_at_s,
        )
        self.main.show(board, heading, trouble, may_change=not self.why_not)

    @on(messages.Chosen)
    def _chosen(self, message: messages.Chosen) -> None:
        self.choose(message.trainer)

    def choose(self, trainer: str) -> None:
        """Show the drift, snapshots and rollout of `trainer` from now on."""
        if trainer != self._wanted:
            self._wanted, self._strips = trainer, None
            self.call_after_refresh(self.look)  # the cursor moves first

    # Strips, which take longer than a look

    def _look_at_strips(self) -> None:
        board = self._board
        if board is None or board.drift is None or board.trainer is None or self._is_reading_strips:
            return
        windows = [line.window for line in board.drift.lines]
        asked = (board.trainer, self._at_ms, tuple((window.window_id, window.last_seq) for window in windows))
        now_s = self.project.clock.monotonic_s()
        is_due = asked != self._strips_of and (self._strips is None or now_s - self._strips_at_s >= STRIPS_S)
        if Part.STRIPS in self.base.parts and is_due:
            self._is_reading_strips, self._strips_at_s = True, now_s
            self.in_thread(partial(self._read_strips, board, asked), messages.StripsFailed)

    def _read_strips(self, board: Board, asked: object) -> Message | None:
        last, is_left = None, False

        def goes_on() -> bool:
            nonlocal is_left
            is_left = is_left or self._is_closing or Part.STRIPS not in self.base.parts
            return not is_left

        for last in self._open_readers().strips(board, goes_on):
            self.post_message(messages.StripsRead(last, asked, is_whole=False))  # tenants, while features are read
        return messages.StripsLeft() if last is None or is_left else messages.StripsRead(last, asked, is_whole=True)

    @on(messages.StripsRead)
    def _strips_read(self, message: messages.StripsRead) -> None:
        is_wanted = message.strips.trainer == self._wanted
        if is_wanted and (message.is_whole or self._strips is None or not self._strips.features):
            self._strips = message.strips
            self.show_board()
        if message.is_whole:
            self._is_reading_strips, self._strips_of = False, message.asked if is_wanted else None

    @on(messages.StripsLeft)
    def _strips_left(self, message: messages.StripsLeft) -> None:
        self._is_reading_strips, self._strips_at_s = False, -STRIPS_S  # what was read of closed windows is remembered

    @on(messages.StripsFailed)
    def _strips_failed(self, message: messages.StripsFailed) -> None:
        self._is_reading_strips = False

    # Time

    def travel(self, at_ms: int | None) -> None:
        """Show the instant `at_ms` from now on; None: now."""
        if at_ms != self._at_ms:
            self._at_ms, self._strips = at_ms, None
            self._frozen_at_s = None
            self.look()

    def action_step(self, by: int) -> None:
        """Go back, or forward, to the next moment at which something was recorded."""
        if self._at_ms is None and by > 0:
            self.say("this is now; [ goes back to what was recorded before")
        elif self._at_ms is None or not self._moments:
            self.in_thread(lambda: messages.MomentsRead(self._open_readers().moments(), by), messages.BoardFailed)
        else:
            self._step(by)

    @on(messages.MomentsRead)
    def _moments_read(self, message: messages.MomentsRead) -> None:
        self._moments = message.moments
        self._step(message.by)

    def _step(self, by: int) -> None:
        times = [each.at_ms for each in self._moments]
        if self._at_ms is None:
            at = len(times) + by
        else:
            at = bisect_left(times, self._at_ms) + by if by < 0 else bisect_right(times, self._at_ms) - 1 + by
        if at < 0:
            self.say("nothing was recorded before that" if times else "nothing was recorded yet")
        else:
            self.travel(times[at] if at < len(times) else None)

    def action_now(self) -> None:
        """Show now again, and go on with it."""
        self._frozen_at_s = None
        self.travel(None)
        self.show_board()

    def action_freeze(self) -> None:
        """Let the screen stand still, or go on."""
        if self._at_ms is not None:
            self.say("the past stands still already: \\ goes back to now")
            return
        self._frozen_at_s = self.project.clock.monotonic_s() if self._frozen_at_s is None else None
        if self._frozen_at_s is None:
            self.look()
        self.show_board()
