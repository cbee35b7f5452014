"""Taking a snapshot on demand, of what a trainer has committed, whether it is being trained at the moment or not."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from upm_cli.clock import Clock
from upm_cli.core.records import Snapshot, Trainer
from upm_cli.core.versions import snapshot_id
from upm_cli.errors import BusyError, NotFoundError
from upm_cli.ops import telemetry
from upm_cli.ops.snapshots import Prepared, measure, prepare, register
from upm_cli.store import snapshots, trainers
from upm_cli.telemetry.points import Recorder

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.store.session import Store

_TRIES: Final = 20  # each time the trainer committed in between


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A snapshot, and whether it was made just now; if not, nothing was learned since it was made."""

    snapshot: Snapshot
    is_new: bool


def take(
    store: "Store",
    clock: Clock,
    settings: "Settings",
    name: str,
    *,
    actor: str,
    reason: str = "",
    note: str | None = None,
    dry_run: bool = False,
) -> Taken | None:
    """Take a snapshot of what the trainer `name` has committed.

    Returns the snapshot there is when nothing was learned since it was made, and None for a dry run that would make
    one. Raises NotFoundError for an unknown trainer or one that has learned nothing.
    """
    for _ in range(_TRIES):
        with store.read() as reader:
            trainer = trainers.get(reader, name)
            same = standing_on(trainer, snapshots.list_for(reader, name))
        if same is not None:
            return Taken(snapshot=same, is_new=False)
        if trainer.checkpoint_digest is None:
            raise NotFoundError(
                f"trainer {name} has learned nothing yet", hint=f"upm train {name} --source FILE", code="UPM-E045"
            )
        if dry_run:
            return None
        prepared = _prepare(store, clock, settings, trainer, note)
        row = _commit(store, prepared, actor, reason) if prepared is not None else None
        if row is not None:
            _record(store, clock, settings, row)
            return Taken(snapshot=row, is_new=True)
    raise BusyError(
        f"trainer {name} commits faster than a snapshot of it is taken; tried {_TRIES} times",
        hint=f"it makes snapshots of its own too: upm snapshot list {name}; or upm pause {name} first",
        code="UPM-E074",
    )


def standing_on(trainer: Trainer, rows: list[Snapshot]) -> Snapshot | None:
    """Return the newest snapshot of exactly the state the trainer has committed, or None."""
    if trainer.checkpoint_digest is None:
        return None
    same = [row for row in rows if row.checkpoint_digest == trainer.checkpoint_digest]
    return same[-1] if same else None


def _prepare(store: "Store", clock: Clock, settings: "Settings", trainer: Trainer, note: str | None) -> Prepared | None:
    """Write the file; None when the trainer has moved on and dropped the state it was to be made of."""
    from upm_cli.ops import checkpoints

    digest = trainer.checkpoint_digest
    try:
        fold = checkpoints.load_checkpoint(store, trainer)
    except NotFoundError:
        with store.read() as reader:
            if trainers.get(reader, trainer.name).checkpoint_digest == digest:
                raise
        return None
    if fold is None:
        return None
    parts = checkpoints.snapshot_parts(fold, trainer.weights_sha256)
    return prepare(store.home, clock, settings, trainer, *parts, checkpoint_digest=digest, note=note)


def _commit(store: "Store", prepared: Prepared, actor: str, reason: str) -> Snapshot | None:
    """Write the row; None when the trainer has moved on, so that its checkpoint may be gone."""
    with store.write(actor=actor) as tx:
        trainer = trainers.get(tx, prepared.row.trainer)
        if trainer.checkpoint_digest != prepared.row.checkpoint_digest:
            return None
        row, trainer = register(tx, store.home, trainer, prepared)
        trainers.put(tx, trainer)
        tx.ledger("snapshot.create", snapshot_id(row.trainer, row.version), digest=row.digest, reason=reason)
    return row


def _record(store: "Store", clock: Clock, settings: "Settings", row: Snapshot) -> None:
    """Record the telemetry of a snapshot that a command made."""
    if settings.telemetry.enabled:
        recorder = Recorder(clock.now_ms())
        measure(recorder, row)
        telemetry.flush(store.home, "command", recorder, clock.now_ms(), force=True)
