"""Which snapshots to keep: everything that may be needed, and then by number and age."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from upm_cli.core.activation import rollback_targets
from upm_cli.core.records import Activation, Pin, Ring, Snapshot, Trainer
from upm_cli.core.versions import Live

DAY_MS: Final = 86_400_000
_SPARE_TARGETS: Final = 2  # per ring: the rollback target, and one more in case its bytes are bad


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionPolicy:
    """Keep what is among the newest `keep` or younger than `keep_days`; either is enough."""

    keep: int = 20
    keep_days: float = 30.0

    def __post_init__(self) -> None:
        if self.keep < 0 or not self.keep_days >= 0:
            raise ValueError(f"keep and keep_days can't be negative, got {self.keep} and {self.keep_days}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionPlan:
    """What to delete (oldest first), and for each protected version why it stays whatever the policy says."""

    delete: tuple[Snapshot, ...]
    protected: Mapping[int, str]


def protected_versions(
    trainer: Trainer,
    snapshots: Sequence[Snapshot],
    live: Live,
    history: Sequence[Activation],
    pins: Mapping[Ring, Pin],
    handed_out: Mapping[int, str] | None = None,
    anchor: int | None = None,
) -> dict[int, str]:
    """Return the versions that must never be deleted and the first reason for each.

    `handed_out` are those that adapters should have or have confirmed: agents may ask for them at any time.
    """
    reasons: list[tuple[int | None, str]] = [(s.version, "pinned") for s in snapshots if s.pinned]
    reasons += [(pin.version, f"{ring} is pinned to it") for ring, pin in pins.items()]
    reasons.append((anchor, "anchor of the hold-out"))
    for ring, current in live.items():
        reasons.append((current.version, f"active in {ring}"))
        reasons.append((current.previous_version, f"active in {ring} before"))
        reasons.append((current.rest_version, f"what the other tenants of {ring} get"))
        targets = rollback_targets(trainer, snapshots, history, ring, current.version)
        reasons += [(target.version, f"rollback target of {ring}") for target in targets[:_SPARE_TARGETS]]
    reasons += [(s.version, "the trainer learns on from it") for s in snapshots if _is_base(s, trainer)]
    reasons += list((handed_out or {}).items())
    found: dict[int, str] = {}
    for version, reason in reasons:
        if version is not None:
            found.setdefault(version, reason)
    return found


def _is_base(snapshot: Snapshot, trainer: Trainer) -> bool:
    """Say whether the trainer's state refers to `snapshot`: newest, same checkpoint, or last put back to it."""
    if snapshot.version == trainer.last_version:
        return True
    if snapshot.checkpoint_digest is not None and snapshot.checkpoint_digest == trainer.checkpoint_digest:
        return True
    return bool(trainer.lineage) and trainer.lineage[-1]["to_version"] == snapshot.version


def plan_retention(
    snapshots: Sequence[Snapshot], policy: RetentionPolicy, protected: Mapping[int, str], now_ms: int
) -> RetentionPlan:
    """Decide which of one trainer's snapshots go. `now_ms` is the time that ages are counted from."""
    newest_first = sorted(snapshots, key=lambda s: s.version, reverse=True)
    oldest_kept_ms = now_ms - policy.keep_days * DAY_MS
    doomed = [s for s in newest_first[policy.keep :] if s.version not in protected and s.created_at_ms < oldest_kept_ms]
    return RetentionPlan(delete=tuple(reversed(doomed)), protected=dict(protected))
