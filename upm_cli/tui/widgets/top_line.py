"""The first line of every screen: which project and what of it, who works, what is wrong, and how old all that is."""

from dataclasses import dataclass
from pathlib import Path

from rich.text import Text
from textual.widget import Widget

from upm_cli.ids import iso
from upm_cli.tui.board import Board
from upm_cli.tui.text import BAD, GOOD, PAST, QUIET, WARN, age, clip, clock_time, plain, plural


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """What the line tells. `stale_s`: the last look failed, and the one on screen is this old; None: it is fresh.

    `path` leads to what is shown: trainer, screen, row. `frozen_s`: since when nothing is refreshed, None: it is.
    """

    folder: Path
    read_only: bool
    board: Board | None
    path: tuple[str, ...] = ()
    now_ms: int = 0
    stale_s: float | None = None
    frozen_s: float | None = None


class TopLine(Widget):
    """Draws a `Heading`; the folder is cut to what is left."""

    def __init__(self) -> None:
        super().__init__(id="top")
        self._heading: Heading | None = None

    def show(self, heading: Heading) -> None:
        """Draw `heading` from now on."""
        if heading != self._heading:
            self._heading = heading
            self.refresh()

    def render(self) -> Text:
        heading = self._heading
        if heading is None:
            return Text("")
        crumbs, width = Text(), self.size.width
        for n, part in enumerate(heading.path):
            crumbs.append(" › " if n else "› ", style=QUIET)
            crumbs.append(clip(plain(part), 24), style="bold" if n == len(heading.path) - 1 else "")
        end = _end(heading)
        middle = _middle(heading, is_short=width < 100)
        left = Text.assemble(("upm", "bold cyan"), " ")
        room = width - left.cell_len - crumbs.cell_len - middle.cell_len - end.cell_len - 4
        folder = _short(heading.folder)
        left.append(f"{clip(folder, room)} " if room > 5 else "")
        text = Text.assemble(left, crumbs, "  ", middle)
        text.truncate(max(0, width - end.cell_len - 1), overflow="ellipsis")
        return Text.assemble(text, " " * max(1, width - text.cell_len - end.cell_len), end)


def _middle(heading: Heading, *, is_short: bool) -> Text:
    text = Text()
    board = heading.board
    if board is not None and board.past is None:
        workers = board.overview["workers"]
        alive = len({worker.get("pid") for worker in workers if worker["alive"]})  # processes: one may have many jobs
        died = [worker for worker in workers if not worker["alive"] and worker.get("state") not in _RESTING]
        if alive:
            text.append(f"● {plural(alive, 'worker')}", style=GOOD)
        if died:
            word = f"{len(died)} down" if is_short else f"{plural(len(died), 'worker')} down"
            text.append(f"{'  ' if alive else ''}✗ {word}", style=BAD)
        if not alive and not died:
            text.append("○ no worker", style=QUIET)
    if board is not None:
        problems = len(board.overview["problems"])
        text.append(f"  ! {plural(problems, 'problem')}" if problems else "", style=BAD)
    if heading.read_only:
        text.append(" ")
        text.append(" READ-ONLY " if not is_short else "READ-ONLY", style=f"reverse {WARN}")
    return text


_RESTING = ("stopped", "done", "finished", "idle")


def _end(heading: Heading) -> Text:
    board = heading.board
    if board is None:
        return Text("reading …" if heading.stale_s is None else "", style=QUIET)
    if board.past is not None:
        at = iso(board.past.at_ms)
        ago = age((heading.now_ms - board.past.at_ms) / 1000)
        return Text(f" AS OF {at[5:10]} {at[11:19]}Z · {ago} ago ", style=f"reverse {PAST}")
    if heading.stale_s is not None:
        return Text(f"showing {clock_time(board.at_ms)}, stale {heading.stale_s:.0f}s", style=WARN)
    if heading.frozen_s is not None:
        return Text(f" FROZEN {clock_time(board.at_ms)} · {age(heading.frozen_s)} ", style="reverse cyan")
    return Text(f"{clock_time(board.at_ms)} ↻1s", style=QUIET)


def _short(folder: Path) -> str:
    try:
        return f"~/{folder.relative_to(Path.home())}"
    except (ValueError, RuntimeError):
        return str(folder)
