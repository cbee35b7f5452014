"""What becomes of actions on record that a restored state does not know.

A restore must not loosen anything in silence: what the record says was rolled back, barred, stopped or taken back is
done again in the restore's own commit, unless a later entry undid it. What widens something is left to a person.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from upm_cli.core.past import AGAIN, Entry, barred_by


class Fate(StrEnum):
    """What becomes of an action that the restored state does not know."""

    AGAIN = "done_again"
    SUPERSEDED = "superseded"  # a later action on record undid it, or its time is over
    ITSELF = "by_itself"  # workers decide it again, or the settings do
    NOTHING = "nothing"  # it left nothing in the state
    RUN = "run_it_again"


#: Done again by the restore: each takes something back, or bars it.
TIGHTENING: Final = (
    "snapshot.rollback",
    "rollout.withdraw",
    "rollout.pause",
    "rollout.abort",
    "drift.quarantine",
    "drift.served",
    "drift.extend",
    "evidence.quarantine",
    "trainer.pause",
    "freeze.set",
    "tenant.deny",
    "override.withdraw",
    "signoff.withdraw",
)
_ITSELF: Final = (
    "trainer.config",
    "trainer.mode",
    "evidence.verdict",
    "evidence.restart",
    "features.restart",
    "clock.jump",
    "rollout.advance",
)
_NOTHING: Final = (
    "snapshot.refuse",
    "drill.rollback",
    "drill.serve",
    "doctor.fix",
    "supervisor.stop",
    "worker.restart",
    "state.restored",
    "adapter.retry",
    "keys.prepare",
    "backup.create",
    "backup.restore",
)
_ROLLBACKS: Final = ("snapshot.rollback", "rollout.withdraw")
_PAIRS: Final = {
    "trainer.pause": "learning",
    "trainer.resume": "learning",
    "freeze.set": "freeze",
    "freeze.lift": "freeze",
    "adapter.add": "adapter",
    "adapter.remove": "adapter",
    "snapshot.pin": "pin",
    "snapshot.unpin": "pin",
    "anchor.set": "anchor",
    "anchor.clear": "anchor",
    "rollout.start": "rollout",
    "rollout.pause": "rollout",
    "rollout.resume": "rollout",
    "rollout.promote": "rollout",
    "rollout.abort": "rollout",
    "rollout.retry": "rollout",
}
_PARTS: Final = {"tenant": "tenant", "signoff": "item", "override": "override_id"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """An action that the restored state does not know, and what becomes of it."""

    entry: Entry
    fate: Fate
    undone_by: int | None = None  # the number of the later entry
    bars: tuple[int, ...] = ()  # the versions that are to be barred still


def trainer_of(entry: Entry) -> str:
    """Return the trainer that an entry about a trainer or a snapshot is about."""
    return str(entry["subject"]).partition("@")[0]


def version_of(entry: Entry) -> int:
    """Return the version that an entry about a snapshot is about."""
    return int(str(entry["subject"]).partition("@")[2])


def plain(entry: Entry) -> Entry:
    """Return `entry`, or the action that it did again."""
    if entry["action"] != AGAIN:
        return entry
    return {**entry, "action": entry["details"]["action"]}


def settle(entries: Sequence[Entry]) -> list[Settled]:
    """Say of each entry, oldest first, what becomes of it in a state that knows none of them."""
    told = [plain(entry) for entry in entries]
    return [_settled(entry, told[place + 1 :]) for place, entry in enumerate(told)]


def barred(entries: Sequence[Entry]) -> dict[str, set[int]]:
    """Return the versions, by trainer, that the entries bar and that none of them releases later."""
    found: dict[str, set[int]] = {}
    for entry in map(plain, entries):
        mine = found.setdefault(trainer_of(entry), set())
        if entry["action"] == "snapshot.release":
            mine.discard(version_of(entry))
        mine |= _bars(entry)
    return {name: versions for name, versions in found.items() if versions}


def epochs(entries: Sequence[Entry]) -> dict[str, int]:
    """Return the latest epoch of each trainer that the entries tell of: agents may be there."""
    found: dict[str, int] = {}
    for entry in entries:
        if isinstance(epoch := entry["details"].get("epoch"), int):
            found[trainer_of(entry)] = max(epoch, found.get(trainer_of(entry), 0))
    return found


def _settled(entry: Entry, later: Sequence[Entry]) -> Settled:
    action = entry["action"]
    bars = _bars(entry)
    if bars:
        released = {_key(each): int(each["n"]) for each in later if each["action"] == "snapshot.release"}
        left = {version for version in bars if (trainer_of(entry), version) not in released}
        if not left:
            undone_by = max(released[trainer_of(entry), version] for version in bars)
            return Settled(entry=entry, fate=Fate.SUPERSEDED, undone_by=undone_by)
        bars = left
    if (undone := _undone_by(entry, later)) is not None:
        return Settled(entry=entry, fate=Fate.SUPERSEDED, undone_by=undone)
    return Settled(entry=entry, fate=_fate(action), bars=tuple(sorted(bars)))


def _key(entry: Entry) -> tuple[str, int]:
    return trainer_of(entry), version_of(entry)


def _fate(action: str) -> Fate:
    if action in TIGHTENING:
        return Fate.AGAIN
    if action in _ITSELF:
        return Fate.ITSELF
    return Fate.NOTHING if action in _NOTHING else Fate.RUN


def _bars(entry: Entry) -> set[int]:
    """Return the versions that an entry bars."""
    action, details = entry["action"], entry["details"]
    if action == "snapshot.rollback" or (action == "rollout.withdraw" and details.get("quarantined")):
        return {version_of(entry)}
    return barred_by(details) if action.partition(".")[0] in ("drift", "evidence") else set()


def _undone_by(entry: Entry, later: Sequence[Entry]) -> int | None:
    """Return the number of the first later entry that makes an end of what `entry` did."""
    return next((int(each["n"]) for each in later if _undoes(each, entry)), None)


def _undoes(later: Entry, entry: Entry) -> bool:
    action = str(later["action"])
    if action == "trainer.remove":
        return trainer_of(later) == trainer_of(entry) and entry["action"] != "trainer.add"
    if entry["action"] == "snapshot.activate":
        same_ring = action == "snapshot.activate" and later["details"].get("ring") == entry["details"].get("ring")
        is_left = action in _ROLLBACKS and later["subject"] == entry["subject"]
        return is_left or (same_ring and trainer_of(later) == trainer_of(entry))
    if entry["action"] in _ROLLBACKS and later["subject"] == entry["subject"]:
        if action in _ROLLBACKS:
            return _bars(later) >= _bars(entry)
        return action == "snapshot.release" or (
            action == "snapshot.activate" and later["details"].get("ring") != "shadow"
        )
    family = _family(entry)
    return family is not None and family == _family(later)


def _family(entry: Entry) -> Hashable:
    """Return what of an entry only the newest of its kind counts for; None: each stands for itself."""
    action, details = entry["action"], entry["details"]
    kind = action.partition(".")[0]
    if kind in _PARTS:
        return kind, entry["subject"], details.get(_PARTS[kind])
    return (_PAIRS[action], entry["subject"]) if action in _PAIRS else None
