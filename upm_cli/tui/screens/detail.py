"""Everything about one thing, over the screen: y copies the command that prints it."""

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.widgets import Static

from upm_cli.tui.screens.dialog import Dialog
from upm_cli.tui.text import QUIET


class Detail(Dialog[str | None]):
    """A page over the screen. Returns the command to copy, or None."""

    BOX, SCROLLS = "#page", "#page-text"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "close", "Close"),
        Binding("y", "copy", "Copy"),
        Binding("j,down", "scroll(1)", "Down", show=False),
        Binding("k,up", "scroll(-1)", "Up", show=False),
        Binding("g,home", "end(-1)", "Top", show=False),
        Binding("G,end", "end(1)", "Bottom", show=False),
    ]

    def __init__(self, title: str, text: Text, command: str) -> None:
        super().__init__()
        self._title, self._text, self._command = title, text, command

    def compose(self) -> ComposeResult:
        with Vertical(id="page") as page:
            page.border_title = Text(self._title, style="bold")
            page.border_subtitle = Text(
                "y copies the command · Esc closes" if self._command else "Esc closes", style=QUIET
            )
            with VerticalScroll(id="page-text", can_focus=False):
                yield Static(self._text)
            if self._command:
                yield Static(Text.assemble(("The same as: ", QUIET), self._command), id="page-command")

    def action_close(self) -> None:
        self.dismiss(None)

    def action_copy(self) -> None:
        self.dismiss(self._command or None)


def command_text(name: str, usage: str, text: str) -> tuple[str, Text]:
    """Return title and text of what the help of a command says, its paragraphs as long lines."""
    paragraphs = (" ".join(each.split()) for each in text.strip().split("\n\n"))
    return f"upm {name}", Text.assemble((usage, "bold"), "\n\n", "\n\n".join(paragraphs))
