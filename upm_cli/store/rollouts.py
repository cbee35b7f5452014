"""Rollouts: one row for each, the newest of a trainer is the one that counts."""

from upm_cli.core.records import RolloutRow
from upm_cli.errors import NotFoundError
from upm_cli.store.rows import codec
from upm_cli.store.unit import Reader, Tx


def put(tx: Tx, rollout: RolloutRow) -> None:
    """Add or replace a rollout."""
    tx.put("rollouts", codec(RolloutRow).encode(rollout))


def get(r: Reader, rollout_id: str) -> RolloutRow:
    """Return a rollout by its id. Raises NotFoundError."""
    rows = r.query("rollouts.find", rollout_id=rollout_id)
    if not rows:
        raise NotFoundError(f"no rollout {rollout_id!r}", hint="upm rollout history", code="UPM-E047")
    return codec(RolloutRow).decode(rows[0])


def newest(r: Reader, trainer: str) -> RolloutRow | None:
    """Return the last rollout that was begun for a trainer, ended or not."""
    rows = r.query("rollouts.newest", trainer=trainer)
    return codec(RolloutRow).decode(rows[0]) if rows else None


def list_for(r: Reader, trainer: str) -> list[RolloutRow]:
    """Return the rollouts of a trainer, oldest first."""
    return [codec(RolloutRow).decode(row) for row in r.query("rollouts.list_for", trainer=trainer)]
