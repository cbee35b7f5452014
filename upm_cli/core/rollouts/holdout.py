"""The hold-out: a share of tenants that stays on one snapshot, the anchor, whatever rollouts do.

What a model acts on changes what it is judged by. Tenants that never see the model learning on are the one group that
tells what would be without it. Each has a place of its own in the draw of the trainer, which no rollout shares, and
keeps it while the share grows.
"""

from dataclasses import dataclass

from upm_cli.core.records import Snapshot, SnapshotStatus
from upm_cli.core.rollouts.exposure import bucket, tenant_name


def salt_of(trainer: str) -> str:
    """Return what tenants are drawn into the hold-out with; no rollout has such an id."""
    return f"holdout/{trainer}"


def why_barred(anchor: Snapshot | None) -> str:
    """Return why the anchor must not be served; nothing if it may be."""
    if anchor is None:
        return "is gone"
    if anchor.quarantined:
        return f"is quarantined ({anchor.quarantine_reason or 'no reason given'})"
    return "was rolled back" if anchor.status is SnapshotStatus.ROLLED_BACK else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdout:
    """Who is held out, and on what. `barred`: why the anchor is not served at all; empty: it is."""

    version: int
    percent: int
    salt: str
    barred: str = ""
    allow: frozenset[str] = frozenset()  # who is to see candidates first is never held out

    def __post_init__(self) -> None:
        if not 0 <= self.percent <= 5:
            raise ValueError(f"percent must be 0 to 5, got {self.percent}")

    def place(self, tenant: str | None) -> float:
        """Return the tenant's place in the draw, in [0, 1)."""
        return bucket(tenant, self.salt)

    def includes(self, tenant: str | None) -> bool:
        """Say whether the tenant is held out, by its place, even where the anchor can't be served."""
        return tenant_name(tenant) not in self.allow and self.place(tenant) < self.percent / 100

    def says(self, tenant: str | None) -> str:
        """Return in words why the tenant is held out or not."""
        name, place, share = tenant_name(tenant), self.place(tenant), self.percent / 100
        if name in self.allow:
            return "not in the hold-out: it is on the allow list"
        if place >= share:
            return f"not in the hold-out: its place {place:.6f} >= {share:g}"
        inside = f"in the hold-out: its place {place:.6f} < {share:g}"
        return f"{inside}, but the anchor v{self.version} {self.barred}" if self.barred else inside
