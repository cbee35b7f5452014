"""Boxes of text that is drawn anew for the room there is."""

from collections.abc import Callable

from rich.text import Text
from textual.widget import Widget

from upm_cli.tui.widgets.titles import entitle

Draw = Callable[[int, int], Text]  # columns, lines → what is drawn


class TextPane(Widget):
    """A box whose text depends on its size; it is drawn again when what it is made of changed."""

    def __init__(self, *, id: str, title: str = "", classes: str = "") -> None:
        super().__init__(id=id, classes=classes)
        self._draw: Draw | None = None
        self._made_of: object = None
        self.border_title = Text(title, style="bold")

    def show(self, draw: Draw, made_of: object, title: Text | None = None) -> None:
        """Draw by `draw` from now on; nothing happens while `made_of` stays equal."""
        if self._draw is not None and made_of == self._made_of:
            return
        self._draw, self._made_of = draw, made_of
        entitle(self, title)
        self.refresh()

    def fit(self, most: int = 99) -> None:
        """Be as high as the text is at the present width, with the border, and at most `most` lines of text."""
        if self._draw is not None:
            width = self.content_size.width or self.app.size.width - 4
            self.styles.height = 2 + min(most, self._draw(width, most).plain.count("\n") + 1)

    def forget(self) -> None:
        """Draw again at the next `show`, whatever it is made of."""
        self._made_of = None

    def render(self) -> Text:
        return Text("") if self._draw is None else self._draw(self.size.width, self.size.height)
