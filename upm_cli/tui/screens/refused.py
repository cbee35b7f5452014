"""What the gates said when they refused: each with its number and what would satisfy it."""

from collections.abc import Iterator
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.widgets import Static

from upm_cli.tui.plan import Refusal
from upm_cli.tui.project import Project
from upm_cli.tui.screens.dialog import Dialog
from upm_cli.tui.text import BAD, GOOD, QUIET, plain


class Refused(Dialog[bool]):
    """Says no and why. Returns True when the gates are to be excepted, which is asked again."""

    BOX, SCROLLS = "#dialog", "#gates-text"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter,n", "close", "Close"),
        Binding("e", "except", "Except the gates"),
        Binding("j,down", "scroll(1)", "Down", show=False),
        Binding("k,up", "scroll(-1)", "Up", show=False),
    ]

    def __init__(self, refusal: Refusal, project: Project) -> None:
        super().__init__()
        self._refusal, self._project = refusal, project

    def compose(self) -> ComposeResult:
        refusal = self._refusal
        with Vertical(id="dialog") as dialog:
            self.entitle(dialog, Text.assemble((f"Refused: {refusal.title}", BAD)))
            dialog.border_subtitle = Text(
                "e excepts them, on the record · Esc closes" if refusal.override else "Esc closes"
            )
            with VerticalScroll(id="gates-text", can_focus=False):
                yield Static(Text("\n").join(self._lines()))
            command = self._project.command(refusal.words)
            yield Static(Text.assemble(("The same as: ", QUIET), command), id="same")

    def _lines(self) -> Iterator[Text]:
        refusal = self._refusal
        refused = [gate for gate in refusal.gates if not gate.get("allowed", True)]
        if not refused:
            yield Text(plain(refusal.error.message))
            yield Text.assemble((f"→ {plain(refusal.error.hint)}", "cyan"))
            return
        for gate in refused:
            yield Text.assemble((f"✗ {plain(gate['gate'])}", BAD), f"  {plain(gate['detail'])}")
            if gate.get("satisfy"):
                yield Text.assemble((f"  → {plain(gate['satisfy'])}", "cyan"))
        opened = [str(gate["gate"]) for gate in refusal.gates if gate.get("allowed", True)]
        if opened:
            yield Text.assemble((f"✓ {', '.join(opened)}", GOOD))

    def action_close(self) -> None:
        self.dismiss(False)

    def action_except(self) -> None:
        if self._refusal.override is not None:
            self.dismiss(True)
