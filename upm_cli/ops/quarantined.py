"""What is quarantined and why: snapshots that must not be served, and the drift windows that cast doubt on them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from upm_cli.clock import Clock
from upm_cli.core.feedback.names import served_owner, trainer_of
from upm_cli.core.records import DriftStatus, DriftWindow, Snapshot
from upm_cli.errors import NotFoundError
from upm_cli.ops import authority, keeping
from upm_cli.store import drift, snapshots, trainers

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.store.session import Reader, Store

BARRED = (DriftStatus.QUARANTINED, DriftStatus.RESOLVED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """The barred snapshots and the failed drift windows of one trainer, oldest first."""

    trainer: str
    snapshots: tuple[Snapshot, ...]
    windows: tuple[DriftWindow, ...]


def of(reader: "Reader", name: str | None = None) -> list[Quarantined]:
    """Return what is quarantined of trainer `name` (None: of all that have something)."""
    names = [each.name for each in trainers.list_all(reader)] if name is None else [name]
    found = [
        Quarantined(
            trainer=each,
            snapshots=tuple(row for row in snapshots.list_for(reader, each) if row.quarantined),
            windows=tuple(
                window
                for owner in (each, served_owner(each))
                for window in drift.list_for(reader, owner)
                if window.status in BARRED
            ),
        )
        for each in names
    ]
    return [each for each in found if name is not None or each.snapshots or each.windows]


def window(reader: "Reader", window_id: str) -> DriftWindow:
    """Return a drift window by its id (`main/4711`, of what was served `main:served/815`). Raises NotFoundError."""
    name = window_id.partition("/")[0]
    for found in drift.list_for(reader, name):
        if found.window_id == window_id:
            return found
    raise NotFoundError(f"no drift window {window_id!r}", hint=f"upm drift-report {trainer_of(name)}", code="UPM-E045")


def release(
    store: "Store",
    clock: Clock,
    settings: "Settings",
    name: str,
    word: str,
    *,
    actor: str,
    reason: str,
    dry_run: bool = False,
) -> tuple[Snapshot, bool]:
    """Lift the quarantine of a snapshot, if the actor may; return it and whether that changed anything.

    Raises RefusedError naming the role that may, UsageError without a reason, NotFoundError.
    """
    authority.require(settings, store.home, actor, "snapshot.release")
    return keeping.release(
        store,
        clock,
        name,
        word,
        actor=actor,
        reason=reason,
        config_digest=settings.full_digest(),
        dry_run=dry_run,
    )
