"""What follows from a contest, in the form it is recorded in: its verdict, and which snapshots a failure bars."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from upm_cli.core.drift_decision import quarantine_outcome
from upm_cli.core.judging.ruling import Facts, decide
from upm_cli.core.plain import from_plain, to_plain
from upm_cli.core.records import Snapshot
from upm_cli.core.sketches import sketched_snapshots, snapshot_sketches
from upm_cli.core.verdict import Verdict

RULES = ("evidence", "both")  # of drift_monitor.rule: those under which a contest may quarantine


def verdict_outcome(verdict: Verdict, reasons: Iterable[str]) -> dict[str, Any]:
    """Return what is recorded of a verdict; its inputs are the plain `Facts`."""
    return {"verdict": verdict.value, "reasons": list(reasons)}


def recompute_verdict(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the verdict that recorded facts lead to."""
    return verdict_outcome(*decide(from_plain(Facts, inputs)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """What a failed contest throws doubt on: one frozen challenger, or what a lineage learned in a part of the log."""

    challenger: int | None  # None: the lineage
    champion: int | None
    doubt_from: int  # log rows, both ends included
    last_seq: int
    known: tuple[int, ...] = ()  # versions that were named already

    def among(self, snapshots: Iterable[Snapshot]) -> list[Snapshot]:
        """Return the snapshots that are in doubt and not known yet. Never the champion."""
        return [s for s in snapshots if s.version not in self.known and s.version != self.champion and self._touches(s)]

    def _touches(self, snapshot: Snapshot) -> bool:
        if self.challenger is not None:
            return snapshot.version == self.challenger
        return snapshot.first_seq <= self.last_seq and snapshot.last_seq >= self.doubt_from


def evidence_inputs(
    facts: Facts, doubt: Doubt, snapshots: Iterable[Snapshot], *, rule: str, way_back: int | None
) -> dict[str, Any]:
    """Write down what a quarantine by evidence is worked out from."""
    return {
        "facts": to_plain(facts),
        "doubt": to_plain(doubt),
        "snapshots": snapshot_sketches(doubt.among(snapshots)),
        "rule": rule,
        "way_back": way_back,
    }


def recompute_quarantine(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the verdict, the snapshots it bars, and what is recommended."""
    verdict, _ = decide(from_plain(Facts, inputs["facts"]))
    doubt = from_plain(Doubt, inputs["doubt"])
    may_bar = verdict is Verdict.FAIL and inputs["rule"] in RULES
    fresh = doubt.among(sketched_snapshots("", inputs["snapshots"])) if may_bar else []
    barred = sorted([*doubt.known, *(s.version for s in fresh)])
    return quarantine_outcome(verdict.value, barred, inputs["way_back"])
