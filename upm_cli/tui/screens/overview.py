"""Screen 1: every trainer, worst first; the drift of the chosen one; what happened last."""

from collections.abc import Sequence
from typing import ClassVar, Final

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.widget import Widget
from textual.widgets import DataTable, Static

from upm_cli.core.records import Snapshot
from upm_cli.tui.board import Board, Part
from upm_cli.tui.messages import Chosen
from upm_cli.tui.screens.base import HUGE, WIDE, BoardScreen
from upm_cli.tui.text import WARN, plain, snapshot_cells, trainer_cells
from upm_cli.tui.widgets.drift_chart import DriftChart
from upm_cli.tui.widgets.event_tail import EventTail
from upm_cli.tui.widgets.rows import Column, Rows

_COLUMNS: Final = {
    column.key: column
    for column in (
        Column("state", "State"),
        Column("name", "Trainer"),
        Column("mode", "Mode"),
        Column("active", "Active"),
        Column("drift", "Drift P95"),
        Column("rate", "Win/s", is_number=True),
        Column("lag", "Lag", is_number=True),
        Column("newest", "Newest"),
        Column("trained", "Trained", is_number=True),
    )
}
_NARROW: Final = ("state", "name", "mode", "active", "drift", "rate", "lag")
_WIDE: Final = ("state", "name", "mode", "active", "newest", "drift", "rate", "lag", "trained")
_HUGE: Final = ("state", "name", "mode", "active", "drift", "rate", "lag")  # beside the chart
_SNAPSHOTS: Final = tuple(
    Column(key, title, is_number)
    for key, title, is_number in (
        ("status", "Status", False),
        ("version", "Version", False),
        ("created", "Created", False),
        ("windows", "Windows", True),
        ("loss", "Loss", True),
        ("kept", "Kept", False),
    )
)


class Overview(BoardScreen):
    NAME = "overview"
    LABEL = "Overview"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "app.go('snapshots')", "Snapshots of the trainer", show=False, priority=True)
    ]

    def body(self) -> Sequence[Widget]:
        rows, worst, empty = Rows(id="rows"), Static(id="next", markup=False), Static(id="empty", markup=False)
        trainers = Container(rows, worst, empty, id="trainers")
        shots = Container(Rows(id="shots"), id="shots-box")
        return [Container(trainers, DriftChart(id="drift"), EventTail(id="events"), shots, id="board")]

    @property
    def parts(self) -> frozenset[Part]:
        seen = frozenset({Part.DRIFT, Part.EVENTS})
        return seen | {Part.SNAPSHOTS} if self.app.size.width >= HUGE else seen

    def words(self, trainer: str | None) -> Sequence[str]:
        return ("status",)

    def draw(self, board: Board) -> None:
        rows = board.overview["trainers"]
        self.set_class(not rows, "-empty")
        start = self.project.command(("train", "--source", "FILE"))
        self.query_one("#empty", Static).update(f"No trainers yet.\n\nNext:  {start}")
        self.query_one("#trainers").border_title = f"Trainers {len(rows)}"
        columns = [_COLUMNS[key] for key in self.pick(_NARROW, _WIDE, _HUGE)]
        narrow = self.app.size.width < WIDE
        cells = {row["name"]: trainer_cells(row, is_narrow=narrow) for row in rows}
        self.query_one("#rows", Rows).show(columns, cells, board.trainer)
        worst = self.query_one("#next", Static)
        worst.update(_next(board))
        worst.display = bool(board.overview["problems"])
        if board.drift is not None:
            self.query_one("#drift", DriftChart).show(board.drift, board.trainer, self._no_drift(board))
        if board.events is not None:
            self.query_one("#events", EventTail).show(board.events)
        if board.snapshots is not None:
            self._draw_snapshots(board, board.snapshots)

    def _no_drift(self, board: Board) -> str:
        """Return what to say where there is no drift to draw."""
        name = board.trainer or ""
        if not board.details[name]["windows"]["trained"]:
            after = self.project.command(("train", name, "--source", "FILE"))
            return f"{name} has learned nothing yet.\n\nNext:  {after}"
        return f"{name} has no verdict yet: a drift window must have enough labelled windows first."

    def _draw_snapshots(self, board: Board, shots: Sequence[Snapshot]) -> None:
        self.query_one("#shots-box").border_title = f"Snapshots — {board.trainer}"
        cells = {str(shot.version): snapshot_cells(shot, board.rings(shot), None) for shot in shots}
        self.query_one("#shots", Rows).show(_SNAPSHOTS, cells)

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        if event.data_table.id == "rows" and event.row_key.value is not None:
            self.post_message(Chosen(event.row_key.value))


def _next(board: Board) -> Text:
    """Return the worst problem and what to type, the chosen trainer's first."""
    problems = sorted(board.overview["problems"], key=lambda each: each["trainer"] != board.trainer)
    if not problems:
        return Text("")
    worst = problems[0]
    more = f"   (+{len(problems) - 1} more)" if len(problems) > 1 else ""
    said = plain(f"! {worst['trainer']}: {worst['problem']}")
    return Text.assemble((said, WARN), "   Next: ", (worst["next"], "bold"), more)
