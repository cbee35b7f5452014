"""Drawing with ASCII only: signs are replaced one by one on their way to the screen, letters are left alone.

So nothing can be forgotten: what Textual draws (borders, scroll bars, the palette) is replaced too. Every sign stands
for as many columns as before.
"""

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from upm_cli.signs import plain_signs


class PlainSigns(LineFilter):
    """Replaces the signs of every line that goes to the screen."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [Segment(plain_signs(text), style, control) for text, style, control in segments]
