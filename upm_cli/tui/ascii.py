"""Drawing with ASCII only: signs are replaced one by one on their way to the screen, letters are left alone.

So nothing can be forgotten: what Textual draws (borders, scroll bars, the palette) is replaced too. Every sign stands
for as many columns as before.
"""

from typing import Final

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

_SIGNS: Final = {
    "─━╌╍┄┅┈┉╴╶╸╺═–—": "-",
    "│┃╎╏┆┇┊┋╵╷║▏▕▎▍▌▐": "|",
    "┌┍┎┏┐┑┒┓└┕┖┗┘┙┚┛├┝┣┤┥┫┬┯┳┴┷┻┼╋╭╮╰╯╔╗╚╝╠╣╦╩╬": "+",
    "▁▔": "_",
    "▂": ".",
    "▃": ":",
    "▄▀": "-",
    "▅": "=",
    "▆": "+",
    "▇": "*",
    "█■▪": "#",
    "░": ".",
    "▒": ":",
    "▓": "%",
    "●◉": "*",
    "○◌": "o",
    "◐◑◒◓": "%",
    "◆◈": "#",
    "◇": "o",
    "‖": "=",
    "✓✔": "v",
    "✗✘✕": "x",
    "▶►▸❯›": ">",
    "◀◂‹«": "<",
    "»": ">",
    "▲▴↑⬆": "^",
    "▼▾↓⬇": "v",
    "→⇒⟶": ">",
    "←⇐⟵": "<",
    "⇄↔": "~",
    "↶↷↻⟳↺": "@",
    "…": ".",
    "·•∙": ".",
    "≥": ">",
    "≤": "<",
    "×": "x",
    "±": "~",
    "“”„": '"',
    "‘’": "'",
    "❄": "*",
    "🔎": "? ",
    "⭘": "o",
}
TABLE: Final = {ord(sign): plain for signs, plain in _SIGNS.items() for sign in signs}


def plain_signs(text: str) -> str:
    """Return `text` with every sign that is drawn here replaced; braille becomes dots, so nobody draws with it."""
    if text.isascii():
        return text
    return "".join("." if 0x2800 <= ord(c) <= 0x28FF else c for c in text.translate(TABLE))


class PlainSigns(LineFilter):
    """Replaces the signs of every line that goes to the screen."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [Segment(plain_signs(text), style, control) for text, style, control in segments]
