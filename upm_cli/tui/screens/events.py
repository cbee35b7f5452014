"""Screen 6: events and ledger entries as they come, and everything about the one under the cursor."""

from collections.abc import Sequence
from typing import ClassVar, Final

from rich.text import Text
from textual.widget import Widget

from upm_cli.ops.entry_lines import gate_line, gates_of, is_gate, pairs
from upm_cli.ops.ledger_words import RECORD
from upm_cli.tui.board import Board, Part
from upm_cli.tui.fleet_rows import EVENTS, event_rows
from upm_cli.tui.screens.base import BoardView
from upm_cli.tui.text import QUIET, plain
from upm_cli.tui.told import Told
from upm_cli.tui.widgets.listing import Listing
from upm_cli.tui.widgets.panes import TextPane
from upm_cli.tui.widgets.rows import Rows

_EVENTS: Final = ("at", "n", "kind", "subject", "text")


class Events(BoardView):
    NAME = "events"
    LABEL = "Events"
    KEYS: ClassVar[tuple[str, ...]] = ("left_square_bracket", "space", "y")
    PANES: ClassVar[tuple[str, ...]] = ("events",)
    ONE_TRAINER = False

    def body(self) -> Sequence[Widget]:
        return [Listing(EVENTS, id="events", title="Events", follows=True), TextPane(id="entry")]

    @property
    def parts(self) -> frozenset[Part]:
        return frozenset({Part.EVENTS})

    def words(self, trainer: str | None) -> Sequence[str]:
        return ("events",)

    def draw(self, board: Board) -> None:
        if board.events is None:
            return
        empty = f"Nothing has happened yet.\n\nNext:  {self.project.command(('train', '--source', 'FILE'))}"
        rows = event_rows(board.events)
        listing = self.query_one("#events", Listing)
        listing.show(rows, _EVENTS, empty=empty, at=next(reversed(rows), None))
        self._draw_entry()

    @property
    def _told(self) -> Told | None:
        listing, board = self.query_one("#events", Listing), self._board
        events = board.events or () if board is not None else ()
        return next((each for each in events if each.id == listing.current), None)

    def on_rows_highlighted(self, event: Rows.Highlighted) -> None:
        self._draw_entry()

    def _draw_entry(self) -> None:
        told, pane = self._told, self.query_one("#entry", TextPane)
        pane.display = told is not None
        if told is not None:
            pane.show(lambda width, height: _clipped(told, width, height), told, Text(_title(told), style="bold"))

    def detail(self) -> tuple[str, Text, Sequence[str]] | None:
        told = self._told
        if told is None:
            return None
        words = ("explain", str(told.number)) if told.number is not None else ("events", "--type", told.kind)
        return _title(told), about(told), words


def _title(told: Told) -> str:
    number = f"  ledger #{told.number}" if told.number is not None else ""
    return f"{told.kind} {told.subject}{number}"


def _clipped(told: Told, width: int, height: int) -> Text:
    lines = about(told).split("\n")
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return Text("\n").join(lines[:height])


def about(told: Told) -> Text:
    """Return everything about an event: what, who, why, each gate and each number."""
    data = told.data
    details = data.get("details", data)
    text = Text.assemble(
        ("when    ", QUIET), f"{told.at[:19].replace('T', ' ')}Z", ("   who  ", QUIET), plain(told.actor or "a worker")
    )
    text.append(f"\n{told.text}" if told.text else "")
    reason = details.get("reason")
    if reason and str(reason) not in told.text:
        text.append("\nwhy     ", style=QUIET)
        text.append(plain(reason))
    for gate in gates_of(details):
        text.append(f"\n{plain(gate_line(gate))}", style="" if gate["allowed"] else "red")
    numbers = {key: value for key, value in (details.get("numbers") or {}).items() if not is_gate(value)}
    rest = {key: value for key, value in details.items() if key not in (*RECORD, "gates", "saga", "metadata")}
    for line in pairs({**numbers, **{key: value for key, value in rest.items() if key not in numbers}}):
        text.append(f"\n{plain(line)}", style=QUIET)
    if "decision_id" in details:
        text.append(f"\n  {'decision':<22} {details['decision_id']}", style=QUIET)
    return text
