"""What dialogs over the screens have in common: whatever is in them, borders, buttons and the command stay in sight."""

from typing import ClassVar, Final, Generic, TypeVar

from rich.text import Text
from textual.css.query import NoMatches
from textual.screen import ModalScreen
from textual.widget import Widget

T = TypeVar("T")
_BORDER: Final = 2  # lines above and below what is in the box
_BESIDE_TITLE: Final = 6  # columns of the border on both sides of a title


class Dialog(ModalScreen[T], Generic[T]):
    """A box in the middle of the screen. Of what does not fit into it one part scrolls, never the rest."""

    BOX: ClassVar[str]
    SCROLLS: ClassVar[str]

    def on_resize(self) -> None:
        self.fit()

    def fit(self) -> None:
        """Give the part that scrolls what the others leave; call it when one of them has become higher."""
        self.call_after_refresh(self._fit)

    def _fit(self) -> None:
        try:
            box, part = self.query_one(self.BOX), self.query_one(self.SCROLLS)
        except NoMatches:  # it is being closed
            return
        others = sum(_lines(each) for each in box.children if each is not part and each.display)
        part.styles.max_height = max(1, self.size.height - _BORDER - others)

    def entitle(self, box: Widget, title: Text) -> None:
        """Give the box its title, and as much width as that needs."""
        box.border_title = title
        box.set_class(title.cell_len > 66 - _BESIDE_TITLE, "-long")

    def action_scroll(self, by: int) -> None:
        self.query_one(self.SCROLLS).scroll_relative(y=by, animate=False)

    def action_end(self, which: int) -> None:
        part = self.query_one(self.SCROLLS)
        part.scroll_end(animate=False) if which > 0 else part.scroll_home(animate=False)


def _lines(widget: Widget) -> int:
    return widget.outer_size.height + widget.styles.margin.top + widget.styles.margin.bottom
