"""The dashboard as a program: reads boards in threads, shows them on the screens, asks before it acts."""

from collections.abc import Callable
from functools import partial
from typing import ClassVar, Final

from textual import on
from textual.app import App
from textual.binding import Binding, BindingType
from textual.message import Message

from upm_cli.errors import UpmError
from upm_cli.tui import messages, plans
from upm_cli.tui.board import Board, BoardReader, Part
from upm_cli.tui.project import Project
from upm_cli.tui.screens.base import BoardScreen
from upm_cli.tui.screens.confirm import Confirm
from upm_cli.tui.screens.help import Help
from upm_cli.tui.screens.overview import Overview
from upm_cli.tui.screens.snapshots import Snapshots
from upm_cli.tui.text import error_text, plain
from upm_cli.tui.widgets.top_line import Heading

REFRESH_S: Final = 1.0
SCREENS: Final[tuple[type[BoardScreen], ...]] = (Overview, Snapshots)
_CHANGING: Final = ("snapshot", "activate", "rollback", "pause", "pin")


class Dashboard(App[None]):
    """The live view of a project."""

    CSS_PATH = "upm.tcss"
    TITLE = "upm"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", "go('overview')", "Overview"),
        Binding("2", "go('snapshots')", "Snapshots"),
        Binding("s", "snapshot", "Snapshot"),
        Binding("a", "activate", "Activate"),
        Binding("b", "rollback", "Roll back"),
        Binding("p", "pause", "Pause"),
        Binding("y", "copy", "Copy command", show=False),
        Binding("question_mark", "help", "Help", key_display="?"),
        Binding("q", "quit", "Quit", show=False),
    ]

    def __init__(
        self,
        project: Project,
        *,
        read_only: bool = False,
        screen: str = Overview.NAME,
        reader: BoardReader | None = None,
    ) -> None:
        super().__init__()
        self.animation_level = "none"
        self._project, self._read_only, self._first = project, read_only, screen
        self._reader = reader or BoardReader(project)
        self._board: Board | None = None
        self._trouble: UpmError | None = None
        self._read_at_s = project.clock.monotonic_s()
        self._wanted: str | None = None
        self._is_reading = self._is_acting = False
        self._reads_again = False

    def on_mount(self) -> None:
        for screen in SCREENS:
            self.add_mode(screen.NAME, partial(screen, self._project))
        self.switch_mode(self._first)
        self.set_interval(REFRESH_S, self.look)
        self.look()

    # Reading

    def look(self) -> None:
        """Read the board in a thread; when one is being read, once more after it."""
        if self._is_reading:
            self._reads_again = True
            return
        self._is_reading, self._reads_again = True, False
        base = self._base
        parts = base.parts if base is not None else frozenset[Part]()
        self._in_thread(lambda: messages.BoardRead(self._reader.read(self._wanted, parts)), messages.BoardFailed)

    @on(messages.BoardRead)
    def _board_read(self, message: messages.BoardRead) -> None:
        self._board, self._trouble = message.board, None
        if self._wanted not in message.board.details:
            self._wanted = message.board.trainer
        self._read_at_s = self._project.clock.monotonic_s()
        self._looked()

    @on(messages.BoardFailed)
    def _board_failed(self, message: messages.BoardFailed) -> None:
        self._trouble = message.error
        self._looked()

    def _looked(self) -> None:
        self._is_reading = False
        self._show()
        if self._reads_again:
            self.look()

    def _show(self) -> None:
        base = self._base
        if base is None or not base.is_mounted:
            return
        stale_s = None if self._trouble is None else self._project.clock.monotonic_s() - self._read_at_s
        heading = Heading(
            folder=self._project.folder,
            screen=base.LABEL,
            read_only=self._read_only,
            board=self._board,
            stale_s=stale_s,
        )
        base.show(self._board, heading, self._trouble)

    @property
    def _base(self) -> BoardScreen | None:
        """The screen below any dialog."""
        return next((each for each in self.screen_stack if isinstance(each, BoardScreen)), None)

    @on(messages.Chosen)
    def _chosen(self, message: messages.Chosen) -> None:
        if message.trainer != self._wanted:
            self._wanted = message.trainer
            self.look()

    # Moving

    async def action_go(self, name: str) -> None:
        await self.switch_mode(name)
        self._show()
        self.look()

    def action_copy(self) -> None:
        base = self._base
        if base is not None:
            command = self._project.command(base.words(self._wanted))
            self.copy_to_clipboard(command)
            self.notify(command, title="Copied, if your terminal lets programs copy", markup=False)

    def action_help(self) -> None:
        base = self._base
        if base is not None:
            self.push_screen(Help(base.NAME, base.LABEL, self._wanted, self._project, read_only=self._read_only))

    # Acting

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Grey the keys that change something when nothing may be changed; hide the one that leads to where we are."""
        if action == "go":
            return parameters != (self.current_mode,)
        return None if action in _CHANGING and self._read_only else True

    def action_snapshot(self) -> None:
        self._propose(plans.plan_snapshot)

    def action_activate(self) -> None:
        base = self._base
        shot = base.chosen if isinstance(base, Snapshots) else None
        self._propose(partial(plans.plan_activate, word=str(shot.version) if shot is not None else "latest"))

    def action_rollback(self) -> None:
        self._propose(plans.plan_rollback)

    def action_pause(self) -> None:
        self._propose(plans.plan_pause)

    def action_pin(self) -> None:
        base = self._base
        shot = base.chosen if isinstance(base, Snapshots) else None
        if shot is not None:
            self._propose(partial(plans.plan_pin, shot=shot))

    def _propose(self, plan: Callable[[Project, str], plans.Plan]) -> None:
        """Work the plan for the chosen trainer out in a thread."""
        base = self._base
        trainer = base.trainer if isinstance(base, Snapshots) else self._wanted
        if trainer is None or self._read_only or self._is_acting:
            return
        self._is_acting = True
        self._in_thread(lambda: messages.Planned(plan(self._project, trainer)), messages.Failed)

    @on(messages.Planned)
    def _planned(self, message: messages.Planned) -> None:
        self._is_acting = False
        if message.plan.settled:
            self.notify(message.plan.settled, markup=False)
        else:
            self.push_screen(Confirm(message.plan, self._project), partial(self._answered, message.plan))

    def _answered(self, plan: plans.Plan, reason: str | None) -> None:
        if reason is not None:
            self._is_acting = True
            self.notify(f"{plan.title} …", timeout=2, markup=False)
            self._in_thread(lambda: messages.Done(plan.act(reason)), messages.Failed)

    @on(messages.Done)
    def _done(self, message: messages.Done) -> None:
        self._is_acting = False
        self.notify(message.text, markup=False)
        self.look()

    @on(messages.Failed)
    def _failed(self, message: messages.Failed) -> None:
        self._is_acting = False
        self.notify(error_text(message.error), title=message.error.code, severity="error", timeout=15, markup=False)

    @on(messages.VerifyAsked)
    def _verify_asked(self, message: messages.VerifyAsked) -> None:
        shots = message.shots
        self._in_thread(lambda: messages.Verified(shots, plans.verify(self._project, shots)), messages.Failed)

    @on(messages.Verified)
    def _verified(self, message: messages.Verified) -> None:
        base = self._base
        if isinstance(base, Snapshots):
            base.note_verified(message.shots, message.found)
        damaged = [problem for problem in message.found.values() if problem]
        whole = len(message.found) - len(damaged)
        if damaged:
            self.notify("\n".join(map(plain, damaged)), title=f"{len(damaged)} damaged", severity="error", markup=False)
        else:
            self.notify(f"{whole} snapshot{'s' * (whole != 1)} read back: every byte is right", markup=False)

    def _in_thread(self, work: Callable[[], Message], failed: Callable[[UpmError], Message]) -> None:
        """Do `work` in a thread and post what it returns, or what `failed` makes of its error."""

        def run() -> None:
            try:
                message = work()
            except UpmError as exc:
                message = failed(exc)
            self.post_message(message)

        self.run_worker(run, thread=True)
