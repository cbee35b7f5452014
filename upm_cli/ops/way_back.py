"""What a rollback is worked out from: one trainer as of one state, and the plan that follows from it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from upm_cli.core.activation import RollbackPlan, plan_rollback
from upm_cli.core.recorded import rollback_inputs
from upm_cli.core.records import Activation, DriftStatus, Incident, Ring
from upm_cli.core.versions import resolve_version
from upm_cli.ops.decisions import View
from upm_cli.store import activations, drift, incidents

if TYPE_CHECKING:
    from upm_cli.store.session import Reader


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The state that was read, and the plan; good for the trainer's epoch in it."""

    asked: tuple[str | None, Ring | None]  # the word for the target, and the ring
    view: View
    history: list[Activation]
    incidents: list[Incident]
    limits: Mapping[str, Any]  # what the plan was told besides
    plan: RollbackPlan

    @classmethod
    def read(cls, reader: "Reader", name: str, to: str | None, ring: Ring | None) -> "Seen":
        view = View.read(reader, name)
        wanted = None if to is None else resolve_version(to, name, sorted(view.rows), view.live, ring)
        limits: dict[str, Any] = {"to": wanted, "ring": ring, "suspect_from_seq": _suspect_from_seq(reader, view)}
        history = activations.history(reader, name)
        plan = plan_rollback(view.trainer, list(view.rows.values()), view.live, history, **limits)
        found = incidents.list_for(reader, name)
        return cls(asked=(to, ring), view=view, history=history, incidents=found, limits=limits, plan=plan)

    def inputs(self, damaged: Collection[int]) -> dict[str, Any]:
        """Return what the plan was worked out from, as it is recorded."""
        rows = list(self.view.rows.values())
        return rollback_inputs(self.view.trainer, rows, self.history, **self.limits, damaged=damaged)


def _suspect_from_seq(reader: "Reader", view: View) -> int | None:
    """Return where the suspect part of the log begins: at the first quarantined drift window since the last rewind."""
    since = int(view.trainer.lineage[-1]["at_seq"]) if view.trainer.lineage else 0
    windows = drift.list_for(reader, view.trainer.name)
    suspect = [w.first_seq for w in windows if w.status is DriftStatus.QUARANTINED and w.first_seq >= since]
    return min(suspect, default=None)
