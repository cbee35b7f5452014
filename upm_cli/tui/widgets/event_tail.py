"""The newest events, as many as fit."""

from rich.text import Text
from textual.widget import Widget

from upm_cli.tui.text import BAD, QUIET
from upm_cli.tui.told import Told


class EventTail(Widget):
    """Draws the end of a list of lines, the newest at the bottom."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._events: tuple[Told, ...] = ()
        self.border_title = Text("Events", style="bold")

    def show(self, events: tuple[Told, ...]) -> None:
        """Draw the end of `events` from now on."""
        if events != self._events:
            self._events = events
            self.refresh()

    def render(self) -> Text:
        if not self._events:
            return Text("Nothing has happened yet.", style=QUIET)
        shown = self._events[-max(1, self.size.height) :]
        kind_width = max(len(each.kind) for each in shown)
        text = Text()
        for n, each in enumerate(shown):
            text.append("\n" if n else "")
            text.append(f"{each.at[5:10]} {each.at[11:19]}Z ", style=QUIET)
            text.append(f"{each.kind:<{kind_width}} ", style=BAD if each.is_grave else "cyan")
            text.append(each.subject)
            text.append(f" {each.text}", style="" if each.is_grave else QUIET)
        return text
