"""Every action that asks first, by its word, and what works out its plan. Imported when the first one is asked for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from upm_cli.core.records import Snapshot
from upm_cli.tui import fleet_plans, plans, rollout_plans
from upm_cli.tui.plan import Plan
from upm_cli.tui.project import Project


@dataclass(frozen=True, slots=True)
class Asked:
    """What an action is about besides the trainer: `word` names a version or an adapter."""

    word: str
    shot: Snapshot | None = None

    @property
    def snapshot(self) -> Snapshot:
        assert self.shot is not None
        return self.shot


PLANNERS: Final[Mapping[str, Callable[[Project, str, Asked], Plan]]] = {
    "snapshot": lambda project, trainer, asked: plans.plan_snapshot(project, trainer),
    "activate": lambda project, trainer, asked: plans.plan_activate(project, trainer, asked.word),
    "override": lambda project, trainer, asked: plans.plan_activate(project, trainer, asked.word, override=True),
    "rollback": lambda project, trainer, asked: plans.plan_rollback(project, trainer),
    "pause": lambda project, trainer, asked: plans.plan_pause(project, trainer),
    "release": lambda project, trainer, asked: plans.plan_release(project, trainer, asked.snapshot),
    "pin": lambda project, trainer, asked: plans.plan_pin(project, trainer, asked.snapshot),
    "promote": lambda project, trainer, asked: rollout_plans.plan_ask(project, trainer, "promote"),
    "hold": lambda project, trainer, asked: rollout_plans.plan_hold(project, trainer),
    "abort": lambda project, trainer, asked: rollout_plans.plan_ask(project, trainer, "abort"),
    "begin": lambda project, trainer, asked: rollout_plans.plan_begin(project, trainer),
    "retry": lambda project, trainer, asked: fleet_plans.plan_retry(project, trainer, asked.word),
}
