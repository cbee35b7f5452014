"""The metrics that only grow: counted from the ledger and from telemetry, each line read once."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from upm_cli.errors import StorageError
from upm_cli.ops.quarantine import UNATTENDED
from upm_cli.store import ledger, telemetry
from upm_cli.telemetry.metrics.exposition import Sample
from upm_cli.telemetry.metrics.families import REASONS, ROLLED_BACK_BY, VERDICTS
from upm_cli.telemetry.points import decode
from upm_cli.telemetry.totals import Totals

_QUARANTINES: Final = ("drift.quarantine", "evidence.quarantine")
_ROLLBACKS: Final = ("snapshot.rollback", "rollout.withdraw")


@dataclass(slots=True)
class LedgerCounts:
    """Quarantines and rollbacks of a ledger, counted up to `head`."""

    head: ledger.Head = field(default_factory=ledger.Head)
    counts: dict[tuple[str, str, str], int] = field(default_factory=dict)  # metric, trainer, value of its other label

    def follow(self, home: Path, head: ledger.Head) -> None:
        """Count what came since the last time. Raises IntegrityError, StorageError."""
        entries = ledger.since(home, self.head, head, (*_QUARANTINES, *_ROLLBACKS))
        if entries is None:
            self.head, self.counts = ledger.Head(), {}
            entries = ledger.since(home, self.head, head, (*_QUARANTINES, *_ROLLBACKS)) or []
        for entry in entries:
            key = _what(entry)
            self.counts[key] = self.counts.get(key, 0) + 1
        self.head = head

    def samples(self, trainers: Iterable[str]) -> Iterator[Sample]:
        """Yield the counts; of `trainers` also those that are 0."""
        zero = {("upm_quarantines_total", name, reason): 0 for name in trainers for reason in REASONS}
        zero |= {("upm_rollbacks_total", name, by): 0 for name in trainers for by in ROLLED_BACK_BY}
        for (family, trainer, value), count in (zero | self.counts).items():
            label = "reason" if family == "upm_quarantines_total" else "by"
            yield Sample(family, count, {"trainer": trainer, label: value})


def _what(entry: Mapping[str, Any]) -> tuple[str, str, str]:
    trainer = str(entry["subject"]).partition("@")[0]
    if entry["action"] in _QUARANTINES:
        reason = entry["details"].get("rule") if entry["action"] == "drift.quarantine" else "evidence"
        return "upm_quarantines_total", trainer, reason if reason in REASONS else "other"
    automatic, person = ROLLED_BACK_BY
    return "upm_rollbacks_total", trainer, automatic if entry["actor"] in UNATTENDED else person


class TelemetryCounts:
    """Sums over the telemetry files of a project. They are kept, so that whoever exports next goes on from there."""

    def __init__(self, home: Path) -> None:
        self._home = home
        kept = telemetry.load_totals(home)
        try:
            self._offsets = {str(name): int(offset) for name, offset in kept.get("files", {}).items()}
            self._totals = Totals(kept.get("totals", ()))
        except (TypeError, ValueError, AttributeError):
            self._offsets, self._totals = {}, Totals()

    def follow(self) -> None:
        """Add what was written since the last time. Raises StorageError when a file can't be read."""
        offsets = {}
        for path in telemetry.files(self._home):
            lines, offsets[path.name] = telemetry.read_after(path, self._offsets.get(path.name, 0))
            self._totals.take(decode(lines))
        if offsets != self._offsets:
            self._offsets = offsets
            with suppress(StorageError):  # a project that may only be read: the sums then begin with its oldest file
                telemetry.save_totals(self._home, {"files": offsets, "totals": self._totals.to_json()})

    def samples(self, trainers: Iterable[str], synced: Iterable[str]) -> Iterator[Sample]:
        """Yield the sums; of `trainers`, and of those that are `synced` to adapters, also those that are 0."""
        for name in trainers:
            for verdict in VERDICTS[:2]:
                self._totals.start("upm_drift_windows_judged_total", {"trainer": name, "verdict": verdict})
        for name in synced:
            for what in ("successes", "failures", "retries"):
                self._totals.start(f"upm_adapter_sync_{what}_total", {"trainer": name})
        return self._totals.samples()
