"""Screen 2: the snapshots of the chosen trainer, newest first, and everything about the one under the cursor."""

from collections.abc import Sequence
from typing import ClassVar, Final

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.widget import Widget
from textual.widgets import DataTable, Static

from upm_cli.core.records import Snapshot
from upm_cli.tui.board import Board, Part
from upm_cli.tui.messages import VerifyAsked
from upm_cli.tui.project import Project
from upm_cli.tui.screens.base import BoardScreen
from upm_cli.tui.text import BAD, NONE, loss_of, minute, plain, size, snapshot_cells, snapshot_status, version
from upm_cli.tui.widgets.rows import Column, Rows

_COLUMNS: Final = {
    column.key: column
    for column in (
        Column("status", "Status"),
        Column("version", "Version"),
        Column("windows", "Windows", is_number=True),
        Column("size", "Size", is_number=True),
        Column("kept", "Kept"),
        Column("proven", "Verified"),
        Column("digest", "Digest"),
        Column("created", "Created"),
        Column("parent", "Parent"),
        Column("loss", "Loss", is_number=True),
        Column("note", "Note"),
    )
}
_NARROW: Final = ("status", "version", "windows", "size", "kept", "proven", "digest")
_WIDE: Final = ("status", "version", "created", "windows", "loss", "size", "kept", "proven", "digest")
_HUGE: Final = ("status", "version", "created", "parent", "windows", "loss", "size", "kept", "proven", "digest", "note")


class Snapshots(BoardScreen):
    NAME = "snapshots"
    LABEL = "Snapshots"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("v", "verify(False)", "Verify"),
        Binding("V", "verify(True)", "Verify all", show=False),
        Binding("i", "app.pin", "Pin"),
        Binding("escape", "app.go('overview')", "Back", show=False),
    ]

    def __init__(self, project: Project) -> None:
        super().__init__(project)
        self._proven: dict[tuple[str, str], str] = {}  # (digest, file) → what is wrong, or ""

    def body(self) -> Sequence[Widget]:
        box = Container(Rows(id="rows"), Static(id="empty", markup=False), id="snapshots")
        about = Static(id="about", markup=False)
        about.border_title = "Snapshot"
        return [box, about]

    @property
    def parts(self) -> frozenset[Part]:
        return frozenset({Part.SNAPSHOTS})

    @property
    def trainer(self) -> str | None:
        """Whose snapshots are on the screen."""
        return self._board.trainer if self._board is not None else None

    def words(self, trainer: str | None) -> Sequence[str]:
        return ("snapshot", "list", *([trainer] if trainer else []))

    @property
    def chosen(self) -> Snapshot | None:
        """The snapshot under the cursor."""
        name = self.query_one("#rows", Rows).current
        found = self._board.snapshots or () if self._board is not None else ()
        return next((shot for shot in found if str(shot.version) == name), None)

    def draw(self, board: Board) -> None:
        if board.snapshots is None and board.trainer is not None:
            return
        shots = board.snapshots or ()
        self.set_class(not shots, "-empty")
        self.query_one("#empty", Static).update(self._empty(board.trainer))
        self.query_one("#snapshots").border_title = f"Snapshots {len(shots)} — {board.trainer or 'no trainer'}"
        columns = [_COLUMNS[key] for key in self.pick(_NARROW, _WIDE, _HUGE)]
        cells = {str(s.version): snapshot_cells(s, board.rings(s), self._is_whole(s)) for s in shots}
        self.query_one("#rows", Rows).show(columns, cells)
        self._draw_about(board)

    def _empty(self, trainer: str | None) -> str:
        if trainer is None:
            return f"No trainers yet.\n\nNext:  {self.project.command(('train', '--source', 'FILE'))}"
        after = self.project.command(("train", trainer, "--source", "FILE"))
        return f"{trainer} has no snapshots yet: they appear as it trains, or press s.\n\nNext:  {after}"

    def note_verified(self, shots: Sequence[Snapshot], found: dict[int, str]) -> None:
        """Remember what reading snapshots back has shown."""
        self._proven |= {_identity(shot): found[shot.version] for shot in shots if shot.version in found}
        if self._board is not None:
            self.draw(self._board)

    def action_verify(self, every: bool) -> None:
        found = self._board.snapshots or () if self._board is not None else ()
        chosen = self.chosen
        shots = tuple(found) if every else (chosen,) if chosen is not None else ()
        if shots:
            self.post_message(VerifyAsked(shots))

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        if self._board is not None:
            self._draw_about(self._board)

    def _is_whole(self, shot: Snapshot) -> bool | None:
        problem = self._proven.get(_identity(shot))
        return None if problem is None else not problem

    def _draw_about(self, board: Board) -> None:
        about, shot = self.query_one("#about", Static), self.chosen
        about.display = shot is not None
        if shot is None:
            return
        about.border_title = f"{shot.trainer} {version(shot.version)}"
        about.update(_about(shot, snapshot_status(shot, board.rings(shot)), self._proven.get(_identity(shot))))


def _identity(shot: Snapshot) -> tuple[str, str]:
    return shot.digest, shot.path


def _about(shot: Snapshot, status: Text, problem: str | None) -> Text:
    """Return what the columns have no room for."""
    when = f"made {minute(shot.created_at_ms)}   last activated {minute(shot.activated_at_ms)}"
    lines = [
        Text.assemble(status, f"   parent {version(shot.parent)}   {when}"),
        Text.assemble(
            f"log {shot.first_seq:,} to {shot.last_seq:,}   {shot.windows:,} windows   loss {loss_of(shot.metrics)}"
        ),
        Text.assemble(f"sha256 {shot.digest}"),
        Text.assemble(f"file {shot.path}   {shot.codec} {size(shot.size_bytes)} of {size(shot.raw_bytes)}"),
        Text.assemble(f"note {plain(shot.note or NONE)}"),
    ]
    if problem:
        lines.insert(1, Text(f"damaged: {plain(problem)}", style=BAD))
    if shot.quarantined:
        lines.insert(1, Text(f"quarantined: {plain(shot.quarantine_reason or 'no reason given')}", style=BAD))
    return Text("\n").join(lines)
