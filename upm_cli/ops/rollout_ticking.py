"""Looking at rollouts from outside of a worker: by a person, or by cron."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from upm_cli.clock import Clock
from upm_cli.core.rollouts.state import Phase
from upm_cli.ops import authority
from upm_cli.ops.rollout import Looked, tick
from upm_cli.ops.rollout_status import told
from upm_cli.store import rollouts, trainers

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.store.session import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticked:
    """What one look at one trainer's rollout did."""

    name: str
    phase: str
    stage: int
    percent: int
    version: int | None
    decided: tuple[str, ...]
    waits_for: tuple[str, ...]
    is_degraded: bool  # it was turned back in this look
    decision_id: str | None


def tick_all(
    store: "Store",
    clock: Clock,
    settings: "Settings",
    names: Iterable[str] | None,
    *,
    actor: str,
    dry_run: bool = False,
) -> list[Ticked]:
    """Look once at the rollouts of trainers `names` (None: all of them); those without one are left out.

    What the machine decides is recorded as its own. Raises RefusedError when the actor may not, NotFoundError.
    """
    if not dry_run:
        authority.require(settings, store.home, actor, "rollout.tick")
    with store.read() as reader:
        every = [trainer.name for trainer in trainers.list_all(reader)]
    found = []
    for name in every if names is None else names:
        looked = tick(store, clock, settings, name, dry_run=dry_run)
        if looked is not None and looked.state is not None:
            found.append(_ticked(name, looked))
    return found


def settle(store: "Store", clock: Clock, settings: "Settings", name: str) -> None:
    """Let a rollout that has ended see that its way back was gone. Nothing happens to one that has not ended."""
    with store.read() as reader:
        row = rollouts.newest(reader, name)
    if row is not None and row.ended_at_ms is not None:
        tick(store, clock, settings, name)


def _ticked(name: str, looked: Looked) -> Ticked:
    state = looked.state
    assert state is not None
    return Ticked(
        name=name,
        phase=state.phase.value,
        stage=state.stage,
        percent=state.percent,
        version=state.version,
        decided=tuple(told(each) for each in looked.decisions if each.kind != "hold"),
        waits_for=() if looked.hold is None else tuple(gate.gate for gate in looked.hold.gates),
        is_degraded=state.phase is Phase.DEGRADED and any(each.kind == "rollback" for each in looked.decisions),
        decision_id=looked.decision_id,
    )
