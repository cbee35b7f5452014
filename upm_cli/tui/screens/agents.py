"""Screen 5: who follows the models, how far they are, and how many deliveries succeed."""

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.widget import Widget

from upm_cli.ops.entry_lines import pairs
from upm_cli.tui import live
from upm_cli.tui.board import Board, Part
from upm_cli.tui.fleet_rows import AGENTS, agent_key, agent_rows
from upm_cli.tui.screens.base import BoardView
from upm_cli.tui.text import plain
from upm_cli.tui.widgets.listing import Listing
from upm_cli.tui.widgets.panes import TextPane


class Agents(BoardView):
    NAME = "agents"
    LABEL = "Agents"
    KEYS: ClassVar[tuple[str, ...]] = ("o", "w", "y")
    PANES: ClassVar[tuple[str, ...]] = ("agents",)
    ONE_TRAINER = False

    def body(self) -> Sequence[Widget]:
        return [TextPane(id="fleet", title="Deliveries"), Listing(AGENTS, id="agents", title="Agents")]

    @property
    def parts(self) -> frozenset[Part]:
        return frozenset({Part.AGENTS})

    def words(self, trainer: str | None) -> Sequence[str]:
        return ("adapter", "list")

    def draw(self, board: Board) -> None:
        fleet = board.fleet
        if board.past is not None:
            empty = "What agents had then is not recorded.\n\n\\ goes back to now."
        else:
            note = fleet.get("note") or "Nobody follows these models yet"
            empty = f"{note}.\n\nNext:  {self.project.command(('adapter', 'add', '--help'))}"
        self.query_one("#fleet", TextPane).show(
            lambda width, height: Text("\n").join([live.agents(fleet), live.success(fleet)]), fleet
        )
        self.query_one("#agents", Listing).show(
            agent_rows(fleet, board.at_ms), [column.key for column in AGENTS], empty=empty
        )

    def detail(self) -> tuple[str, Text, Sequence[str]] | None:
        board, listing = self._board, self.listing
        name = listing.current if listing is not None else None
        found = None if board is None else next((e for e in board.fleet["adapters"] if agent_key(e) == name), None)
        if found is None:
            return None
        told = pairs({key: value for key, value in found.items() if value is not None})
        return (
            f"Agent {plain(found['adapter_key'])}",
            Text("\n".join(map(plain, told))),
            (
                "adapter",
                "show",
                found["adapter_key"],
            ),
        )
