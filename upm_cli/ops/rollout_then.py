"""How a rollout stood at an instant: worked out from the inputs of its last decision before that, as recorded."""

from dataclasses import replace
from typing import TYPE_CHECKING

from upm_cli.core.past import Entry
from upm_cli.core.plain import from_plain
from upm_cli.core.rollout import plan, state_from_json
from upm_cli.core.rollouts.gates import step_gates
from upm_cli.core.rollouts.policy import RolloutPolicy
from upm_cli.core.rollouts.state import Observation, Phase
from upm_cli.errors import NotFoundError
from upm_cli.ops.rollout_status import Standing, each_once, standing
from upm_cli.ops.rollout_view import Seen
from upm_cli.ops.then import Then, decided, rollout_row

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings


def standing_then(then: Then, settings: "Settings", name: str) -> Standing | None:
    """Return how the newest rollout of `name` stood; None: it had none.

    From a kept state with all that its gates said at that instant, else as they were at its last decision.
    Raises InvalidError for a record that another version of upm wrote.
    """
    if then.generation is not None:
        try:
            return standing(then.store, then.clock, settings, name)
        except NotFoundError:
            return None
    entry, row = decided(then.entries, name), rollout_row(then.entries, name)
    return None if entry is None or row is None else _recorded(then, settings, name, entry)


def _recorded(then: Then, settings: "Settings", name: str, entry: Entry) -> Standing:
    details = entry["details"]
    state = state_from_json(details["outcome"]["state"])
    observation = from_plain(Observation, details["inputs"]["observation"])
    policy = from_plain(RolloutPolicy, details["inputs"]["policy"])
    row = rollout_row(then.entries, name)
    assert row is not None
    with then.store.read() as reader:
        seen = replace(Seen.read(reader, settings, name), row=row, state=state, policy=policy)
    is_going = state.phase is Phase.PROGRESSING
    return Standing(
        row=row,
        state=state,
        seen=seen,
        observation=observation,
        gates=each_once(step_gates(state, observation, policy)) if is_going else (),
        coming=(),
        stages=tuple(plan(policy, state, observation.instant, observation.shadow_ms)),
    )
