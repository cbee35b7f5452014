"""Screen 7: the processes: what each does, what it uses, how fast it is, and what it said when it failed."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from rich.text import Text
from textual.widget import Widget

from upm_cli.ops.entry_lines import pairs
from upm_cli.ops.processes import Usage
from upm_cli.tui.board import Board, Part
from upm_cli.tui.flow import Flow
from upm_cli.tui.project import Project
from upm_cli.tui.rows_of import WORKERS, with_process_age, worker_rows, worker_state
from upm_cli.tui.screens.base import BoardView
from upm_cli.tui.text import BAD, QUIET, age, plain
from upm_cli.tui.widgets.listing import Listing


class Workers(BoardView):
    NAME = "workers"
    LABEL = "Workers"
    KEYS: ClassVar[tuple[str, ...]] = ("p", "o", "w", "y")
    PANES: ClassVar[tuple[str, ...]] = ("workers",)
    ONE_TRAINER = False

    def __init__(self, project: Project, flow: Flow) -> None:
        super().__init__(project, flow)
        self._before: tuple[float, Mapping[int, Usage]] = (0.0, {})
        self._cpu: dict[int, float | None] = {}

    def body(self) -> Sequence[Widget]:
        return [Listing(WORKERS, id="workers", title="Workers")]

    @property
    def parts(self) -> frozenset[Part]:
        return frozenset({Part.PROCESSES})

    def words(self, trainer: str | None) -> Sequence[str]:
        return ("status",)

    def draw(self, board: Board) -> None:
        self._measure(board)
        if board.past is not None:
            empty = "What ran then is not recorded.\n\n\\ goes back to now."
        else:
            empty = (
                f"No worker has run yet.\n\nNext:  {self.project.command(('train', '--source', 'FILE', '--follow'))}"
            )
        self.query_one("#workers", Listing).show(
            worker_rows(board, self._cpu), [column.key for column in WORKERS], empty=empty
        )

    def _measure(self, board: Board) -> None:
        """Work out the share of a core that each process used since the last look."""
        at_s, before = self._before
        now_s = board.at_ms / 1000
        if board.usage == before or now_s - at_s < 0.5:
            return
        self._cpu = {pid: _share(before.get(pid), used, now_s - at_s) for pid, used in board.usage.items()}
        self._before = (now_s, board.usage)

    def detail(self) -> tuple[str, Text, Sequence[str]] | None:
        board, listing = self._board, self.listing
        name = listing.current if listing is not None else None
        workers = board.overview["workers"] if board is not None else ()
        found: Mapping[str, Any] | None = next((each for each in workers if each.get("worker") == name), None)
        if found is None:
            return None
        found = with_process_age(found, workers)
        text = Text.assemble(worker_state(found), f"   told {age(found['age_s'])} ago")
        error = found.get("error")
        if isinstance(error, Mapping):
            text.append(f"\n{plain(error.get('code', ''))} {plain(error.get('message', ''))}", style=BAD)
            text.append(f"\n→ {plain(error.get('hint', ''))}" if error.get("hint") else "", style="cyan")
        told = pairs({key: value for key, value in found.items() if value is not None and key not in _TOLD})
        text.append("\n\n" + "\n".join(map(plain, told)), style=QUIET)
        return f"Worker {plain(name)}", text, ("status", "--json")


_TOLD: Final = ("worker", "lease", "state", "at_ms", "age_s", "silent_s", "alive", "error")  # in other words above


def _share(before: Usage | None, now: Usage, seconds: float) -> float | None:
    if before is None or before.started_s != now.started_s:
        return None
    return max(0.0, now.cpu_s - before.cpu_s) / seconds
