"""What the parts of a restore share that do again what is on record."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from upm_cli.clock import Clock
from upm_cli.core.past import AGAIN, Entry
from upm_cli.core.records import Snapshot
from upm_cli.core.restoring import Fate
from upm_cli.store import snapshots

if TYPE_CHECKING:
    from upm_cli.store.unit import Tx


@dataclass(slots=True)
class Redoing:
    """One restore that does again what the record says; `holds` are trainers that a person has to look at, and why."""

    tx: "Tx"
    home: Path
    clock: Clock
    actor: str
    barred: Mapping[str, set[int]]
    holds: dict[str, list[str]] = field(default_factory=dict)

    def hold(self, trainer: str, why: str) -> None:
        """Let nothing of `trainer` be exposed further until a person has decided."""
        self.holds.setdefault(trainer, []).append(why)

    def record(self, entry: Entry, **details: Any) -> None:
        """Put on record that the action of `entry` was done again."""
        known = {"action": entry["action"], "entry": entry["n"], "at": entry["at"], "by": entry["actor"]}
        reason = str(entry["details"].get("reason") or "")
        self.tx.ledger(AGAIN, entry["subject"], **details, **known, reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Redone:
    """What became of one action on record."""

    entry: Entry
    fate: Fate
    done: str = ""  # what the restore did, or who did it since


def bar(redoing: Redoing, row: Snapshot, entry: Entry) -> bool:
    """Quarantine `row` unless it is; return whether that changed anything."""
    if row.quarantined:
        return False
    by = f"{entry['actor']} at {entry['at'][:19].replace('T', ' ')}Z"
    why = f"{entry['action']} by {by}, done again when the state was restored"
    snapshots.put(redoing.tx, replace(row, quarantined=True, quarantine_reason=why))
    return True
