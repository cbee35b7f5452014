"""One action that waits for a yes, with its numbers, and what to say when a gate says no."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from upm_cli.core.gates import may_be_excepted
from upm_cli.core.records import Snapshot
from upm_cli.errors import RefusedError
from upm_cli.ops import fleet
from upm_cli.tui.project import Project
from upm_cli.tui.text import loss_of, plural, size


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One action that waits for a yes. `settled` is not empty when there is nothing to do, and says why.

    `type_name`: what must be typed before yes counts, as the action goes past a gate. `needs_reason`: so must a reason.
    """

    title: str
    verb: str
    facts: tuple[tuple[str, str], ...] = ()
    words: tuple[str, ...]  # the command after `upm`, without --reason and --yes
    act: Callable[[str], str]  # takes the reason, returns what was done
    settled: str = ""
    type_name: str = ""
    needs_reason: bool = False

    def command(self, project: Project, reason: str) -> str:
        """Return the command line that does the same."""
        why = ("--reason", reason) if reason else ()
        return project.command([*self.words, *why, "--yes"])


Planner = Callable[[Project, str], Plan]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What the gates said to an action. `override` plans the same with those gates excepted; None: that can't be."""

    title: str
    error: RefusedError
    gates: tuple[Mapping[str, Any], ...]  # gate, allowed, detail, satisfy, numbers
    words: tuple[str, ...]
    override: Planner | None = None


def refusal(error: RefusedError, title: str, words: tuple[str, ...], override: Planner | None) -> Refusal:
    """Return a refusal for the screen; `override` is only offered where every gate that refuses can be excepted."""
    gates = tuple(gate for gate in error.context.get("gates") or () if isinstance(gate, Mapping))
    refused = [gate for gate in gates if not gate.get("allowed", True)]
    is_open = bool(refused) and all(may_be_excepted(str(gate["gate"]), gate) for gate in refused)
    return Refusal(title=title, error=error, gates=gates, words=words, override=override if is_open else None)


def agents_of(project: Project, name: str) -> tuple[tuple[str, str], ...]:
    """Return how many agents follow the trainer, as a fact; none where nobody knows of any."""
    found = fleet.overview(project.store, project.settings, project.clock.now_ms())
    count = fleet.followers(found, name)
    return (("agents", f"{plural(count, 'agent')} get it next"),) if count else ()


def number_of(rows: Mapping[int, Snapshot], version: int | None, more: str) -> str:
    """Return what is to be known of a version in a few words."""
    if version is None:
        return "nothing is live there"
    return about(rows[version], more) if version in rows else f"v{version} (deleted)"


def about(shot: Snapshot, more: str) -> str:
    """Return what is to be known of a snapshot in a few words."""
    parts = [f"v{shot.version}", f"{shot.windows:,} windows", f"loss {loss_of(shot.metrics)}"]
    return " · ".join([*parts, more or size(shot.size_bytes)])
