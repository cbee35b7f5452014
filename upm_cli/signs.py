"""Signs in ASCII: for terminals, files and serial consoles that can't show others."""

from typing import Final

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
    """Return `text` with every sign that is drawn here replaced by one of as many columns; letters are left alone.

    Braille becomes dots, so nobody draws with it.
    """
    if text.isascii():
        return text
    return "".join("." if 0x2800 <= ord(c) <= 0x28FF else c for c in text.translate(TABLE))


def instead(error: UnicodeError) -> tuple[str, int]:
    """Handle what an encoding can't hold: signs become plain ones, everything else an escape (`codecs`)."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    plain = plain_signs(error.object[error.start : error.end])
    return plain.encode("ascii", "backslashreplace").decode(), error.end
