"""Snapshots: made from what a trainer has committed, found by a word, read back and proven.

Making one has two halves, as every change has: `prepare` writes the file, `register` writes the row, the event and the
number into the caller's commit. A file without a row is an orphan that `upm snapshot gc` collects.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from upm_cli import __version__
from upm_cli.clock import Clock
from upm_cli.core import snapshot as codec
from upm_cli.core.records import Ring, Snapshot, Trainer
from upm_cli.core.versions import parent_version, resolve_version, skipped_ranges, snapshot_id
from upm_cli.errors import IntegrityError
from upm_cli.ids import iso
from upm_cli.ops.signer import sign_made
from upm_cli.store import activations, blobs, snapshots, trainers
from upm_cli.telemetry.points import Recorder

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.store.session import Reader, Tx

HASH: Final = "upm-64"  # docs/reference/hash.md


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A snapshot whose file is durable and whose row is not written yet. `data` are its canonical bytes."""

    row: Snapshot
    data: bytes


def prepare(
    home: Path,
    clock: Clock,
    settings: "Settings",
    trainer: Trainer,
    arrays: codec.Arrays,
    fields: Mapping[str, Any],
    *,
    checkpoint_digest: str | None,
    version: int | None = None,
    note: str | None = None,
) -> Prepared:
    """Write the file of a snapshot, sign it where there is a key, and return what its commit needs.

    `arrays` are the tensors agents load. `fields` is what the learner knows of them: at least `log` {first_seq,
    last_seq}, `windows` and `metrics`; all of it goes into the manifest. `checkpoint_digest` is the trainer's state at
    the same position. `version` is the next one unless given. Raises IntegrityError for weights that are not finite.
    """
    version = version or trainer.last_version + 1
    manifest = {
        **fields,
        "schema_version": codec.SCHEMA_VERSION,
        "trainer": trainer.name,
        "tenant_id": trainer.tenant_id,
        "version": version,
        "parent": parent_version(version, trainer.lineage),
        "log": {**fields["log"], "skipped": skipped_ranges(version, trainer.lineage)},
        "hash": HASH,
        "config_digest": settings.digest(),
        "libraries": library_versions(),
        "platform": platform_profile(),
    }
    try:
        data = codec.encode(arrays, manifest)
    except codec.SnapshotFormatError as exc:
        raise IntegrityError(
            f"the model of {snapshot_id(trainer.name, version)} can't be kept: {exc}",
            hint=f"upm trainer show {trainer.name}; go back with upm rollback {trainer.name}",
            code="UPM-E095",
        ) from exc
    stored = blobs.put(home, data, cast("blobs.Codec", settings.snapshot_manager.compression))
    row = Snapshot(
        trainer=trainer.name,
        version=version,
        mode=trainer.mode,
        digest=stored.digest,
        file_digest=stored.file_digest,
        codec=stored.codec,
        path=stored.path,
        size_bytes=stored.size_bytes,
        raw_bytes=stored.raw_bytes,
        tenant_id=trainer.tenant_id,
        parent=manifest["parent"],
        first_seq=fields["log"]["first_seq"],
        last_seq=fields["log"]["last_seq"],
        windows=fields["windows"],
        checkpoint_digest=checkpoint_digest,
        note=note,
        created_at_ms=clock.now_ms(),
        metrics=fields["metrics"],
        manifest=manifest,
        signatures=sign_made(home, manifest, stored.digest),
    )
    return Prepared(row=row, data=data)


def register(tx: "Tx", home: Path, trainer: Trainer, prepared: Prepared) -> tuple[Snapshot, Trainer]:
    """Write the row and the event of a prepared snapshot into the commit `tx`.

    `trainer` is the row as read in `tx`. If its next number is not the prepared one (somebody took a snapshot in
    between), the snapshot is numbered and signed anew. Returns the row, and the trainer with `last_version` moved on,
    which the caller puts.
    """
    row = _numbered(home, trainer, prepared, trainer.last_version + 1)
    row = replace(row, first_seq=_own_first_seq(tx, trainer, row))
    snapshots.put(tx, row)
    tx.event(
        "ai.upm.snapshot.created",
        f"/trainers/{row.trainer}",
        snapshot_id=snapshot_id(row.trainer, row.version),
        trainer_id=row.trainer,
        version=row.version,
        created_at=iso(row.created_at_ms),
        metadata={
            "digest": row.digest,
            "size_bytes": row.size_bytes,
            "first_seq": row.first_seq,
            "last_seq": row.last_seq,
            "windows": row.windows,
            "metrics": dict(row.metrics),
        },
    )
    return row, replace(trainer, last_version=row.version)


def _numbered(home: Path, trainer: Trainer, prepared: Prepared, version: int) -> Snapshot:
    row = prepared.row
    if row.version == version:
        return row
    arrays, manifest = codec.decode(prepared.data)
    parent = parent_version(version, trainer.lineage)
    manifest |= {"version": version, "parent": parent}
    stored = blobs.put(home, codec.encode(arrays, manifest), cast("blobs.Codec", row.codec))
    return replace(
        row,
        version=version,
        parent=parent,
        digest=stored.digest,
        file_digest=stored.file_digest,
        path=stored.path,
        size_bytes=stored.size_bytes,
        raw_bytes=stored.raw_bytes,
        manifest=manifest,
        signatures=sign_made(home, manifest, stored.digest),
    )


def _own_first_seq(tx: "Tx", trainer: Trainer, row: Snapshot) -> int:
    """Return where the part of the log begins that `row` learned from and its parent did not."""
    if row.parent is None:
        return row.first_seq
    if trainer.lineage and trainer.lineage[-1]["last_version"] == row.version - 1:
        return int(trainer.lineage[-1]["at_seq"])
    return snapshots.get(tx, row.trainer, row.parent).last_seq + 1


def measure(recorder: Recorder, row: Snapshot) -> None:
    """Record the telemetry of a snapshot; call it after the commit."""
    about = {"trainer_id": row.trainer}
    size = {"version": row.version, "size_bytes": row.size_bytes}
    recorder.record("upm.trainer.snapshot", {"snapshot_id": snapshot_id(row.trainer, row.version), **size}, about)


def find(reader: "Reader", name: str, word: str, ring: Ring | None = None) -> Snapshot:
    """Return the snapshot that `word` names (42, v42, 0042, latest, active, previous).

    Raises NotFoundError for an unknown trainer or version, UsageError for another word.
    """
    trainers.get(reader, name)
    versions = [row.version for row in snapshots.list_for(reader, name)]
    version = resolve_version(word, name, versions, activations.live(reader, name), ring)
    return snapshots.get(reader, name, version)


def load(home: Path, row: Snapshot) -> tuple[dict[str, codec.Array], dict[str, Any]]:
    """Return the tensors and the manifest of a snapshot, every byte of it proven.

    The file digest, the canonical digest, the format and the row must all agree. Raises IntegrityError naming the
    file and what differs.
    """
    data = blobs.read(
        home, row.path, digest=row.digest, file_digest=row.file_digest, codec=row.codec, raw_bytes=row.raw_bytes
    )
    try:
        arrays, manifest = codec.decode(data)
    except codec.SnapshotTooNewError as exc:
        raise _unfit(row, str(exc), "use the newer upm that made it") from exc
    except codec.SnapshotFormatError as exc:
        raise _unfit(row, f"is not a snapshot: {exc}") from exc
    differing = sorted(key for key in {*manifest, *row.manifest} if manifest.get(key) != row.manifest.get(key))
    if differing or (manifest["trainer"], manifest["version"]) != (row.trainer, row.version):
        raise _unfit(row, f"says something else than the state about: {', '.join(differing) or 'trainer and version'}")
    return arrays, manifest


def _unfit(row: Snapshot, why: str, hint: str = "") -> IntegrityError:
    return IntegrityError(
        f"{snapshot_id(row.trainer, row.version)}: {row.path} {why}",
        hint=hint or f"do not use it; go back to another version: upm snapshot verify {row.trainer} --all",
        code="UPM-E095",
        context={"trainer": row.trainer, "version": row.version, "path": row.path},
    )


@functools.cache
def library_versions() -> Mapping[str, str]:
    """Return the versions of what computed the weights."""
    return {"upm": __version__, **{name: metadata.version(name) for name in ("numpy",)}}


@functools.cache
def platform_profile() -> Mapping[str, Any]:
    """Return what the bytes of a model depend on besides the log and the configuration: NumPy and the CPU it uses.

    Bytes are promised within one profile; across profiles, a tolerance.
    """
    import platform

    import numpy as np

    simd = np.show_config(mode="dicts").get("SIMD Extensions", {})
    return {
        "machine": platform.machine(),
        "numpy": np.__version__,
        "cpu_baseline": [*simd.get("baseline", ())],
        "cpu_features": [*simd.get("found", ())],
    }
