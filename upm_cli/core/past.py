"""What held at an instant: worked out from the moves of pointers and from ledger entries, both in their order.

Order is that of the record, not of the wall clock: an entry counts at an instant when its time is not after it, and
of two that count the later entry wins, whatever a clock that was set back says.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from upm_cli.core.records import Activation, Ring

AGAIN: Final = "restore.again"  # the entry of an action that a restore did again: `action`, `entry` and its details
Entry = Mapping[str, Any]  # of the ledger: n, at (ISO 8601, UTC), actor, action, subject, details


def live_at(history: Iterable[Activation], at_ms: int) -> dict[Ring, Activation]:
    """Return what each ring served at `at_ms`; the ring that moved last comes last."""
    newest = {move.ring: move for move in sorted(history, key=lambda move: move.epoch) if move.at_ms <= at_ms}
    return dict(sorted(newest.items(), key=lambda item: item[1].epoch))


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutThen:
    """A rollout as its last decision left it."""

    rollout_id: str
    phase: str
    stage: int
    percent: int
    version: int | None
    champion: int | None
    of_stages: int  # how many stages it has; 0: not recorded
    name: str  # of the stage, as in "canary 5 %"
    since: str  # when that was decided
    number: int  # of the ledger entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the ledger says held for one trainer."""

    ring_pins: Mapping[str, int] = field(default_factory=dict)  # ring → version that a rollback pinned it to
    pinned: tuple[int, ...] = ()  # versions kept from deletion
    quarantined: tuple[int, ...] = ()
    paused: bool = False
    rollout: RolloutThen | None = None
    anchor: int | None = None  # version that the hold-out stayed on


def standing_at(entries: Sequence[Entry], trainer: str, at: str) -> Standing:
    """Return what held for `trainer` at the instant `at` (ISO 8601, as in the entries)."""
    ring_pins: dict[str, int] = {}
    pinned: set[int] = set()
    quarantined: set[int] = set()
    paused, rollout, anchor = False, None, None
    for entry in entries:
        name, _, version = str(entry["subject"]).partition("@")
        if name != trainer or entry["at"] > at:
            continue
        action, details = entry["action"], entry["details"]
        if action == AGAIN:
            action = details["action"]
        if action == "snapshot.activate" and ring_pins.get(details["ring"], int(version)) != int(version):
            del ring_pins[details["ring"]]
        elif action == "snapshot.rollback":
            ring_pins |= dict.fromkeys(details["rings"], int(details["to_version"]))
            quarantined.add(int(version))
            paused = paused or details.get("trainer") == "paused"
        elif action == "rollout.withdraw" and details["quarantined"]:
            quarantined.add(int(version))
            paused = True
        elif action in ("snapshot.pin", "snapshot.unpin"):
            (pinned.add if action == "snapshot.pin" else pinned.discard)(int(version))
        elif action == "snapshot.release":
            quarantined.discard(int(version))
        elif action == "snapshot.gc":
            pinned -= set(details["versions"])
            quarantined -= set(details["versions"])
        elif action in ("anchor.set", "anchor.clear"):
            anchor = details.get("version")
        elif action in ("trainer.pause", "trainer.resume"):
            paused = action == "trainer.pause"
        elif action == "trainer.remove":
            ring_pins, pinned, quarantined, paused, rollout, anchor = {}, set(), set(), False, None, None
        elif action.startswith("rollout."):
            rollout = _rollout(entry) or rollout
        quarantined |= barred_by(details)
    return Standing(
        ring_pins=ring_pins,
        pinned=tuple(sorted(pinned)),
        quarantined=tuple(sorted(quarantined)),
        paused=paused,
        rollout=rollout,
        anchor=anchor,
    )


def barred_by(details: Mapping[str, Any]) -> set[int]:
    """Return the versions that an entry with these details bars and that were not barred by the same contest before."""
    known = ((details.get("inputs") or {}).get("doubt") or {}).get("known") or ()
    return {int(str(each).partition("@")[2]) for each in details.get("snapshot_ids", ())} - set(known)


def _rollout(entry: Entry) -> RolloutThen | None:
    """Return where the rollout that `entry` is about stood after it, None if it does not say."""
    details = entry["details"]
    state = (details.get("outcome") or {}).get("state")
    if not isinstance(state, Mapping):
        return None
    stages = ((details.get("inputs") or {}).get("policy") or {}).get("stages") or []
    stage = int(state["stage"])
    planned = stages[stage] if 0 <= stage < len(stages) else {}
    ring = str(planned.get("ring", "")) or ("shadow" if stage == 0 else "")
    percent = int(state["percent"])
    return RolloutThen(
        rollout_id=str(state["rollout_id"]),
        phase=str(state["phase"]),
        stage=stage,
        percent=percent,
        version=state.get("version"),
        champion=state.get("champion"),
        of_stages=len(stages),
        name=f"{ring} {percent} %" if ring and ring != "shadow" else ring,
        since=str(entry["at"]),
        number=int(entry["n"]),
    )
