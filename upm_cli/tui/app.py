"""The dashboard as a program: its screens, and where keys, the prompt and the palette lead."""

import gc
from functools import partial
from pathlib import Path
from typing import ClassVar, Final

from textual.binding import BindingType
from textual.filter import LineFilter
from textual.theme import Theme

from upm_cli.ids import iso
from upm_cli.store import fsio
from upm_cli.tui import goto, messages
from upm_cli.tui.acting import Acting
from upm_cli.tui.ascii import PlainSigns
from upm_cli.tui.filtering import Filter
from upm_cli.tui.flow import Flow
from upm_cli.tui.keys import bindings
from upm_cli.tui.palette import Commands
from upm_cli.tui.project import CliCommand, Project
from upm_cli.tui.reading import REFRESH_S, Live
from upm_cli.tui.screens.agents import Agents
from upm_cli.tui.screens.base import BoardView
from upm_cli.tui.screens.detail import command_text
from upm_cli.tui.screens.drift import Drift
from upm_cli.tui.screens.events import Events
from upm_cli.tui.screens.help import Help
from upm_cli.tui.screens.main import Main
from upm_cli.tui.screens.overview import Overview
from upm_cli.tui.screens.prompt import Prompt
from upm_cli.tui.screens.rollout import Rollout
from upm_cli.tui.screens.snapshots import Snapshots
from upm_cli.tui.screens.workers import Workers
from upm_cli.tui.text import plain
from upm_cli.tui.theme import UPM, terminal_theme
from upm_cli.tui.widgets.rows import Rows

_PREPARE_AFTER_S: Final = 1.0  # the first numbers come first
_PREPARE_EVERY_S: Final = 0.1
SCREENS: Final[tuple[type[BoardView], ...]] = (Overview, Snapshots, Drift, Rollout, Agents, Events, Workers)


class Dashboard(Acting):
    """The live view of a project."""

    CSS_PATH = "upm.tcss"
    TITLE = "upm"
    COMMANDS = {Commands}  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [*bindings()]

    def __init__(
        self,
        project: Project,
        *,
        read_only: bool = False,
        screen: str = Overview.NAME,
        at_ms: int | None = None,
        reader: Live | None = None,
    ) -> None:
        flow = Flow()
        main = Main([each(project, flow) for each in SCREENS], screen)
        super().__init__(project, main, flow, read_only=read_only, reader=reader, at_ms=at_ms)
        self.animation_level = "none"
        self._plain_signs = PlainSigns(enabled=project.is_ascii)
        self.register_theme(UPM)

    def on_mount(self) -> None:
        self.theme_changed_signal.subscribe(self, self._theme_changed)
        wanted = self.project.settings.ui.theme
        self.theme = wanted if wanted in self.available_themes else UPM.name
        self._use_colours(self.current_theme)
        self.set_interval(REFRESH_S, self.refresh_board)
        self.call_after_refresh(self._begin)

    def _begin(self) -> None:
        """Show the frame before anything is read, as that takes longer; make the other views when that is done."""
        self.show_board()
        self.look()
        self.set_timer(_PREPARE_AFTER_S, self._prepare)

    async def _prepare(self) -> None:
        """Make one more view, so that nobody has to wait for it; when all are there, let memory rest."""
        for name in self.main.views:
            if await self.main.prepare(name):
                self.set_timer(_PREPARE_EVERY_S, self._prepare)
                return
        gc.collect()
        gc.freeze()  # what is there now stays, so that collecting garbage never holds up a key

    def get_line_filters(self) -> list[LineFilter]:
        found = list(super().get_line_filters())
        return [*found, self._plain_signs] if self._plain_signs.enabled else found

    def _theme_changed(self, theme: Theme) -> None:
        self._use_colours(theme)
        self.base.redraw(colours=True)

    def _use_colours(self, theme: Theme) -> None:
        """Let red, yellow and green mean what they are in `theme`."""
        if not theme.ansi:
            colours = terminal_theme(theme)
            if theme.dark:
                self.ansi_theme_dark = colours
            else:
                self.ansi_theme_light = colours

    # Moving

    async def action_go(self, name: str) -> None:
        await self.main.go(name)
        self.show_board()
        self.call_after_refresh(self.look)  # the frame comes first

    def action_trainer(self, by: int) -> None:
        """Choose the next trainer, or the one before."""
        names = list(self._board.details) if self._board is not None else []
        if self._wanted in names:
            self.choose(names[(names.index(self._wanted) + by) % len(names)])
            base = self.base
            if isinstance(base, Overview) and base.listing is not None and self._wanted is not None:
                base.listing.go_to(self._wanted)

    def action_pane(self, by: int) -> None:
        self.base.pane(by)

    def action_compare(self) -> None:
        if isinstance(self.base, Snapshots):
            self.base.compare()

    def action_mark(self) -> None:
        if isinstance(self.base, Snapshots):
            self.base.mark()

    def action_verify(self, every: bool) -> None:
        if isinstance(self.base, Snapshots):
            self.base.verify(every)

    async def action_up(self) -> None:
        """Take the filter away; without one go one level up. What is said in the corner goes too."""
        self.clear_notifications()
        listing = self.base.listing
        if listing is not None and listing.filter:
            listing.set_filter(Filter())
        elif self.base.NAME != Overview.NAME:
            await self.action_go(Overview.NAME)
        elif self._at_ms is not None:
            self.action_now()

    def action_row(self, by: int) -> None:
        if self.base.listing is not None:
            self.base.listing.rows.move(by)

    def action_row_end(self, which: int) -> None:
        if self.base.listing is not None:
            self.base.listing.rows.end(which)

    def action_row_page(self, by: int) -> None:
        if self.base.listing is not None:
            self.base.listing.rows.page(by)

    async def on_rows_selected(self, event: Rows.Selected) -> None:
        await self.action_into()

    async def action_into(self) -> None:
        """Go into what the cursor is on."""
        base = self.base
        if isinstance(base, Overview):
            await self.action_go(Snapshots.NAME)
        elif isinstance(base, Snapshots):
            base.compare()
        else:
            found = base.detail()
            if found is not None:
                title, text, words = found
                self.show_detail(title, text, self.project.command(words))

    def action_filter(self) -> None:
        listing = self.base.listing
        if listing is not None:
            before = listing.filter.text
            hint = "regex   !not   ~fuzzy   key=value   (Enter keeps it, Esc does not)"
            prompt = Prompt("/", hint, value=before, changed=lambda text: listing.set_filter(Filter.parse(text)))
            self.push_screen(prompt, lambda text: listing.set_filter(Filter.parse(before)) if text is None else None)

    def action_goto(self) -> None:
        names = list(self._board.details) if self._board is not None else []
        themes = list(self.available_themes)
        hint = "overview  snapshots  drift  rollout  agents  events  workers  at 2h  now  theme  quit"
        prompt = Prompt(
            ":",
            hint,
            check=lambda text: self._checked(goto.parse(text, names)),
            complete=lambda text: goto.complete(text, names, themes),
        )

        async def go(text: str | None) -> None:
            if text and text.strip():
                await self.go_to(goto.parse(text, names))

        self.push_screen(prompt, go)

    def _checked(self, found: goto.Goto) -> None:
        if found.filter:
            Filter.parse(found.filter)
        if found.verb == "at":
            self.project.moment(found.argument, self.project.clock.now_ms())

    async def go_to(self, found: goto.Goto) -> None:
        """Go where a typed line leads."""
        if found.verb == "quit":
            self.exit()
        elif found.verb == "help":
            self.action_help()
        elif found.verb == "now":
            self.action_now()
        elif found.verb == "at":
            self.travel(self.project.moment(found.argument, self.project.clock.now_ms()))
        elif found.verb == "theme":
            if found.argument in self.available_themes:
                self.theme = found.argument
            else:
                self.say(f"no theme {plain(found.argument)!r}: t lists them", severity="warning")
        else:
            await self._go_to_screen(found)

    async def _go_to_screen(self, found: goto.Goto) -> None:
        if found.trainer is not None:
            self._wanted, self._strips = found.trainer, None
        await self.action_go(found.screen)
        listing = self.base.listing
        if listing is not None:
            listing.set_filter(Filter.parse(found.filter))
            if found.row is not None and not listing.go_to(found.row):
                self.say(f"there is no v{found.row} here", severity="warning")

    # Looking

    def action_sort(self) -> None:
        listing = self.base.listing
        if listing is not None:
            listing.next_sort()

    def action_wide(self) -> None:
        listing = self.base.listing
        if listing is not None:
            listing.widen()

    def action_copy(self) -> None:
        """Copy the command that prints what is on the screen."""
        trainer = [self._wanted] if self._wanted else []
        words = self.base.words(self._wanted) if self._at_ms is None else ("at", iso(self._at_ms), *trainer)
        self.copy(self.project.command(words))

    def action_theme(self) -> None:
        self.search_themes()

    def action_picture(self) -> None:
        """Save the screen as an SVG in the working folder."""
        name = f"upm-{self.base.NAME}-{iso(self.project.clock.now_ms())[:19].replace(':', '')}Z.svg"
        path, picture = Path.cwd() / name, self.export_screenshot(title=f"upm {self.project.folder.name}")
        self.in_thread(partial(self._save, path, picture), messages.Failed)

    def _save(self, path: Path, picture: str) -> messages.Told:
        fsio.durable_write(path, picture.encode())
        return messages.Told(f"saved {path}")

    def action_help(self) -> None:
        base = self.base
        self.push_screen(Help(base.NAME, base.LABEL, self._wanted, self.project, why_not=self.why_not))

    def show_command(self, command: CliCommand) -> None:
        """Show the help of a command that has no key."""
        title, text = command_text(command.name, command.usage, command.text)
        self.show_detail(title, text, self.project.command(command.name.split()))
