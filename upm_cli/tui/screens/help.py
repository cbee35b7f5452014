"""What the keys of a screen do, and the command that does the same."""

from collections.abc import Sequence
from typing import ClassVar, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from upm_cli.tui.project import Project

Lines = Sequence[tuple[str, str, tuple[str, ...]]]

_ACT: Final[Lines] = (
    ("s", "take a snapshot", ("snapshot", "create", "{}")),
    ("a", "activate the version under the cursor, or the newest", ("activate", "{}", "VERSION")),
    ("b", "roll back to the last known good version", ("rollback", "{}")),
    ("p", "pause the trainer, or let it go on", ("pause", "{}")),
)
_MOVE: Final[Lines] = (
    ("1 2", "the screens: overview, snapshots", ()),
    ("j k g G", "down, up, top, bottom; the arrow keys too", ()),
    ("Enter Esc", "into the trainer's snapshots, and back", ()),
    ("y ? q", "copy the command that prints this screen; this help; quit", ()),
)
_OWN: Final[dict[str, Lines]] = {
    "overview": (),
    "snapshots": (
        ("v", "read the snapshot back and prove every byte", ("snapshot", "verify", "{}", "VERSION")),
        ("V", "the same for all of them", ("snapshot", "verify", "{}", "--all")),
        ("i", "pin it: gc never deletes it; again: let go", ("snapshot", "pin", "{}", "VERSION")),
    ),
}


class Help(ModalScreen[None]):
    """A page over the screen; any of the keys below closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark,enter", "dismiss", "Close")]

    def __init__(self, screen: str, title: str, trainer: str | None, project: Project, *, read_only: bool) -> None:
        super().__init__()
        self._about = (screen, title)
        self._trainer, self._project, self._read_only = trainer or "TRAINER", project, read_only

    def compose(self) -> ComposeResult:
        screen, title = self._about
        with VerticalScroll(id="page") as page:
            page.border_title = f"Help — {title}"
            page.border_subtitle = "Esc closes"
            yield Static(self._text(screen))

    def _text(self, screen: str) -> Text:
        text = Text()
        closed = "Acting (READ-ONLY: these keys do nothing)" if self._read_only else "Acting: asks first, y goes on"
        for title, lines in (("Moving", _MOVE), (closed, _ACT), ("Here", _OWN.get(screen, ()))):
            if lines:
                text.append(f"{title}\n", style="bold")
                for key, what, words in lines:
                    text.append(f"  {key:<10}", style="bold")
                    text.append(f"{what}\n")
                    if words:
                        command = " ".join(["upm", *words]).replace("{}", self._trainer)
                        text.append(f"  {'':<10}{command}\n", style="dim")
        text.rstrip()
        return text
