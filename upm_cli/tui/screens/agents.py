"""Screen 5: who follows the models, how far they are, and how many deliveries succeed."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

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

_COLUMNS: Final = [column.key for column in AGENTS if column.key != "kind"]


class Agents(BoardView):
    NAME = "agents"
    LABEL = "Agents"
    KEYS: ClassVar[tuple[str, ...]] = ("r", "o", "w", "y")
    PANES: ClassVar[tuple[str, ...]] = ("agents",)
    ONE_TRAINER = False

    def body(self) -> Sequence[Widget]:
        return [TextPane(id="fleet", title="Deliveries"), Listing(AGENTS, id="agents", title="Agents")]

    @property
    def parts(self) -> frozenset[Part]:
        return frozenset({Part.AGENTS})

    def words(self, trainer: str | None) -> Sequence[str]:
        return ("sync", "status")

    def draw(self, board: Board) -> None:
        fleet = board.fleet
        if board.past is not None:
            empty = "What agents had then is not recorded.\n\n\\ goes back to now."
        else:
            empty = f"Nobody follows these models yet.\n\nNext:  {self.project.command(('adapter', 'add', '--help'))}"
        self.query_one("#fleet", TextPane).show(
            lambda width, height: Text("\n").join([live.agents(fleet), live.success(fleet)]), fleet
        )
        self.query_one("#agents", Listing).show(
            agent_rows(fleet, board.at_ms), self.pick(_COLUMNS, _COLUMNS, [*_COLUMNS, "kind"]), empty=empty
        )

    @property
    def adapter(self) -> str | None:
        found = self._current()
        return None if found is None else str(found["adapter_key"])

    def detail(self) -> tuple[str, Text, Sequence[str]] | None:
        found = self._current()
        if found is None:
            return None
        name = str(found["adapter_key"])
        told = pairs({key: value for key, value in found.items() if value is not None})
        return f"Agent {plain(name)}", Text("\n".join(map(plain, told))), ("adapter", "show", name)

    def _current(self) -> Mapping[str, Any] | None:
        """Return the adapter under the cursor."""
        name = self.listing.current if self.listing is not None else None
        adapters = () if self._board is None else self._board.fleet["adapters"]
        return next((each for each in adapters if agent_key(each) == name), None)
