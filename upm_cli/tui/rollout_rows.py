"""Gates, tenants and decisions of a rollout as rows of lists."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from upm_cli.tui.rollout_text import SAYS, worst_gates
from upm_cli.tui.text import NONE, QUIET, WARN, plain, right, version
from upm_cli.tui.widgets.listing import Row
from upm_cli.tui.widgets.rows import Column

if TYPE_CHECKING:
    from upm_cli.ops.tenants import Known

GATES: Final = (
    Column("says", "Says"),
    Column("gate", "Gate"),
    Column("detail", "Why", least=24),
    Column("satisfy", "What would satisfy it", rank=1, least=24),
)
TENANTS: Final = (
    Column("tenant", "Tenant"),
    Column("version", "Gets"),
    Column("ring", "From", rank=2),
    Column("rules", "Rules", rank=1),
    Column("detail", "Why", rank=3, least=12),
)
DECISIONS: Final = (
    Column("at", "Time"),
    Column("step", "Step", is_number=True, rank=2),
    Column("percent", "%", is_number=True, rank=3),
    Column("what", "Decided", least=20),
    Column("actor", "Who", rank=4),
    Column("reason", "Why", rank=5, least=12),
)


def gate_rows(gates: Sequence[Mapping[str, Any]]) -> dict[str, Row]:
    """Return the gates, those that say no first, each with what would satisfy it."""
    return {str(gate["gate"]): _gate(gate) for gate in worst_gates(gates)}


def _gate(gate: Mapping[str, Any]) -> Row:
    sign, word, style = SAYS.get(gate["says"], ("?", str(gate["says"]), ""))
    return Row(
        cells={
            "says": Text(f"{sign} {word}", style=style),
            "gate": Text(gate["gate"], style="bold" if not gate["allowed"] else ""),
            "detail": Text(plain(gate["detail"])),
            "satisfy": Text(plain(gate["satisfy"]), style="cyan"),
        },
        values={"says": gate["says"], "gate": gate["gate"]},
        fields={"gate": gate["gate"], "says": gate["says"]},
    )


def tenant_rows(tenants: "Sequence[Known]") -> dict[str, Row]:
    """Return every tenant that is known by name: those held back first, then those with a rule."""
    order = sorted(tenants, key=lambda each: (not each.is_held, not each.rules, each.tenant))
    return {each.tenant: _tenant(each) for each in order}


def _tenant(each: "Known") -> Row:
    routed = each.routed
    rules = [rule.rule for rule in each.rules] + (["held back"] if each.is_held else [])
    ring = "" if routed.ring is None else routed.ring.value
    return Row(
        cells={
            "tenant": Text(plain(each.tenant)),
            "version": Text(NONE if routed.version is None else version(routed.version)),
            "ring": Text(ring),
            "rules": Text(", ".join(dict.fromkeys(rules)), style=WARN if rules else ""),
            "detail": Text(plain(routed.detail), style=QUIET),
        },
        values={"tenant": each.tenant, "version": routed.version, "ring": ring},
        fields={"tenant": each.tenant, "ring": ring, "version": str(routed.version or "")},
    )


def decision_rows(decisions: Sequence[Mapping[str, Any]]) -> dict[str, Row]:
    """Return what was decided about rollouts, newest first."""
    return {str(each["ledger"]): _decision(each) for each in reversed(decisions)}


def _decision(each: Mapping[str, Any]) -> Row:
    at = str(each["at"])
    stage = each.get("stage")
    return Row(
        cells={
            "at": Text(f"{at[5:10]} {at[11:16]}Z", style=QUIET),
            "step": right(NONE if stage is None else str(stage + 1)),
            "percent": right(NONE if each.get("percent") is None else str(each["percent"])),
            "what": Text(plain(each["what"])),
            "actor": Text(plain(each["actor"]), style=QUIET),
            "reason": Text(plain(each.get("reason") or ""), style=QUIET),
        },
        values={"at": at, "step": stage, "percent": each.get("percent"), "actor": each["actor"]},
        fields={"actor": str(each["actor"]), "action": str(each["action"])},
    )
