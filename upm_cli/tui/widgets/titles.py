"""Titles of boxes, set only when they change: Textual draws a box anew whenever one is set."""

from rich.text import Text
from textual.widget import Widget

_Known = tuple[str, tuple[object, ...]]


def entitle(widget: Widget, title: Text | None = None, subtitle: Text | None = None) -> None:
    """Give `widget` a title or a subtitle; None leaves it as it is."""
    for side, text in (("border_title", title), ("border_subtitle", subtitle)):
        if text is None:
            continue
        known: _Known = (text.plain, (text.style, *text.spans))
        if widget.__dict__.get(f"_upm_{side}") != known:
            widget.__dict__[f"_upm_{side}"] = known
            setattr(widget, side, text)
