"""Screen 3: the drift of one trainer: its chart, the contests, its windows, and strips of its tenants and features."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Final

from rich.text import Text
from textual.containers import Container
from textual.widget import Widget

from upm_cli.ops.report_words import LEVELS, RULES, share
from upm_cli.tui import contests
from upm_cli.tui.board import Board, Part
from upm_cli.tui.drift_rows import STRIPS, WINDOWS, strip_rows, window_rows
from upm_cli.tui.screens.base import BoardView
from upm_cli.tui.text import QUIET, WARN, minute, plain, score
from upm_cli.tui.views import Drift as View
from upm_cli.tui.widgets.drift_chart import DriftChart
from upm_cli.tui.widgets.listing import Listing
from upm_cli.tui.widgets.panes import TextPane

if TYPE_CHECKING:
    from upm_cli.ops.report import Line
    from upm_cli.ops.strips import Strip

_TALL: Final = 30  # lines from which there is room for why a contest ended so
_WINDOWS: Final = tuple(column.key for column in WINDOWS)


class Drift(BoardView):
    NAME = "drift"
    LABEL = "Drift"
    KEYS: ClassVar[tuple[str, ...]] = ("b", "p", "tab")
    PANES: ClassVar[tuple[str, ...]] = ("windows", "tenants", "features")

    def body(self) -> Sequence[Widget]:
        chart = DriftChart(id="drift", is_ascii=self.project.is_ascii)
        lists = [
            Listing(WINDOWS, id="windows", title="Windows"),
            Listing(STRIPS, id="tenants", title="Tenants"),
            Listing(STRIPS, id="features", title="Features"),
        ]
        return [Container(chart, TextPane(id="contests"), Container(*lists, id="drift-lists"), id="drift-board")]

    @property
    def parts(self) -> frozenset[Part]:
        return frozenset({Part.DRIFT, Part.STRIPS})

    def words(self, trainer: str | None) -> Sequence[str]:
        by = {1: ("--by", "tenant"), 2: ("--by", "feature")}.get(self._pane, ("--plot",))
        return ("drift-report", *([trainer] if trainer else []), *by)

    def draw(self, board: Board) -> None:
        if board.drift is None:
            if board.trainer is None:
                self.query_one("#windows", Listing).show({}, _WINDOWS, empty=self.no_trainers())
            return
        drift = board.drift
        self.query_one("#drift", DriftChart).show(drift, board.trainer, self._no_drift(board))
        self._draw_contests(drift)
        empty = f"No drift window yet: {drift.sample_size:,} labelled windows make a verdict."
        self.query_one("#windows", Listing).show(window_rows(drift), _WINDOWS, empty=empty)
        self._draw_strips(board)

    def _draw_contests(self, drift: View) -> None:
        pane = self.query_one("#contests", TextPane)
        pane.display = bool(drift.contests or drift.features)

        def lines(width: int, height: int) -> Text:
            found = contests.lines(drift.contests, width, is_short=self.app.size.height < _TALL)
            if drift.features:
                found.append(Text(f"! {plain(drift.features)}", style=WARN))
            for line in found:
                line.truncate(width, overflow="ellipsis")
            return Text("\n").join(found[:height])

        title = Text.assemble(("Contests", "bold"), ("  mean loss more than the other's · ┊ allowed · │ zero ", QUIET))
        pane.show(lines, (drift.contests, drift.features), title)
        pane.fit()

    def _draw_strips(self, board: Board) -> None:
        strips = board.strips
        pairs: tuple[tuple[str, Sequence[Strip], str], ...] = (
            ("tenants", () if strips is None else strips.tenants, "No comparisons yet."),
            ("features", () if strips is None else strips.features, (strips.note if strips else "") or "No look yet."),
        )
        for name, found, empty in pairs:
            listing = self.query_one(f"#{name}", Listing)
            width = listing.room
            said = "reading …" if strips is None and board.past is None else empty
            listing.show(strip_rows(found, width), ("name", "strip", "newest", "n"), empty=said)

    def _no_drift(self, board: Board) -> str:
        name = board.trainer or ""
        after = self.project.command(("train", name, "--source", "FILE"))
        return f"{name} has no drift window yet.\n\nNext:  {after}"

    def detail(self) -> tuple[str, Text, Sequence[str]] | None:
        board, listing = self._board, self.listing
        if board is None or board.drift is None or listing is None or listing.current is None:
            return None
        if listing.id == "windows":
            line = next((each for each in board.drift.lines if each.window.window_id == listing.current), None)
            return None if line is None else (*_about(line), ("quarantine", "show", line.window.window_id))
        return None if board.strips is None else self._strip_detail(board, listing, listing.current)

    def _strip_detail(self, board: Board, listing: Listing, name: str) -> tuple[str, Text, Sequence[str]] | None:
        assert board.strips is not None
        found = board.strips.tenants if listing.id == "tenants" else board.strips.features
        strip = next((each for each in found if each.name == name), None)
        if strip is None:
            return None
        text = Text(
            "P95 by window\n" if listing.id == "tenants" else "distance from the reference, in limits\n", style=QUIET
        )
        for at_ms, value in zip(board.strips.starts_ms, strip.values, strict=True):
            over = value is not None and value >= strip.limit
            text.append(
                f"{minute(at_ms)}  {score(value)}{'  ✗ at the limit' if over else ''}\n", style="red" if over else ""
            )
        text.rstrip()
        words = ("drift-report", board.trainer or "", "--by", "tenant" if listing.id == "tenants" else "feature")
        return f"{'Tenant' if listing.id == 'tenants' else 'Feature'} {plain(name)}", text, words


def _about(line: "Line") -> tuple[str, Text]:
    """Return title and text of one window."""
    window, numbers = line.window, line.numbers
    exceed = {"share": numbers["exceed"], "low": numbers["exceed_low"], "high": numbers["exceed_high"]}
    suspects = ", ".join(f"v{each}" for each in window.metadata.get("suspects", ())) or "none"
    facts = (
        ("verdict", " ".join(LEVELS[line.level]) + f" · status {window.status.value}"),
        ("P95", f"{score(window.p95)}, limit {window.threshold:g}"),
        ("mean, max", f"{score(window.mean)}, {score(window.max)}"),
        ("samples", f"{window.n:,}, late {window.metadata['late']:,}, without score {numbers['dropped']:,}"),
        ("at the limit", share(exceed)),
        ("score", RULES[line.rule]),
        ("model", "none" if window.version is None else f"v{window.version}"),
        ("log", f"{window.first_seq:,} to {window.last_seq:,}"),
        ("recommends", window.recommendation or "nothing"),
        ("bars", suspects),
        ("closed", "yes" if line.is_final else "not yet: more may come"),
    )
    text = Text("\n").join(Text.assemble((f"{name:<13}", QUIET), plain(value)) for name, value in facts)
    return f"Window {minute(window.started_at_ms)} to {minute(window.closed_at_ms)}", text
