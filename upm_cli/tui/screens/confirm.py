"""The question before anything changes: the plan, its numbers, the command that does the same. Only y goes on."""

from typing import ClassVar, Final

from rich.table import Table
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from upm_cli.tui.plans import Plan
from upm_cli.tui.project import Project
from upm_cli.tui.text import clip, plain

_LONGEST: Final = 150  # characters of one fact, so that the dialog fits 80x24


class Confirm(ModalScreen[str | None]):
    """Returns the reason (perhaps empty) when the answer is yes, None when it is no."""

    AUTO_FOCUS = "#cancel"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "go", "Yes"),
        Binding("escape,n,q", "cancel", "Cancel"),
    ]

    def __init__(self, plan: Plan, project: Project) -> None:
        super().__init__()
        self._plan, self._project = plan, project

    def compose(self) -> ComposeResult:
        go = Button(f"y  {self._plan.verb}", id="go", variant="error", compact=True)
        go.can_focus = False  # so that Enter can never mean yes
        reason = Input(
            id="reason",
            placeholder="why, kept on the record (Tab to write, Enter to go on)",
            compact=True,
            max_length=120,
        )
        with Vertical(id="dialog") as dialog:
            dialog.border_title = self._plan.title
            yield Static(_facts(self._plan), id="facts")
            yield Horizontal(Static("reason", id="label"), reason, id="why")
            yield Static(id="same", markup=False)
            yield Horizontal(Button("Cancel", id="cancel", compact=True), go, id="answers")

    def on_mount(self) -> None:
        self._draw_command("")

    @on(Input.Changed, "#reason")
    def _reason_changed(self, event: Input.Changed) -> None:
        self._draw_command(event.value)

    @on(Input.Submitted, "#reason")
    def _reason_given(self) -> None:
        self.query_one("#cancel").focus()

    @on(Button.Pressed, "#cancel")
    def action_cancel(self) -> None:
        self.dismiss(None)

    @on(Button.Pressed, "#go")
    def action_go(self) -> None:
        self.dismiss(self.query_one("#reason", Input).value.strip())

    def _draw_command(self, reason: str) -> None:
        same = Text("The same as: ", style="dim")
        same.append(self._plan.command(self._project, reason.strip()), style="not dim")
        self.query_one("#same", Static).update(same)


def _facts(plan: Plan) -> Table:
    """Return the facts below each other, their names in one column."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for name, value in plan.facts:
        table.add_row(Text(name, style="dim"), Text(clip(plain(value), _LONGEST)))
    return table
