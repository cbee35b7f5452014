"""Which version a ring should serve: activation, and the way back.

Values in, decisions out; `ops.activate` and `ops.rollback` carry them out. A ring serves what its newest
activation names. Every activation and every rollback raises the trainer's epoch, and a decision is only good
for the epoch it was made from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from upm_cli.core.records import Activation, Mode, Pin, Ring, Snapshot, SnapshotStatus, Trainer
from upm_cli.core.versions import Live, abandoned, default_ring, snapshot_id, tainted_by
from upm_cli.errors import BusyError, RefusedError, UsageError

_WIDTH: Final[Mapping[Ring, int]] = {Ring.SHADOW: 0, Ring.CANARY: 1, Ring.GLOBAL: 2}
_MODE_OF_RING: Final = {Ring.SHADOW: Mode.SHADOW, Ring.CANARY: Mode.CANARY, Ring.GLOBAL: Mode.ACTIVE}
_DEFAULT_PERCENT: Final[Mapping[Ring, int]] = {Ring.SHADOW: 0, Ring.CANARY: 1, Ring.GLOBAL: 100}


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationPlan:
    """One move of the pointer of (trainer, ring), good for `expected_epoch` only."""

    ring: Ring
    version: int
    previous_version: int | None
    percent: int
    expected_epoch: int
    is_done: bool  # the ring already serves this version at this percent
    lifts_pin: bool
    archives: int | None  # a version that serves nowhere any more
    mode: Mode  # the trainer's mode from then on
    rest_version: int | None  # what tenants outside a share of ring global get
    salt: str  # of the draw of tenants; empty: a new one

    @property
    def epoch(self) -> int:
        return self.expected_epoch if self.is_done else self.expected_epoch + 1


def check_percent(ring: Ring, percent: int | None) -> None:
    """Raise UsageError unless `percent` of the tenants makes sense in `ring` (None: the default)."""
    if percent is None:
        return
    low, high = {Ring.SHADOW: (0, 0), Ring.CANARY: (1, 99), Ring.GLOBAL: (1, 100)}[ring]
    if not low <= percent <= high:
        reach = "reaches no tenants" if ring is Ring.SHADOW else f"takes {low} to {high} percent"
        raise UsageError(f"{ring} {reach}, got {percent}", hint="leave --percent out for the default", code="UPM-E029")


def plan_activation(
    trainer: Trainer,
    live: Live,
    pins: Mapping[Ring, Pin],
    version: int,
    ring: Ring,
    percent: int | None,
    salt: str = "",
) -> ActivationPlan:
    """Decide what activating `version` in `ring` changes. Gates are asked elsewhere.

    A pin keeps automatic moves out; a person who names a version lifts it. A version that serves a share of tenants
    already keeps its draw (`salt`) while the share grows, so that who had it keeps it.
    """
    current = live.get(ring)
    is_done = current is not None and current.version == version and percent in (None, current.percent)
    same_version = current is not None and current.version == version
    if percent is None:
        percent = current.percent if current is not None and same_version else _DEFAULT_PERCENT[ring]
    leaving = current.version if current is not None and not same_version else None
    rest = _rest(current, version, percent) if ring is Ring.GLOBAL else None
    elsewhere = {a.version for where, a in live.items() if where is not ring} | {rest}
    pin = pins.get(ring)
    widest = max([ring, *live], key=_WIDTH.__getitem__)
    return ActivationPlan(
        ring=ring,
        version=version,
        previous_version=current.previous_version if current is not None and same_version else leaving,
        percent=percent,
        expected_epoch=trainer.epoch,
        is_done=is_done,
        lifts_pin=not is_done and pin is not None and pin.version != version,
        archives=leaving if leaving not in elsewhere else None,
        mode=max(trainer.mode, _MODE_OF_RING[widest], key=list(Mode).index),
        rest_version=rest,
        salt=salt or next((a.salt for a in live.values() if a.version == version and a.salt), ""),
    )


def _rest(current: Activation | None, version: int, percent: int) -> int | None:
    """Return what tenants outside `percent` get when ring global moves from `current` to `version`."""
    if current is None or percent == 100:
        return None
    if current.percent < 100:
        return current.rest_version
    return current.previous_version if current.version == version else current.version


def check_epoch(expected: int, trainer: Trainer, live: Live, ring: Ring) -> None:
    """Raise BusyError if another decision about the trainer was committed since `expected` was read."""
    if trainer.epoch == expected:
        return
    now = live.get(ring)
    who = f": {now.actor} made v{now.version} live in {ring} ({now.kind})" if now else ""
    raise BusyError(
        f"trainer {trainer.name} moved from epoch {expected} to {trainer.epoch} meanwhile{who}; nothing was changed",
        hint=f"look at upm trainer show {trainer.name}, then decide again",
        code="UPM-E073",
        context={"expected_epoch": expected, "epoch": trainer.epoch},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A version to go back to and why it counts as good."""

    version: int
    because: str
    served_all: bool = False  # it was live for everybody once


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackPlan:
    """Leave `from_version` in `rings` for the first of `targets` whose bytes are right; good for one epoch."""

    from_version: int
    rings: tuple[Ring, ...]  # every ring that serves the bad version, the asked one first
    targets: tuple[Target, ...]  # best first, never empty
    expected_epoch: int
    is_done: bool  # the last thing that happened to the ring was this rollback


def rollback_targets(
    trainer: Trainer,
    snapshots: Sequence[Snapshot],
    history: Sequence[Activation],
    ring: Ring,
    bad: int,
    suspect_from_seq: int | None = None,
) -> tuple[Target, ...]:
    """Return the versions to go back to from `bad`, best first.

    First what was live in `ring` or a wider one, most recent first; then snapshots that were never live, newest
    first, made before the suspect part of the log (`suspect_from_seq`, None: not known). Only versions older than
    `bad` that are not quarantined and do not descend from a rolled-back one.
    """
    left = abandoned(snapshots, trainer.lineage)
    sound = {
        s.version: s
        for s in snapshots
        if s.version < bad
        and not s.quarantined
        and s.status is not SnapshotStatus.ROLLED_BACK
        and tainted_by(s.version, trainer.lineage, left) is None
    }
    everywhere = {a.version for a in history if a.ring is Ring.GLOBAL and a.percent == 100}
    targets: dict[int, Target] = {}
    for past in sorted(history, key=lambda a: a.epoch, reverse=True):
        if past.version in sound and _WIDTH[past.ring] >= _WIDTH[ring]:
            because = f"it was live in {past.ring} (epoch {past.epoch})"
            found = Target(version=past.version, because=because, served_all=past.version in everywhere)
            targets.setdefault(past.version, found)
    for version, shot in sorted(sound.items(), reverse=True):
        if suspect_from_seq is None or shot.last_seq < suspect_from_seq:
            because = "it is the newest sound snapshot before the suspect windows"
            targets.setdefault(version, Target(version=version, because=because))
    return tuple(targets.values())


def plan_rollback(
    trainer: Trainer,
    snapshots: Sequence[Snapshot],
    live: Live,
    history: Sequence[Activation],
    *,
    to: int | None = None,
    ring: Ring | None = None,
    suspect_from_seq: int | None = None,
) -> RollbackPlan:
    """Decide what to leave and where to go. Rollback passes no gate; it only refuses where there is no way back.

    Without `to` a rollback that already happened is done: a second one never goes further back on its own.
    Raises RefusedError when nothing is live in the ring, when no sound version is left, or when `to` is none.
    """
    where = ring or default_ring(live)
    if where is None or where not in live:
        raise RefusedError(
            f"trainer {trainer.name} has nothing live" + (f" in {where}" if where else "") + " to roll back from",
            hint=f"make one live with upm activate {trainer.name} VERSION; upm pause {trainer.name} stops the learning",
            code="UPM-E055",
        )
    current = live[where]
    rows = {s.version: s for s in snapshots}
    is_sound = current.version not in rows or not rows[current.version].quarantined
    if to == current.version or (to is None and current.kind == "rollback" and is_sound):
        target = Target(version=current.version, because="it is live already")
        return RollbackPlan(
            from_version=current.previous_version or current.version,
            rings=(where,),
            targets=(target,),
            expected_epoch=trainer.epoch,
            is_done=True,
        )
    if to is None:
        targets = rollback_targets(trainer, snapshots, history, where, current.version, suspect_from_seq)
    else:
        targets = (_asked_target(trainer, rows, history, to, current.version),)
    if not targets:
        raise RefusedError(
            f"trainer {trainer.name} has no sound version older than v{current.version} to go back to",
            hint=f"lift a quarantine (upm snapshot release {trainer.name} VERSION --reason …) and name it with --to, "
            f"or stop the learning with upm pause {trainer.name}",
            code="UPM-E056",
            context={"from_version": current.version, "versions": sorted(rows)},
        )
    rings = (where, *(r for r, a in live.items() if r is not where and a.version == current.version))
    return RollbackPlan(
        from_version=current.version, rings=rings, targets=targets, expected_epoch=trainer.epoch, is_done=False
    )


def _asked_target(
    trainer: Trainer, rows: Mapping[int, Snapshot], history: Sequence[Activation], to: int, bad: int
) -> Target:
    """Return `to` as the target if it may be one: older than what is live, and not quarantined."""
    if to > bad:
        raise RefusedError(
            f"v{to} is newer than v{bad}, which is live: that is no way back",
            hint=f"upm activate {trainer.name} {to}",
            code="UPM-E057",
        )
    if rows[to].quarantined:
        raise RefusedError(
            f"{snapshot_id(trainer.name, to)} is quarantined ({rows[to].quarantine_reason or 'no reason given'})",
            hint=f"name another version, or lift it: upm snapshot release {trainer.name} {to} --reason …",
            code="UPM-E057",
        )
    served_all = any(a.version == to and a.ring is Ring.GLOBAL and a.percent == 100 for a in history)
    return Target(version=to, because="it was asked for", served_all=served_all)
