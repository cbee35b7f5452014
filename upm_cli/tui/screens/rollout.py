"""Screen 4: how the rollout of one trainer stands: its stages, what each gate says, who gets what, what was decided."""

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.containers import Container
from textual.widget import Widget

from upm_cli.ops.entry_lines import pairs
from upm_cli.tui import rollout_text
from upm_cli.tui.board import Board, Part
from upm_cli.tui.rollout_rows import DECISIONS, GATES, TENANTS, decision_rows, gate_rows, tenant_rows
from upm_cli.tui.screens.base import BoardView
from upm_cli.tui.text import QUIET, plain
from upm_cli.tui.views import Rollout as View
from upm_cli.tui.widgets.listing import Listing
from upm_cli.tui.widgets.panes import TextPane
from upm_cli.tui.widgets.rows import Column


class Rollout(BoardView):
    NAME = "rollout"
    LABEL = "Rollout"
    KEYS: ClassVar[tuple[str, ...]] = ("P", "h", "x", "n", "tab")
    PANES: ClassVar[tuple[str, ...]] = ("gates", "tenants", "decisions")

    def body(self) -> Sequence[Widget]:
        lists = [
            Listing(GATES, id="gates", title="Gates"),
            Listing(TENANTS, id="tenants", title="Tenants"),
            Listing(DECISIONS, id="decisions", title="Decisions"),
        ]
        return [TextPane(id="rollout-head"), Container(*lists, id="rollout-board")]

    @property
    def parts(self) -> frozenset[Part]:
        return frozenset({Part.ROLLOUT})

    def words(self, trainer: str | None) -> Sequence[str]:
        return (
            *(("rollout", "status"), ("tenant", "list"), ("rollout", "history"))[self._pane],
            *([trainer] if trainer else []),
        )

    def draw(self, board: Board) -> None:
        view = board.rollout
        if view is None and board.trainer is not None:
            return
        view = view or View(shown=None)
        self._draw_head(board, view)
        gates = () if view.shown is None else view.shown["gates"]
        self.query_one("#gates", Listing).show(gate_rows(gates), _keys(GATES), empty=_no_gates(view))
        self.query_one("#tenants", Listing).show(
            tenant_rows(view.tenants), _keys(TENANTS), empty="No tenant is known by name: no contest has seen one."
        )
        self.query_one("#decisions", Listing).show(
            decision_rows(view.decisions),
            _keys(DECISIONS),
            empty="Nothing was decided yet.",
        )

    def _draw_head(self, board: Board, view: View) -> None:
        head, trainer, shown = self.query_one("#rollout-head", TextPane), board.trainer, view.shown
        title = Text.assemble(("Rollout", "bold"), f"  {trainer or ''}")
        if trainer is None:
            none = self.no_trainers()
            head.show(lambda width, height: Text(none), none, title)
        elif shown is None:
            start = self.project.command(("rollout", "start", trainer))
            head.show(lambda width, height: _no_rollout(view, trainer, start, width), (view.planned, trainer), title)
        else:
            retry = self.project.command(("rollout", "retry", trainer))
            head.show(lambda width, height: rollout_text.head(shown, width, retry), shown, title)
        head.fit()

    def detail(self) -> tuple[str, Text, Sequence[str]] | None:
        board, listing = self._board, self.listing
        if board is None or board.rollout is None or listing is None or listing.current is None:
            return None
        name, trainer = listing.current, board.trainer or ""
        if listing.id == "gates" and board.rollout.shown is not None:
            gate = next(each for each in board.rollout.shown["gates"] if each["gate"] == name)
            return f"Gate {name}", _gate(gate), ("gate", "check", trainer)
        if listing.id == "tenants":
            known = next(each for each in board.rollout.tenants if each.tenant == name)
            lines = [known.routed.detail, *(f"{rule.rule} by {rule.actor}: {rule.reason}" for rule in known.rules)]
            words = ("tenant", "route", name, trainer)
            return f"Tenant {plain(name)}", Text("\n".join(plain(line) for line in lines)), words
        decision = next((each for each in board.rollout.decisions if str(each["ledger"]) == name), None)
        if decision is None:
            return None
        text = "\n".join(map(plain, pairs({key: value for key, value in decision.items() if value is not None})))
        return f"Ledger #{name}", Text(text), ("explain", name)


def _no_rollout(view: View, trainer: str, start: str, width: int) -> Text:
    lines = [Text.assemble(f"{trainer} has no rollout.  Next:  ", (start, "bold"), "   or press n")]
    if view.planned:
        lines += [Text("the way would be", style=QUIET), *rollout_text.bar(view.planned, None, width)]
    return Text("\n").join(lines)


def _keys(columns: Sequence[Column]) -> list[str]:
    return [column.key for column in columns]


def _no_gates(view: View) -> str:
    if view.shown is None:
        return "No gate is asked: nothing is under way."
    return f"No gate is asked while the rollout is {view.shown['phase']}."


def _gate(gate: rollout_text.Shown) -> Text:
    sign, word, style = rollout_text.SAYS.get(gate["says"], ("?", gate["says"], ""))
    text = Text.assemble((f"{sign} {word}", style), f"   {plain(gate['detail'])}\n")
    if gate["satisfy"]:
        text.append(f"→ {plain(gate['satisfy'])}\n", style="cyan")
    numbers = "\n".join(map(plain, pairs(gate["numbers"])))
    text.append(f"\n{numbers}" if numbers else "", style=QUIET)
    text.rstrip()
    return text
