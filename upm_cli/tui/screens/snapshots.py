"""Screen 2: the snapshots of the chosen trainer, newest first, their lineage, and everything about the chosen one."""

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.containers import Container
from textual.widget import Widget

from upm_cli.core.records import Snapshot
from upm_cli.ops import losses
from upm_cli.tui.board import Board, Part
from upm_cli.tui.flow import Flow
from upm_cli.tui.lineage import lineage
from upm_cli.tui.messages import DiffAsked, VerifyAsked
from upm_cli.tui.project import Project
from upm_cli.tui.rows_of import SNAPSHOTS, snapshot_rows
from upm_cli.tui.screens.base import WIDE, BoardView
from upm_cli.tui.text import BAD, NONE, QUIET, minute, plain, size, snapshot_status, version
from upm_cli.tui.widgets.listing import Listing
from upm_cli.tui.widgets.panes import TextPane
from upm_cli.tui.widgets.rows import Rows


class Snapshots(BoardView):
    NAME = "snapshots"
    LABEL = "Snapshots"
    KEYS: ClassVar[tuple[str, ...]] = ("a", "b", "s", "u", "i")
    PANES: ClassVar[tuple[str, ...]] = ("snapshots",)

    def __init__(self, project: Project, flow: Flow) -> None:
        super().__init__(project, flow)
        self._proven: dict[tuple[str, str], str] = {}  # (digest, file) → what is wrong, or ""
        self._marked: tuple[str, int] | None = None  # trainer and version that others are compared with

    def body(self) -> Sequence[Widget]:
        shots = Listing(SNAPSHOTS, id="snapshots", title="Snapshots")
        return [Container(shots, TextPane(id="lineage", title="Lineage"), id="shots-board"), TextPane(id="about")]

    @property
    def parts(self) -> frozenset[Part]:
        return frozenset({Part.SNAPSHOTS})

    @property
    def path(self) -> tuple[str, ...]:
        shot = self.chosen
        return (*super().path, version(shot.version)) if shot is not None else super().path

    def words(self, trainer: str | None) -> Sequence[str]:
        return ("snapshot", "list", *([trainer] if trainer else []))

    @property
    def chosen(self) -> Snapshot | None:
        name = self.query_one("#snapshots", Listing).current
        return next((shot for shot in self._shots() if str(shot.version) == name), None)

    def _shots(self) -> Sequence[Snapshot]:
        return self._board.snapshots or () if self._board is not None else ()

    def draw(self, board: Board) -> None:
        if board.snapshots is None and board.trainer is not None:
            return
        listing = self.query_one("#snapshots", Listing)
        marked = self._marked[1] if self._marked is not None and self._marked[0] == board.trainer else None
        listing.show(
            snapshot_rows(board, self._proven, marked),
            [column.key for column in SNAPSHOTS],
            empty=self._empty(board.trainer),
            note="" if marked is None else f" {version(marked)} is marked: d compares with it, m lets go ",
        )
        self._draw_about(board)

    def _empty(self, trainer: str | None) -> str:
        if trainer is None:
            return self.no_trainers()
        after = self.project.command(("train", trainer, "--source", "FILE"))
        return f"{trainer} has no snapshots yet: they appear as it trains, or press s.\n\nNext:  {after}"

    def note_verified(self, shots: Sequence[Snapshot], found: dict[int, str]) -> None:
        """Remember what reading snapshots back has shown."""
        self._proven |= {_identity(shot): found[shot.version] for shot in shots if shot.version in found}
        self.redraw()

    def verify(self, every: bool) -> None:
        chosen = self.chosen
        shots = tuple(self._shots()) if every else (chosen,) if chosen is not None else ()
        if shots:
            self.post_message(VerifyAsked(shots))

    def mark(self) -> None:
        shot = self.chosen
        if shot is not None:
            here = (shot.trainer, shot.version)
            self._marked = None if self._marked == here else here
            self.redraw()

    def compare(self) -> None:
        """Compare the marked snapshot, else what is live, else the parent, with the one under the cursor."""
        after = self.chosen
        before = self._base_of(after) if after is not None else None
        if after is None:
            return
        if before is None:
            self.notify("mark another one with m first: there is nothing to compare it with", markup=False)
            return
        self.post_message(DiffAsked(before, after))

    def _base_of(self, shot: Snapshot) -> Snapshot | None:
        rows = {each.version: each for each in self._shots()}
        live = self._board.details[shot.trainer]["active"] if self._board is not None else {}
        marked = self._marked[1] if self._marked is not None and self._marked[0] == shot.trainer else None
        wanted = (marked, live.get("global"), live.get("canary"), shot.parent)
        return next((rows[each] for each in wanted if each in rows and each != shot.version), None)

    def on_rows_highlighted(self, event: Rows.Highlighted) -> None:
        if self._board is not None:
            self._draw_about(self._board)

    def _draw_about(self, board: Board) -> None:
        about, shot = self.query_one("#about", TextPane), self.chosen
        about.display = shot is not None
        if shot is None:
            return
        status, problem = snapshot_status(shot, board.rings(shot)), self._proven.get(_identity(shot))
        title = Text.assemble((f"{shot.trainer} {version(shot.version)}", "bold"))
        about.show(lambda width, height: _about(shot, status, problem), (shot, status.plain, problem), title)
        if self.app.size.width >= WIDE:
            shots, chosen = tuple(self._shots()), shot.version
            self.query_one("#lineage", TextPane).show(
                lambda width, height: lineage(shots, board, chosen, height),
                (shots, chosen, board.details[shot.trainer]["active"]),
            )


def _identity(shot: Snapshot) -> tuple[str, str]:
    return shot.digest, shot.path


def _about(shot: Snapshot, status: Text, problem: str | None) -> Text:
    """Return what the columns have no room for."""
    when = f"made {minute(shot.created_at_ms)}   last activated {minute(shot.activated_at_ms)}"
    lines = [
        Text.assemble(status, f"   parent {version(shot.parent)}   {when}"),
        _fact("log", f"{shot.first_seq:,} to {shot.last_seq:,}   {shot.windows:,} windows   {_losses(shot)}"),
        _fact("sha256", shot.digest),
        _fact("file", f"{shot.path}   {shot.codec} {size(shot.size_bytes)} of {size(shot.raw_bytes)}"),
        _fact("note", plain(shot.note or NONE)),
    ]
    if problem:
        lines.insert(1, Text(f"damaged: {plain(problem)}", style=BAD))
    if shot.quarantined:
        lines.insert(1, Text(f"quarantined: {plain(shot.quarantine_reason or 'no reason given')}", style=BAD))
    return Text("\n").join(lines)


def _losses(shot: Snapshot) -> str:
    return losses.in_words(losses.of_metrics(shot.metrics), digits=3)


def _fact(name: str, value: str) -> Text:
    return Text.assemble((f"{name:<7} ", QUIET), value)
