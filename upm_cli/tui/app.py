"""The dashboard as a program: its screens, and where keys, the prompt and the palette lead."""

from functools import partial
from pathlib import Path
from typing import ClassVar, Final

from rich.text import Text
from textual.binding import BindingType
from textual.filter import LineFilter
from textual.theme import Theme
from textual.widgets import DataTable

from upm_cli.ids import iso
from upm_cli.store import fsio
from upm_cli.tui import goto, messages
from upm_cli.tui.acting import Acting
from upm_cli.tui.ascii import PlainSigns
from upm_cli.tui.board import BoardReader
from upm_cli.tui.filtering import Filter
from upm_cli.tui.keys import bindings
from upm_cli.tui.palette import Commands
from upm_cli.tui.project import CliCommand, Project
from upm_cli.tui.reading import REFRESH_S
from upm_cli.tui.screens.agents import Agents
from upm_cli.tui.screens.base import BoardScreen
from upm_cli.tui.screens.detail import command_text
from upm_cli.tui.screens.drift import Drift
from upm_cli.tui.screens.events import Events
from upm_cli.tui.screens.help import Help
from upm_cli.tui.screens.overview import Overview
from upm_cli.tui.screens.prompt import Prompt
from upm_cli.tui.screens.rollout import Rollout
from upm_cli.tui.screens.snapshots import Snapshots
from upm_cli.tui.screens.workers import Workers
from upm_cli.tui.text import plain
from upm_cli.tui.theme import UPM, terminal_theme

SCREENS: Final[tuple[type[BoardScreen], ...]] = (Overview, Snapshots, Drift, Rollout, Agents, Events, Workers)


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
        reader: BoardReader | None = None,
    ) -> None:
        super().__init__(project, read_only=read_only, reader=reader, at_ms=at_ms)
        self.animation_level = "none"
        self._first = screen
        self._plain_signs = PlainSigns(enabled=project.is_ascii)
        self.register_theme(UPM)

    def on_mount(self) -> None:
        self.theme_changed_signal.subscribe(self, self._theme_changed)
        wanted = self.project.settings.ui.theme
        self.theme = wanted if wanted in self.available_themes else UPM.name
        self._use_colours(self.current_theme)
        for screen in SCREENS:
            self.add_mode(screen.NAME, partial(screen, self.project, self.flow))
        self.switch_mode(self._first)
        self.set_interval(REFRESH_S, self.refresh_board)
        self.call_after_refresh(self._begin)

    def _begin(self) -> None:
        """Show the frame before anything is read, as that takes longer."""
        self.show_board()
        self.look()

    def get_line_filters(self) -> list[LineFilter]:
        found = list(super().get_line_filters())
        return [*found, self._plain_signs] if self._plain_signs.enabled else found

    def _theme_changed(self, theme: Theme) -> None:
        self._use_colours(theme)
        if self.base is not None:
            self.base.redraw()

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
        await self.switch_mode(name)
        self.show_board()
        self.look()

    def action_trainer(self, by: int) -> None:
        """Choose the next trainer, or the one before."""
        names = list(self._board.details) if self._board is not None else []
        if self._wanted in names:
            self.choose(names[(names.index(self._wanted) + by) % len(names)])
            base = self.base
            if isinstance(base, Overview) and base.listing is not None and self._wanted is not None:
                base.listing.go_to(self._wanted)

    def action_pane(self, by: int) -> None:
        if self.base is not None:
            self.base.pane(by)

    async def action_up(self) -> None:
        """Take the filter away; without one go one level up."""
        listing = self.base.listing if self.base is not None else None
        if listing is not None and listing.filter:
            listing.set_filter(Filter())
        elif self.current_mode != Overview.NAME:
            await self.action_go(Overview.NAME)
        elif self._at_ms is not None:
            self.action_now()

    async def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Enter goes into what the cursor is on."""
        base = self.base
        if isinstance(base, Overview):
            await self.action_go(Snapshots.NAME)
        elif isinstance(base, Snapshots):
            base.action_diff()
        elif base is not None:
            found = base.detail()
            if found is not None:
                title, text, words = found
                self.show_detail(title, text, self.project.command(words))

    def action_filter(self) -> None:
        base = self.base
        listing = base.listing if base is not None else None
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
        listing = self.base.listing if self.base is not None else None
        if listing is not None:
            listing.set_filter(Filter.parse(found.filter))
            if found.row is not None and not listing.go_to(found.row):
                self.say(f"there is no v{found.row} here", severity="warning")

    # Looking

    def action_sort(self) -> None:
        listing = self.base.listing if self.base is not None else None
        if listing is not None:
            listing.next_sort()

    def action_wide(self) -> None:
        listing = self.base.listing if self.base is not None else None
        if listing is not None:
            listing.widen()

    def action_copy(self) -> None:
        """Copy the command that prints what is on the screen."""
        base = self.base
        if base is not None:
            words = (
                ("at", iso(self._at_ms), *([self._wanted] if self._wanted else ())) if self._at_ms is not None else None
            )
            self.copy(self.project.command(words or base.words(self._wanted)))

    def action_theme(self) -> None:
        self.search_themes()

    def action_picture(self) -> None:
        """Save the screen as an SVG in the working folder."""
        name = f"upm-{self.current_mode}-{iso(self.project.clock.now_ms())[:19].replace(':', '')}Z.svg"
        path, picture = Path.cwd() / name, self.export_screenshot(title=f"upm {self.project.folder.name}")
        self.in_thread(partial(self._save, path, picture), messages.Failed)

    def _save(self, path: Path, picture: str) -> messages.Told:
        fsio.durable_write(path, picture.encode())
        return messages.Told(f"saved {path}")

    def action_help(self) -> None:
        base = self.base
        if base is not None:
            self.push_screen(Help(base.NAME, base.LABEL, self._wanted, self.project, why_not=self.why_not))

    def show_command(self, command: CliCommand) -> None:
        """Show the help of a command that has no key."""
        title, text = command_text(command.name, command.usage, command.text)
        self.show_detail(title, Text(text.plain), self.project.command(command.name.split()))
