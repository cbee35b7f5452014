"""What happened to a trainer's drift, at places of the event time of its windows: quarantines and rollbacks."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from upm_cli.core.records import DriftStatus, DriftWindow, Incident
from upm_cli.store import incidents

if TYPE_CHECKING:
    from upm_cli.store.session import Reader


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """`at_ms` is event time: where the stream was when it happened. `kind`: quarantine | rollback."""

    at_ms: int
    kind: str
    text: str


def of(reader: "Reader", name: str, windows: Sequence[DriftWindow], until_ms: int | None = None) -> list[Happened]:
    """Return what happened over `windows`, oldest first; with `until_ms` (wall time) what had happened then."""
    found = [row for row in incidents.list_for(reader, name) if until_ms is None or row.at_ms <= until_ms]
    happened = [*_quarantines(windows), *(each for row in found if (each := _rollback(row, windows)))]
    return sorted(happened, key=lambda each: (each.at_ms, each.kind))


def _quarantines(windows: Iterable[DriftWindow]) -> Iterable[Happened]:
    for window in windows:
        if window.status in (DriftStatus.QUARANTINED, DriftStatus.RESOLVED):
            middle = (window.started_at_ms + window.closed_at_ms) // 2
            p95 = "unknown" if window.p95 is None else f"{window.p95:.3f}"
            yield Happened(at_ms=middle, kind="quarantine", text=f"P95 {p95} ≥ {window.threshold:g}")


def _rollback(row: Incident, windows: Sequence[DriftWindow]) -> Happened | None:
    """Return where in the windows a rollback was: at the last row that is in doubt, else at its wall time."""
    text = f"v{row.from_version} → v{row.to_version} by {row.actor}"
    if row.suspect_last_seq is not None:
        before = [window for window in windows if window.first_seq <= row.suspect_last_seq]
        if not before:
            return None
        return Happened(at_ms=before[-1].closed_at_ms - 1, kind="rollback", text=text)
    if windows and windows[0].started_at_ms <= row.at_ms <= windows[-1].closed_at_ms:
        return Happened(at_ms=row.at_ms, kind="rollback", text=text)
    return None
