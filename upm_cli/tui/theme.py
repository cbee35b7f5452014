"""The colours of the dashboard, and what the words red, yellow and green mean in any theme."""

from typing import Final

from rich.terminal_theme import TerminalTheme
from textual.color import Color
from textual.theme import Theme

UPM: Final = Theme(
    name="upm",
    primary="#5b9bd5",
    secondary="#7f93ab",
    accent="#c39ae8",
    success="#73c991",
    warning="#e5b567",
    error="#f4707a",
    foreground="#d4dbe3",
    background="#0f1318",
    surface="#151b22",
    panel="#1c242d",
    dark=True,
    variables={
        "block-cursor-foreground": "#d4dbe3",
        "block-cursor-background": "#26384c",
        "block-cursor-text-style": "none",
        "footer-key-foreground": "#8fc1f0",
        "input-selection-background": "#5b9bd5 35%",
        "scrollbar": "#2b3743",
        "scrollbar-hover": "#3a4a5a",
        "scrollbar-active": "#5b9bd5",
        "scrollbar-background": "#151b22",
        "scrollbar-corner-color": "#151b22",
    },
)
_CYAN: Final = "#62c3d0"


def terminal_theme(theme: Theme) -> TerminalTheme:
    """Return what the sixteen names of colours stand for in `theme`, so that red is its red."""
    colors = theme.to_color_system().generate()

    def rgb(name: str) -> tuple[int, int, int]:
        color = Color.parse(colors[name])
        return color.rgb

    cyan = Color.parse(_CYAN if theme.dark else "#00758f").rgb
    normal = [
        rgb("background"),
        rgb("error"),
        rgb("success"),
        rgb("warning"),
        rgb("primary"),
        rgb("accent"),
        cyan,
        rgb("foreground"),
    ]
    return TerminalTheme(rgb("background"), rgb("foreground"), normal, normal)
