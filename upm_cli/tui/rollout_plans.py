"""What the keys for rollouts would do: promote, hold, abort, begin; worked out by a dry run of the op."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from upm_cli.core.rollouts.decisions import Decision, Start
from upm_cli.core.rollouts.state import Phase, RolloutState
from upm_cli.errors import NotFoundError
from upm_cli.ops import rollout, rollout_status, trainers
from upm_cli.ops.rollout_ticking import settle
from upm_cli.ops.rollout_words import duration
from upm_cli.tui.plan import Plan, agents_of
from upm_cli.tui.project import Project
from upm_cli.tui.text import plain

if TYPE_CHECKING:
    from upm_cli.ops.rollout import Looked

_VERBS = {"promote": "Promote", "pause": "Hold", "resume": "Go on with", "abort": "Abort"}
_DONE = {"promote": "promoted", "pause": "held", "resume": "goes on", "abort": "given up"}


def plan_ask(project: Project, name: str, verb: str) -> Plan:
    """Plan what `upm rollout VERB` does: promote, pause, resume or abort. Raises RefusedError naming the gate."""
    ask = partial(rollout.ask, project.store, project.clock, project.settings, name, verb, actor=project.actor)
    found = rollout_status.standing(project.store, project.clock, project.settings, name)
    planned = ask(dry_run=True)
    after = planned.state
    assert after is not None

    def act(reason: str) -> str:
        done = ask(reason=reason)
        return f"rollout of {name} {_DONE[verb]}: {_told(done.decisions) or 'nothing changed'}"

    return Plan(
        title=f"{_VERBS[verb]} the rollout of {name}",
        verb=_VERBS[verb].partition(" ")[0],
        facts=(
            ("now", _where(found.state, found.policy.stages[found.state.stage].name)),
            ("does", _told(planned.decisions) or "nothing"),
            ("tenants", f"{found.state.percent} % → {_percent(after)} %"),
            ("serves", _serves(after)),
            *agents_of(project, name),
            *_gates(planned),
        ),
        words=("rollout", verb, name),
        act=act,
        settled="" if planned.decisions else f"the rollout of {name} is {found.state.phase} already",
    )


def plan_hold(project: Project, name: str) -> Plan:
    """Plan to hold the rollout, or to let it go on when it is held."""
    found = rollout_status.standing(project.store, project.clock, project.settings, name)
    return plan_ask(project, name, "resume" if found.state.phase is Phase.PAUSED else "pause")


def plan_begin(project: Project, name: str) -> Plan:
    """Plan to begin a rollout in shadow; after one that ended, to begin anew."""
    store, clock, settings = project.store, project.clock, project.settings
    try:
        before = rollout_status.standing(store, clock, settings, name).state
    except NotFoundError:
        before = None
    verb = "start" if before is None or not before.has_ended else "retry"
    ask = partial(
        rollout.start if verb == "start" else rollout.retry, store, clock, settings, name, actor=project.actor
    )
    planned = ask(dry_run=True)

    def act(reason: str) -> str:
        if verb == "retry":
            settle(store, clock, settings, name)
        trainers.ensure(store, clock, settings, name, actor=project.actor)
        ask(reason=reason)
        return f"a rollout of {name} has begun in shadow"

    hours = settings.policy.min_shadow_hours
    return Plan(
        title=f"Begin a rollout of {name}",
        verb="Begin",
        facts=(
            ("before", "none" if before is None else _where(before, "")),
            ("first", "shadow, where nobody sees it"),
            ("then", " → ".join(settings.rollout.stages[1:])),
            ("leaves", f"shadow after {hours} h, evidence and readiness"),
        ),
        words=("rollout", verb, name),
        act=act,
        settled=""
        if any(isinstance(each, Start) or each.kind == "retry" for each in planned.decisions)
        else f"a rollout of {name} is under way",
    )


def _told(decisions: Sequence[Decision]) -> str:
    return "; ".join(plain(rollout_status.told(each)) for each in decisions if each.kind != "hold")


def _where(state: RolloutState, stage: str) -> str:
    held = f", held {duration(state.held_ms)}" if stage and state.phase is Phase.PROGRESSING else ""
    return f"{state.phase} at step {state.stage + 1}{f' ({stage})' if stage else ''}{held}"


def _percent(state: RolloutState) -> int:
    return 0 if state.phase in (Phase.ABORTED, Phase.DEGRADED) else state.percent


def _serves(state: RolloutState) -> str:
    champion = "nothing" if state.champion is None else f"v{state.champion}"
    if state.version is None or _percent(state) == 0:
        return f"{champion} for everybody"
    return f"v{state.version} for {state.percent} % of tenants, {champion} for the rest"


def _gates(planned: "Looked") -> tuple[tuple[str, str], ...]:
    gates = [gate for each in planned.decisions for gate in getattr(each, "gates", ())]
    names = dict.fromkeys(f"{'✓' if gate.allowed else '✗'} {gate.gate}" for gate in gates)
    return (("gates", "  ".join(names)),) if names else ()
