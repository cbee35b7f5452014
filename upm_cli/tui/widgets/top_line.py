"""The first line of every screen: which project, who works, what is wrong, and how old all that is."""

from dataclasses import dataclass
from pathlib import Path

from rich.text import Text
from textual.widget import Widget

from upm_cli.ids import iso
from upm_cli.tui.board import Board
from upm_cli.tui.text import BAD, GOOD, QUIET, WARN, clip


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """What the line tells. `stale_s`: the last look failed, and the one on screen is this old; None: it is fresh."""

    folder: Path
    screen: str
    read_only: bool
    board: Board | None
    stale_s: float | None = None


class TopLine(Widget):
    """Draws a `Heading`, the folder cut to what is left."""

    def __init__(self) -> None:
        super().__init__(id="top")
        self._heading: Heading | None = None

    def show(self, heading: Heading) -> None:
        """Draw `heading` from now on."""
        if heading != self._heading:
            self._heading = heading
            self.refresh()

    def render(self) -> Text:
        if self._heading is None:
            return Text("")
        middle, end = _middle(self._heading), _end(self._heading)
        left = Text.assemble((f"upm {self._heading.screen}  ", "bold"))
        room = self.size.width - left.cell_len - middle.cell_len - end.cell_len - 1
        folder = _short(self._heading.folder)
        left.append(clip(folder, room) if room > 3 else "")
        left.append_text(middle)
        return left + Text(" " * max(1, self.size.width - left.cell_len - end.cell_len)) + end


def _middle(heading: Heading) -> Text:
    text = Text()
    if heading.board is not None:
        overview = heading.board.overview
        alive = sum(worker["alive"] for worker in overview["workers"])
        text.append(
            f"  ● {alive} worker{'s' * (alive != 1)}" if alive else "  ○ no worker", style=GOOD if alive else ""
        )
        problems = len(overview["problems"])
        text.append(f"  ! {problems} problem{'s' * (problems != 1)}" if problems else "", style=BAD)
    text.append("  READ-ONLY" if heading.read_only else "", style=f"reverse {WARN}")
    return text


def _end(heading: Heading) -> Text:
    if heading.board is None:
        return Text("reading …" if heading.stale_s is None else "", style=QUIET)
    at = f"{iso(heading.board.at_ms)[11:19]}Z"
    if heading.stale_s is None:
        return Text(f"{at} ↻1s", style=QUIET)
    return Text(f"showing {at}, stale {heading.stale_s:.0f}s", style=WARN)


def _short(folder: Path) -> str:
    try:
        return f"~/{folder.relative_to(Path.home())}"
    except (ValueError, RuntimeError):
        return str(folder)
