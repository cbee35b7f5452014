"""What a drift monitor would have found, made up for rehearsals and tests. Only for temporary stores."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from upm_cli.clock import Clock
from upm_cli.core.records import Evidence, Monitor
from upm_cli.ops.decisions import View
from upm_cli.ops.proof import champion_of
from upm_cli.store import evidence, monitors, rollouts

if TYPE_CHECKING:
    from upm_cli.store.session import Store


def prove(
    store: "Store",
    clock: Clock,
    trainer: str,
    version: int | None = None,
    *,
    verdict: str = "pass",
    stage: int = 0,
    windows: int = 5000,
    first_seq: int | None = None,
    harmed: Sequence[str] = (),
    tenants: Sequence[str] = (),
) -> Evidence:
    """Write what a contest found: of the lineage of `trainer`, or of its snapshot `version` as a candidate.

    The champion is what the rollout of that version replaces, else what serves now. The windows begin where the monitor
    has read to, or at `first_seq`; it has read them all then.
    """
    with store.write(actor="drift-monitor") as tx:
        view = View.read(tx, trainer)
        monitor = monitors.get(tx, trainer)
        first = monitor.position if first_seq is None else first_seq
        last = first + windows - 1
        rollout = rollouts.newest(tx, trainer)
        is_its = rollout is not None and version is not None and rollout.version == version
        champion = rollout.champion if rollout is not None and is_its else champion_of(view, version or -1)
        kind = "lineage" if version is None else "candidate"
        found = Evidence(
            trainer=trainer,
            kind=kind,
            contest_id=f"{kind}/{champion or 'baseline'}/{version or 'lineage'}",
            challenger=version,
            champion=champion,
            stage=stage,
            verdict=verdict,
            windows=windows,
            first_seq=first,
            last_seq=last,
            findings=_findings(verdict, windows, first, last, harmed, tenants),
            updated_at_ms=clock.now_ms(),
        )
        evidence.put(tx, found)
        monitors.put(tx, _at(monitor, last + 1))
    return found


def _findings(
    verdict: str, windows: int, first: int, last: int, harmed: Sequence[str], tenants: Sequence[str]
) -> dict[str, object]:
    value, low, high = {"pass": (-0.02, -0.03, -0.01), "fail": (0.05, 0.03, 0.08)}.get(verdict, (0.0, -0.02, 0.02))
    needed = None if verdict == "pass" else 3000
    measure = {"value": value, "low": low, "high": high, "threshold": 0.01, "needed": needed}
    tested = {**measure, "verdict": verdict, "n": windows, "log_e": 9.0, "log_e_threshold": 5.0}
    return {
        "verdict": verdict,
        "reasons": [] if verdict == "pass" else [f"made up: {verdict}"],
        "headline": f"made up: {verdict}",
        "gate": {**measure, "windows": windows, "pessimistic": False},
        "promote": {**tested, "name": "promote"},
        "harm": {**tested, "name": "harm"},
        "tail": {**tested, "name": "tail"},
        "labels": {"windows": windows, "labelled": windows, "share": 1.0, "needed": 0.95, "young": 0},
        "exceedance": None,
        "broken": None,
        "retrial": None,
        "doubt_from": None,
        "barred": [],
        "windows": windows,
        "fresh_windows": windows,
        "fresh_first_seq": first,
        "first_seq": first,
        "last_seq": last,
        "tenants": [],
        "tenants_seen": len(tenants),
        "harmed": list(harmed),
        "tenant_names": list(tenants),
    }


def _at(monitor: Monitor, position: int) -> Monitor:
    return replace(monitor, position=max(position, monitor.position))
