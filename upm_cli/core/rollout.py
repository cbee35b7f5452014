"""The rollout machine: shadow, canary, global, watched, done. Values in, values out.

`advance` is what the machine does by itself at each look; the other verbs are what people ask for. Each takes the
state, what is seen now and the policy, and returns a Step: the state from now on and the decisions to carry out. The
caller keeps the state and carries out the decisions in one commit; if only one of the two survives, the next look
finds out.

What holds at any time (checked exhaustively by `core.rollouts.check`):
- at most one stage a look, and only on a pass of this stage's evidence that is fresh, with every gate allowing it;
- a candidate that harmed, or that is quarantined, is never exposed further;
- nothing moves while paused or after the end, and a person who moves the rings wins;
- unknown is not yes: it holds, and after a deadline it pauses.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, Final, TypeVar

from upm_cli.core.plain import from_plain, to_plain
from upm_cli.core.rollouts.decisions import Step, decision_json
from upm_cli.core.rollouts.plan import PlannedStage, plan
from upm_cli.core.rollouts.policy import RolloutPolicy
from upm_cli.core.rollouts.state import Observation, Phase, RolloutState, new_rollout
from upm_cli.core.rollouts.verbs import abort, advance, pause, promote, resume, retry, start
from upm_cli.errors import InvalidError, RefusedError

T = TypeVar("T")

__all__ = [
    "VERBS",
    "Phase",
    "PlannedStage",
    "RolloutPolicy",
    "Step",
    "abort",
    "advance",
    "decide",
    "inputs_json",
    "new_rollout",
    "outcome_json",
    "pause",
    "plan",
    "promote",
    "recompute",
    "resume",
    "retry",
    "start",
    "state_from_json",
    "state_json",
]

VERBS: Final[Mapping[str, Callable[..., Step]]] = {
    "advance": advance,
    "start": start,
    "promote": promote,
    "pause": pause,
    "resume": resume,
    "abort": abort,
    "retry": retry,
}


def decide(
    verb: str, state: RolloutState, observation: Observation, policy: RolloutPolicy, arguments: Mapping[str, Any]
) -> Step:
    """Apply one verb by name; `arguments` are those beyond the three values (actor, reason, …)."""
    return VERBS[verb](state, observation, policy, **arguments)


def inputs_json(
    state: RolloutState,
    observation: Observation,
    policy: RolloutPolicy,
    verb: str = "advance",
    arguments: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return everything a decision is made from, in plain values."""
    values = {"state": state, "observation": observation, "policy": policy}
    plain: dict[str, Any] = to_plain({"verb": verb, "arguments": dict(arguments or {}), **values}, "inputs")
    return plain


def outcome_json(outcome: Step | RefusedError) -> dict[str, Any]:
    """Return an outcome in plain values: the state and the decisions, or the refusal."""
    if isinstance(outcome, RefusedError):
        plain: dict[str, Any] = to_plain(
            {"refused": {"code": outcome.code, "message": outcome.message, "context": outcome.context}}
        )
        return plain
    return {"state": state_json(outcome.state), "decisions": [decision_json(each) for each in outcome.decisions]}


def recompute(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Decide again from kept inputs and return the outcome, which must be the one on the record.

    Raises InvalidError where the inputs are not what `inputs_json` gives.
    """
    if inputs.keys() != {"verb", "arguments", "state", "observation", "policy"} or inputs["verb"] not in VERBS:
        raise _unreadable("inputs are not those of a rollout")
    state = state_from_json(inputs["state"])
    observation = _whole(Observation, inputs["observation"])
    policy = _whole(RolloutPolicy, inputs["policy"])
    try:
        return outcome_json(decide(inputs["verb"], state, observation, policy, inputs["arguments"]))
    except RefusedError as exc:
        return outcome_json(exc)
    except TypeError as exc:
        raise _unreadable(f"arguments of {inputs['verb']}: {exc}") from exc


def state_json(state: RolloutState) -> dict[str, Any]:
    """Return a rollout's state in plain values, for its row."""
    plain: dict[str, Any] = to_plain(state)
    return plain


def state_from_json(plain: Mapping[str, Any]) -> RolloutState:
    """Return the state that `state_json` gave; raises InvalidError where any part is missing or wrong."""
    return _whole(RolloutState, plain)


#: Fields that older records lack: only words hang on them, and the default gives the words of that time.
_LATER: Final = frozenset({"awaits_snapshot"})


def _whole(kind: type[T], plain: Any) -> T:
    """Read a value of which every field must be there, but for `_LATER`: a lost one must not take its default."""
    if not isinstance(plain, Mapping):
        raise _unreadable(f"{kind.__name__} is not an object")
    if missing := sorted({each.name for each in fields(kind)} - plain.keys() - _LATER):  # type: ignore[arg-type]
        raise _unreadable(f"{kind.__name__} lacks {missing[0]}")
    return from_plain(kind, plain)


def _unreadable(why: str) -> InvalidError:
    return InvalidError(
        f"a rollout can't be read: {why}",
        hint="upm doctor; upm audit show prints what is on the record",
        code="UPM-E039",
    )
