"""What the drift monitor's contests say about one snapshot, against what serves now."""

from collections.abc import Mapping
from typing import Any

from upm_cli.core.gates import Proof
from upm_cli.core.records import Evidence, Ring
from upm_cli.core.versions import snapshot_id
from upm_cli.ops.decisions import View
from upm_cli.store import evidence
from upm_cli.store.unit import Reader


def champion_of(view: View, version: int) -> int | None:
    """Return what tenants get now who would get `version`; None when nothing serves them."""
    current = view.live.get(Ring.GLOBAL)
    if current is None or current.percent == 0:
        return None
    return current.version if current.version != version else current.rest_version


def proof_of(reader: Reader, view: View, version: int, now_ms: int) -> Proof | None:
    """Return the contest that says most about `version`: its own if there is one, else that of its lineage."""
    found = evidence.of(reader, view.trainer.name)
    champion = champion_of(view, version)
    own, lineage = found.get("candidate"), found.get("lineage")
    if own is not None and own.challenger == version and own.champion == champion:
        return _proof(own, now_ms, speaks=True, detail=summary(own.findings))
    if lineage is None:
        return None
    why_not = _not_about(lineage, view, version, champion)
    return _proof(lineage, now_ms, speaks=not why_not, detail=why_not or summary(lineage.findings))


def _not_about(lineage: Evidence, view: View, version: int, champion: int | None) -> str:
    """Return why the lineage's contest says nothing about `version`; empty if it does."""
    if lineage.champion != champion:
        return f"it was against {_serving(lineage.champion)}, and {_serving(champion)} serves now"
    row = view.rows[version]
    if row.last_seq < (lineage.first_seq + lineage.last_seq) // 2:
        name = snapshot_id(view.trainer.name, version)
        return f"{name} is older than half of the windows that were judged"
    return ""


def _serving(champion: int | None) -> str:
    return "the baseline" if champion is None else f"v{champion}"


def _proof(row: Evidence, now_ms: int, *, speaks: bool, detail: str) -> Proof:
    return Proof(
        contest_id=row.contest_id,
        verdict=row.verdict,
        windows=row.windows,
        age_ms=now_ms - judged_at_ms(row),
        speaks=speaks,
        detail=detail,
        more=needed(row.findings),
    )


def judged_at_ms(row: Evidence) -> int:
    """Return when a labelled window was last judged: other things about a contest may have been written since."""
    return int(row.findings.get("judged_at_ms", row.updated_at_ms))


def needed(findings: Mapping[str, Any]) -> int | None:
    """Return about how many more windows a verdict needs, if anybody can tell."""
    promote = findings.get("promote") or {}
    return promote.get("needed")


def summary(findings: Mapping[str, Any]) -> str:
    """Say in one line what a contest found: the excess loss with its bounds, and what is open."""
    promote = findings.get("promote") or {}
    value, low, high, limit = (_number(promote.get(name)) for name in ("value", "low", "high", "threshold"))
    said = []
    if promote.get("value") is not None:
        said.append(f"mean excess loss {value:+.4f} [{low:+.4f}, {high:+.4f}], limit {limit:g}")
    reasons = findings.get("reasons") or ()
    return "; ".join([*said, *reasons]) or "nothing was judged yet"


def _number(plain: Any) -> float:
    """Return a number that was kept in plain values, where words stand for what is not finite."""
    return float("nan") if plain is None else float(plain)
