"""Screen 1: every trainer, worst first; the drift of the chosen one; what is going on; what happened last."""

from collections.abc import Sequence
from functools import partial
from typing import ClassVar, Final

from rich.text import Text
from textual.containers import Container
from textual.widget import Widget

from upm_cli.tui import live, rollout_text
from upm_cli.tui.board import Board, Part
from upm_cli.tui.messages import Chosen
from upm_cli.tui.rows_of import SNAPSHOTS, TRAINERS, snapshot_rows, trainer_rows
from upm_cli.tui.screens.base import HUGE, WIDE, BoardView
from upm_cli.tui.text import WARN, clip, plain
from upm_cli.tui.widgets.drift_chart import DriftChart
from upm_cli.tui.widgets.event_tail import EventTail
from upm_cli.tui.widgets.listing import Listing
from upm_cli.tui.widgets.panes import TextPane
from upm_cli.tui.widgets.rows import Rows

_TRAINERS: Final = tuple(column.key for column in TRAINERS)
_SHOTS: Final = ("status", "version", "age", "windows", "loss", "size", "kept")


class Overview(BoardView):
    NAME = "overview"
    LABEL = "Overview"
    PANES: ClassVar[tuple[str, ...]] = ("trainers",)
    ONE_TRAINER = False

    def body(self) -> Sequence[Widget]:
        trainers = Listing(TRAINERS, id="trainers", title="Trainers")
        left = Container(trainers, TextPane(id="live", title="Live"), id="left")
        shots = Listing(SNAPSHOTS, id="shots", title="Snapshots", classes="")
        chart = DriftChart(id="drift", is_ascii=self.project.is_ascii)
        rollout, agents = TextPane(id="rollout-pane", title="Rollout"), TextPane(id="agents-pane", title="Agents")
        return [Container(left, chart, shots, rollout, EventTail(id="tail"), agents, id="board")]

    @property
    def parts(self) -> frozenset[Part]:
        seen = {Part.DRIFT, Part.EVENTS, Part.AGENTS}
        if self.app.size.width >= WIDE:
            seen.add(Part.ROLLOUT)
        if self.app.size.width >= HUGE:
            seen.add(Part.SNAPSHOTS)
        return frozenset(seen)

    def words(self, trainer: str | None) -> Sequence[str]:
        return ("status",)

    def draw(self, board: Board) -> None:
        rows = board.overview["trainers"]
        self.set_class(not rows, "-empty")
        narrow = self.app.size.width < WIDE
        trainers = self.query_one("#trainers", Listing)
        summary = Text.assemble(("Trainers", "bold"), "  ", live.summary(board, self.flow))
        trainers.own_title = summary if narrow and rows and trainers.is_plain else None
        trainers.own_note = partial(_next, board)
        trainers.show(
            trainer_rows(board, is_narrow=narrow),
            _TRAINERS,
            empty=self.no_trainers(),
            at=board.trainer,
        )
        self.query_one("#live", TextPane).show(
            lambda width, height: live.pane(board, self.flow, width, height),
            (board.overview["trainers"], board.fleet, self.flow.recent(30), board.past),
        )
        if board.drift is not None:
            self.query_one("#drift", DriftChart).show(board.drift, board.trainer, self._no_drift(board))
        if board.events is not None:
            self.query_one("#tail", EventTail).show(board.events)
        if board.snapshots is not None:
            shots = self.query_one("#shots", Listing)
            shots.title = f"Snapshots of {board.trainer}"
            shots.show(snapshot_rows(board, {}), _SHOTS, empty="none yet")
        self._draw_rollout(board)
        self._draw_agents(board)

    def _draw_rollout(self, board: Board) -> None:
        if board.rollout is not None:
            shown, trainer = board.rollout.shown, board.trainer
            self.query_one("#rollout-pane", TextPane).show(
                lambda width, height: rollout_text.pane(shown, trainer, width, height),
                (shown, trainer),
                Text.assemble(("Rollout", "bold"), f"  {trainer}"),
            )

    def _draw_agents(self, board: Board) -> None:
        fleet = board.fleet
        self.query_one("#agents-pane", TextPane).show(
            lambda width, height: live.agents_pane(fleet, width, height), fleet
        )

    def _no_drift(self, board: Board) -> str:
        """Return what to say where there is no drift to draw."""
        name = board.trainer or ""
        if not board.details[name]["windows"]["trained"]:
            after = self.project.command(("train", name, "--source", "FILE"))
            return f"{name} has learned nothing yet.\n\nNext:  {after}"
        return f"{name} has no verdict yet: a drift window must have enough labelled windows first."

    def on_rows_highlighted(self, event: Rows.Highlighted) -> None:
        if event.rows.id == "trainers-rows":
            self.post_message(Chosen(event.name))


def _next(board: Board, width: int) -> Text:
    """Return the worst problem and what to type, the chosen trainer's first; nothing where all is well.

    Of what does not fit into `width` the problem is cut, never what to type.
    """
    problems = sorted(board.overview["problems"], key=lambda each: each["trainer"] != board.trainer)
    if not problems or not board.overview["trainers"]:
        return Text("")
    worst = problems[0]
    more = f"  +{len(problems) - 1}" if len(problems) > 1 else ""
    after = Text.assemble("  Next: ", (worst["next"], "bold"), more, " ")
    said = clip(plain(f" ! {worst['trainer']}: {worst['problem']}"), max(12, width - after.cell_len))
    return Text.assemble((said, WARN), after)
