"""The question before anything changes: the plan, its numbers, the command that does the same. Only y goes on."""

from typing import ClassVar, Final

from rich.table import Table
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import Button, Input, Static

from upm_cli.tui.plan import Plan
from upm_cli.tui.project import Project
from upm_cli.tui.screens.dialog import Dialog
from upm_cli.tui.text import BAD, QUIET, clip, plain

_LONGEST: Final = 150  # characters of one fact: who decides at night reads no more


class Confirm(Dialog[str | None]):
    """Returns the reason (perhaps empty) when the answer is yes, None when it is no."""

    BOX, SCROLLS = "#dialog", "#facts"
    AUTO_FOCUS = "#cancel"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "go", "Yes"),
        Binding("escape,n,q", "cancel", "Cancel"),
        Binding("j,down", "scroll(1)", "Down", show=False),
        Binding("k,up", "scroll(-1)", "Up", show=False),
    ]

    def __init__(self, plan: Plan, project: Project) -> None:
        super().__init__()
        self._plan, self._project = plan, project

    def compose(self) -> ComposeResult:
        plan = self._plan
        go = Button(f"y  {plan.verb}", id="go", variant="error", compact=True)
        go.can_focus = False  # so that Enter can never mean yes
        why = "needed" if plan.needs_reason else "why, kept on the record (Tab to write, Enter to go on)"
        reason = Input(id="reason", placeholder=why, compact=True, max_length=120)
        with Vertical(id="dialog") as dialog:
            self.entitle(dialog, Text(plan.title, style="bold"))
            with VerticalScroll(id="facts", can_focus=False):
                yield Static(_facts(plan))
            yield Horizontal(Static("reason", classes="label"), reason, id="why")
            if plan.type_name:
                name = Input(
                    id="name", placeholder=f"type {plan.type_name} to go past the gate", compact=True, max_length=64
                )
                yield Horizontal(Static("name", classes="label"), name, id="who")
            yield Static(id="same", markup=False)
            yield Static(id="missing", markup=False)
            yield Horizontal(Button("Cancel", id="cancel", compact=True), go, id="answers")

    def on_mount(self) -> None:
        self._draw_command("")
        self.query_one("#missing").display = False
        if self._plan.needs_reason:
            self.query_one("#reason").focus()

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        self._draw_command(self._reason)
        self.query_one("#missing").display = False
        self.fit()

    @on(Input.Submitted, "#reason")
    def _reason_given(self) -> None:
        self.query_one("#name" if self._plan.type_name else "#cancel").focus()

    @on(Input.Submitted, "#name")
    def _name_given(self) -> None:
        self.query_one("#cancel").focus()

    @on(Button.Pressed, "#cancel")
    def action_cancel(self) -> None:
        self.dismiss(None)

    @on(Button.Pressed, "#go")
    def action_go(self) -> None:
        missing = self._missing()
        place = self.query_one("#missing", Static)
        if missing:
            place.display = True
            place.update(Text.assemble((missing, BAD)))
            self.fit()
            return
        self.dismiss(self._reason)

    @property
    def _reason(self) -> str:
        return self.query_one("#reason", Input).value.strip()

    def _missing(self) -> str:
        """Say what must be written before yes counts; nothing when all is there."""
        plan = self._plan
        if plan.needs_reason and not self._reason:
            return "Give a reason first: it goes past a gate, and is kept on the record."
        if plan.type_name and self.query_one("#name", Input).value.strip() != plan.type_name:
            return f"Type {plan.type_name} first: it goes past a gate."
        return ""

    def _draw_command(self, reason: str) -> None:
        same = Text("The same as: ", style=QUIET)
        same.append(self._plan.command(self._project, reason), style="not dim")
        self.query_one("#same", Static).update(same)


def _facts(plan: Plan) -> Table:
    """Return the facts below each other, their names in one column."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for name, value in plan.facts:
        table.add_row(Text(name, style=QUIET), Text(clip(plain(value), _LONGEST)))
    return table
