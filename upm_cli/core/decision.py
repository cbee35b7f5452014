"""Decisions on the record: what was put in, what came out, and how to work it out again.

A decision is the answer of a pure function. Its inputs go on the record whole, as canonical JSON with its sha256, so
that anybody can hand them to the same function later and must get the same outcome.
"""

import hashlib
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from upm_cli.core.plain import canonical, to_plain
from upm_cli.errors import InvalidError

Recompute = Callable[[Mapping[str, Any]], Any]

# kind of decision → module and function that takes its inputs and gives its outcome, imported when it is needed.
# A kind that ends with a dot stands for all that begin with it.
RECOMPUTE: Final[Mapping[str, tuple[str, str]]] = {
    "snapshot.activate": ("upm_cli.core.gates", "recompute"),
    "snapshot.refuse": ("upm_cli.core.gates", "recompute"),
    "snapshot.rollback": ("upm_cli.core.recorded", "recompute_rollback"),
    "snapshot.release": ("upm_cli.core.recorded", "recompute_release"),
    "snapshot.gc": ("upm_cli.core.recorded", "recompute_gc"),
    "drift.quarantine": ("upm_cli.core.drift_decision", "recompute_quarantine"),
    "evidence.verdict": ("upm_cli.core.judging.evidence_decision", "recompute_verdict"),
    "evidence.quarantine": ("upm_cli.core.judging.evidence_decision", "recompute_quarantine"),
    "drift.served": ("upm_cli.core.drift_decision", "recompute_served"),
    "drift.extend": ("upm_cli.core.drift_decision", "recompute_extend"),
    "rollout.": ("upm_cli.core.rollout", "recompute"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRecord:
    """One decision of a pure function, ready to be recorded. Mappings may hold anything `to_plain` takes."""

    decision_id: str
    kind: str  # snapshot.activate, snapshot.rollback, drift.quarantine, rollout.step, …: the ledger's action
    subject: str  # what it is about: a snapshot (main@42) or a trainer
    inputs: Mapping[str, Any]  # everything the function was given
    outcome: Mapping[str, Any]  # everything it answered
    numbers: Mapping[str, Any] = field(default_factory=dict)  # what a person wants to see
    reason: str = ""


def inputs_digest(inputs: Mapping[str, Any]) -> str:
    """Return the sha256 of `inputs` as canonical JSON."""
    return hashlib.sha256(canonical(to_plain(inputs, "inputs")).encode()).hexdigest()


def can_recompute(kind: str) -> bool:
    """Say whether this version of upm knows the function behind a kind of decision."""
    return _entry(kind) is not None


def recompute(kind: str, inputs: Mapping[str, Any]) -> Any:
    """Return the outcome, in plain values, that the function behind `kind` gives for recorded `inputs`.

    Raises InvalidError for a kind that this version of upm does not know and for inputs it can't read.
    """
    entry = _entry(kind)
    if entry is None:
        raise InvalidError(
            f"decisions of the kind {kind!r} can't be worked out again by this version of upm",
            hint="use the version that recorded it; upm audit show prints what is on the record",
            code="UPM-E039",
            context={"kind": kind},
        )
    module, name = entry
    function: Recompute = getattr(importlib.import_module(module), name)
    try:
        return to_plain(function(inputs), "outcome")
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as exc:
        raise InvalidError(
            f"the inputs of a {kind} decision can't be read: {type(exc).__name__}: {exc}",
            hint="use the version of upm that recorded it; upm audit show prints what is on the record",
            code="UPM-E039",
            context={"kind": kind},
        ) from exc


def _entry(kind: str) -> tuple[str, str] | None:
    return RECOMPUTE.get(kind) or RECOMPUTE.get(f"{kind.partition('.')[0]}.")
