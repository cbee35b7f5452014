"""Handing a snapshot out as files that other tools read, and whose signature other tools can verify."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from upm_cli.core.canonical import canonical_json
from upm_cli.core.delivery.envelope import Envelope
from upm_cli.core.delivery.pem import public_pem
from upm_cli.core.delivery.trust import Trust
from upm_cli.core.records import Snapshot
from upm_cli.core.signatures import SignatureState, Signed
from upm_cli.core.versions import snapshot_id
from upm_cli.errors import IntegrityError
from upm_cli.ops import signatures
from upm_cli.ops import snapshots as snapshot_ops
from upm_cli.store import blobs, fsio, keys

if TYPE_CHECKING:
    from upm_cli.store.session import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """The files that were written. `envelope` and `public_keys` are there for a snapshot that is signed."""

    model: Path
    manifest: Path
    envelope: Path | None
    public_keys: tuple[Path, ...]
    signed: Signed


def export(store: "Store", row: Snapshot, folder: Path) -> Exported:
    """Write the proven bytes of a snapshot into `folder`, with its manifest and what proves who made it.

    The model is plain safetensors. manifest.json is canonical JSON with the sha256 of the model. The envelope is
    DSSE around an in-toto statement about that sha256, on one line; beside it are the public keys of those who signed
    and are believed. Raises IntegrityError when bytes or signature are not what they were, StorageError.
    """
    snapshot_ops.load(store.home, row)
    signed = signatures.judged_one(store.home, row)
    if signed.state is SignatureState.INVALID:
        raise IntegrityError(
            f"{snapshot_id(row.trainer, row.version)} is {signed.words()}",
            hint=f"find out who changed the signature, then upm snapshot sign {row.trainer} {row.version}",
            code="UPM-E116",
        )
    data = blobs.read(
        store.home, row.path, digest=row.digest, file_digest=row.file_digest, codec=row.codec, raw_bytes=row.raw_bytes
    )
    fsio.make_folder(folder)
    model = folder / f"{row.trainer}-v{row.version:04}.safetensors"
    fsio.durable_write(model, data, mode=0o644)
    about = {"file": model.name, "sha256": row.digest, "size_bytes": row.raw_bytes, "manifest": dict(row.manifest)}
    manifest = folder / "manifest.json"
    fsio.durable_write(manifest, canonical_json(about).encode(), mode=0o644)
    envelope = model.with_suffix(".intoto.jsonl")
    known = keys.read(store.home).known() if row.signatures else Trust(keys={})
    sealed = _sealed(row, signed, known)
    if sealed is None:
        fsio.durable_unlink(envelope)  # an older export may have left one that no longer counts
        return Exported(model=model, manifest=manifest, envelope=None, public_keys=(), signed=signed)
    fsio.durable_write(envelope, sealed.encode() + b"\n", mode=0o644)
    public = tuple(_write_public(folder, each.keyid, known) for each in sealed.signatures)
    return Exported(model=model, manifest=manifest, envelope=envelope, public_keys=public, signed=signed)


def _sealed(row: Snapshot, signed: Signed, known: Trust) -> Envelope | None:
    """Return the envelope with the signatures that count; None: there is none. What can't be checked here may count."""
    if signed.state not in (SignatureState.SIGNED, SignatureState.UNCHECKED):
        return None
    whole = signatures.envelope_of(row)
    counting = [each for each in whole.signatures if known.believes(each.keyid) and each.keyid not in signed.wrong]
    if not counting:
        return None
    return Envelope(payload_type=whole.payload_type, payload=whole.payload, signatures=tuple(counting))


def _write_public(folder: Path, keyid: str, known: Trust) -> Path:
    path = folder / f"{keyid}.pub.pem"
    fsio.durable_write(path, public_pem(known.keys[keyid]), mode=0o644)
    return path
