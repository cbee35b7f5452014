"""What the keys do, for one screen, and the commands that do the same. It fits 80x24."""

from collections.abc import Sequence
from typing import ClassVar, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from upm_cli.tui.keys import ACTIONS, Key
from upm_cli.tui.project import Project
from upm_cli.tui.text import QUIET

_COMMAND: Final = 36  # columns of a command
Lines = Sequence[tuple[str, str]]

_MOVE: Final[Lines] = (
    ("1 … 7", "the screens"),
    ("j k g G", "down, up, top, bottom"),
    ("Enter Esc", "into it, and back"),
    ("< > Tab", "trainer, pane"),
    ("[ ] \\", "back in time, on, now"),
    ("space", "freeze the screen"),
)
_LOOK: Final[Lines] = (
    ("/", "filter: re !not ~fuzzy k=v"),
    (":", "go to: :drift main  :at 2h"),
    ("^p", "every command of upm"),
    ("o w", "sort by, all columns"),
    ("y t ^s", "copy, colours, picture"),
    ("? q", "this help, quit"),
)
_OWN: Final[dict[str, Lines]] = {
    "overview": (("Enter", "the snapshots of the trainer"),),
    "snapshots": (
        ("Enter d", "compare with the marked one, else with what is live"),
        ("m", "mark the one that others are compared with"),
        ("v V", "read it back, or all, and prove every byte"),
    ),
    "drift": (
        ("Tab", "windows, tenants, features; Enter: all of one"),
        ("◆ ▼", "on the axis: quarantined, rolled back"),
    ),
    "rollout": (("Tab", "gates, tenants, decisions; Enter: all of one"),),
    "agents": (("r", "deliver now what was given up: upm sync retry"), ("Enter", "all of one agent")),
    "events": (("Enter", "all of one, with its numbers"), ("G", "to the end, and on with what comes")),
    "workers": (("Enter", "all that it said, its error too"),),
}


class Help(ModalScreen[None]):
    """A page over the screen; any of the keys below closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark,enter", "dismiss", "Close")]

    def __init__(self, screen: str, title: str, trainer: str | None, project: Project, *, why_not: str) -> None:
        super().__init__()
        self._about = (screen, title)
        longest = max(len(_command(key, trainer or "")) for key in ACTIONS)
        self._trainer = trainer if trainer and longest <= _COMMAND else "TRAINER"  # no command is ever cut
        self._project, self._why_not = project, why_not

    def compose(self) -> ComposeResult:
        screen, title = self._about
        with VerticalScroll(id="help") as page:
            page.border_title = Text.assemble(("Help", "bold"), f"  {title}")
            page.border_subtitle = Text("Esc closes", style=QUIET)
            yield Static(self._text(screen))

    def _text(self, screen: str) -> Text:
        text = Text.assemble((f"{'Moving':<36}", "bold cyan"), ("Looking", "bold cyan"))
        for left, right in zip(_MOVE, _LOOK, strict=True):
            text.append("\n")
            text.append(_pair(*left, 36))
            text.append(_pair(*right, 38))
        text.append("\nActing", style="bold cyan")
        text.append(
            f"  {self._why_not}" if self._why_not else "  asks first, only y goes on",
            style="yellow" if self._why_not else QUIET,
        )
        for key in ACTIONS:
            text.append("\n")
            text.append(_pair(key.key, key.does, 38))
            text.append(_command(key, self._trainer), style=QUIET)
        text.append("\nHere", style="bold cyan")
        for name, does in _OWN.get(screen, ()):
            text.append("\n")
            text.append(_pair(name, does, 72))
        return text


def _command(key: Key, trainer: str) -> str:
    return f"upm {key.words.replace('{}', trainer)}"


def _pair(key: str, does: str, width: int) -> Text:
    text = Text.assemble((f" {key:<9} ", "bold"), does)
    text.truncate(width, overflow="ellipsis")
    text.append(" " * max(0, width - text.cell_len))
    return text
