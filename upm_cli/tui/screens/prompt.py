"""One line at the bottom for a filter or a place to go; what is wrong with it is said while it is typed."""

from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.suggester import Suggester
from textual.widgets import Input, Static

from upm_cli.errors import UpmError
from upm_cli.tui.text import BAD, plain


class _Completing(Suggester):
    def __init__(self, complete: Callable[[str], str | None]) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._complete = complete

    async def get_suggestion(self, value: str) -> str | None:
        return self._complete(value)


class Prompt(ModalScreen[str | None]):
    """Asks for one line. Returns it, or None. `changed` hears every change and may raise UpmError."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Cancel")]

    def __init__(
        self,
        sign: str,
        hint: str,
        *,
        value: str = "",
        changed: Callable[[str], None] | None = None,
        check: Callable[[str], object] | None = None,
        complete: Callable[[str], str | None] | None = None,
    ) -> None:
        super().__init__()
        self._sign, self._hint, self._value = sign, hint, value
        self._changed, self._check = changed, check
        self._suggester = _Completing(complete) if complete is not None else None

    def compose(self) -> ComposeResult:
        line = Input(
            self._value,
            placeholder=self._hint,
            compact=True,
            id="prompt-line",
            suggester=self._suggester,
            max_length=400,
        )
        sign = Static(Text.assemble((self._sign, "bold cyan")), id="prompt-sign")
        yield Vertical(Static(id="prompt-wrong", markup=False), Horizontal(sign, line, id="prompt-row"), id="prompt")

    def on_mount(self) -> None:
        self.query_one("#prompt-wrong").display = False

    @on(Input.Changed)
    def _line_changed(self, event: Input.Changed) -> None:
        if self._changed is not None:
            self._told(self._changed, event.value)

    @on(Input.Submitted)
    def _line_given(self, event: Input.Submitted) -> None:
        if self._check is None or not event.value.strip() or self._told(self._check, event.value):
            self.dismiss(event.value)

    def _told(self, hear: Callable[[str], object], value: str) -> bool:
        """Let `hear` hear the line; say what is wrong with it, if it says so."""
        place = self.query_one("#prompt-wrong", Static)
        try:
            hear(value)
        except UpmError as exc:
            place.update(Text.assemble((plain(f"{exc.message}: {exc.hint}" if exc.hint else exc.message), BAD)))
            place.display = True
            return False
        place.display = False
        return True

    def action_cancel(self) -> None:
        self.dismiss(None)
