"""Snapshots: the versions of a trainer's model."""

from collections.abc import Sequence

from upm_cli.core.records import Snapshot
from upm_cli.errors import NotFoundError
from upm_cli.store.rows import codec
from upm_cli.store.unit import Reader, Tx


def get(r: Reader, trainer: str, version: int) -> Snapshot:
    """Return one version. Raises NotFoundError."""
    rows = r.query("snapshots.find", trainer=trainer, version=version)
    if not rows:
        raise NotFoundError(
            f"trainer {trainer!r} has no snapshot version {version}",
            hint=f"see what there is: upm snapshot list {trainer}",
            code="UPM-E042",
            context={"trainer": trainer, "version": version},
        )
    return codec(Snapshot).decode(rows[0])


def list_for(r: Reader, trainer: str) -> list[Snapshot]:
    """Return all versions of a trainer, oldest first."""
    return [codec(Snapshot).decode(row) for row in r.query("snapshots.list_for", trainer=trainer)]


def put(tx: Tx, snapshot: Snapshot) -> None:
    """Add or replace a version."""
    tx.put("snapshots", codec(Snapshot).encode(snapshot))


def sign(tx: Tx, signed: Sequence[Snapshot]) -> None:
    """Replace the signatures of versions, and nothing else; one that is gone, or has other bytes, stays out."""
    columns = [codec(Snapshot).encode(each) for each in signed]
    names = {"trainers": "trainer", "versions": "version", "digests": "digest", "signatures": "signatures"}
    if columns:
        tx.execute("snapshots.sign", **{name: [each[column] for each in columns] for name, column in names.items()})


def remove(tx: Tx, trainer: str, version: int) -> None:
    """Forget a version; its blob becomes an orphan and is collected later."""
    tx.execute("snapshots.remove", trainer=trainer, version=version)
