"""Helpers of tests; nothing of upm itself imports this."""

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import zstandard

from upm_cli import ed25519
from upm_cli.config.schema import PolicySettings, Settings
from upm_cli.core import snapshot as snapshots
from upm_cli.core.canonical import canonical_json
from upm_cli.core.delivery import places, statement
from upm_cli.core.delivery.envelope import Envelope, Signature
from upm_cli.core.delivery.pointer import ModelFile, Place, Pointer
from upm_cli.core.delivery.trust import Trust
from upm_cli.ids import iso
from upm_cli.ops.made_up_evidence import prove
from upm_cli.store import fsio

__all__ = ["Publisher", "key_of", "of_agent", "open_policy", "prove", "trust_file"]

T0 = 1_800_000_000_000
MADE_UP_DIGEST = "ab" * 32


def of_agent(number: int, **more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return prediction and outcome number `number` as an agent tells them, an hour apart; a second between numbers.

    `more` replaces fields of both, wherever they are; `label` and `acted` are those of the outcome.
    """
    start_ms = T0 + 1000 * number
    outcome = {
        "prediction_id": f"01900000-0000-7000-8000-{number:012d}",
        "label": more.pop("label", 1),
        "acted": more.pop("acted", True),
        "observed_at": iso(start_ms + 3_600_000),
        "agent": "edge-1",
    }
    made = {
        "prediction_id": outcome["prediction_id"],
        "window_id": f"w{number}",
        "trainer": "main",
        "tenant_id": f"t{number % 3}",
        "version": 3,
        "digest": MADE_UP_DIGEST,
        "epoch": 12,
        "agent": "edge-1",
        "predicted_at": iso(start_ms + 1000),
        "window_start": iso(start_ms),
        "window_end": iso(start_ms + 1000),
        "prediction": {"prediction": 1, "probability": 0.75},
    }
    features = more.pop("features", {"x": number / 10, "kind": f"k{number % 3}"})
    made |= {key: value for key, value in more.items() if key in made}
    outcome |= {key: value for key, value in more.items() if key in outcome}
    told = {"type": "ai.upm.prediction", **made, "features": features}
    return told, {"type": "ai.upm.outcome", **outcome, "served": more.get("served", made)}


def open_policy(settings: Settings, *admins: str) -> Settings:
    """Return `settings` under which `admins` may do everything and shadow takes no time, for any tenant.

    Evidence is still asked for.
    """
    policy = PolicySettings(
        canary_tenants=("*",), min_shadow_hours=0, actors=dict.fromkeys(admins, "admin"), readiness_quiet_hours=0
    )
    return replace(settings, policy=policy)


def key_of(name: str) -> bytes:
    """Return a private key that belongs to `name` in tests."""
    return hashlib.sha256(name.encode()).digest()


def trust_file(path: Path, *seeds: bytes, revoked: tuple[bytes, ...] = ()) -> Path:
    """Write a trust file with the public keys of `seeds`, of which `revoked` are not believed any more."""
    publics = [ed25519.public_of(seed) for seed in (*seeds, *revoked)]
    gone = frozenset(ed25519.key_id(ed25519.public_of(seed)) for seed in revoked)
    trust = Trust(keys={ed25519.key_id(public): public for public in publics}, revoked=gone)
    fsio.replace_file(path, canonical_json(trust.to_json()).encode())
    return path


@dataclass
class Publisher:
    """Fills a model directory for one tenant of a trainer, as adapter sync does; signed where `seeds` are given."""

    root: Path
    trainer: str = "main"
    tenant: str = ""
    seeds: tuple[bytes, ...] = ()
    codec: str = "zstd"
    now_ms: int = 1_764_000_000_000
    serial: int = 0
    sent: list[tuple[Pointer, bytes]] = field(default_factory=list)

    def publish(
        self, arrays: snapshots.Arrays, manifest: Mapping[str, Any], *, version: int | None = None, **more: Any
    ) -> Pointer:
        """Put a model and then its pointer there; see `prepare`."""
        pointer = self.prepare(arrays, manifest, version=version, **more)
        self.put_pointer(pointer)
        return pointer

    def prepare(
        self, arrays: snapshots.Arrays, manifest: Mapping[str, Any], *, version: int | None = None, **more: Any
    ) -> Pointer:
        """Put a model there and return the pointer to it, of which `more` is to be otherwise.

        `manifest` is given this trainer and `version`.
        """
        named = {**manifest, "trainer": self.trainer, "version": version or manifest["version"]}
        return self.pointer(self.put_model(snapshots.encode(arrays, named)), named, **more)

    def put_model(self, raw: bytes) -> tuple[str, ModelFile]:
        """Store canonical bytes; return their digest and what a pointer says of the file."""
        stored = packed(raw, self.codec)
        digest = hashlib.sha256(raw).hexdigest()
        path = self.root / places.model(digest, self.codec)
        fsio.make_folder(path.parent)
        fsio.replace_file(path, stored)
        file = ModelFile(
            codec=self.codec,
            size_bytes=len(stored),
            raw_bytes=len(raw),
            file_digest=hashlib.sha256(stored).hexdigest(),
        )
        return digest, file

    def pointer(self, model: tuple[str, ModelFile], manifest: Mapping[str, Any], **more: Any) -> Pointer:
        """Return the next pointer, to a stored model; `more` are fields that are to be otherwise."""
        self.serial += 1
        self.now_ms += 1000
        signed = statement.envelope(manifest, model[0])
        made = Pointer(
            trainer=self.trainer,
            tenant=self.tenant,
            version=manifest["version"],
            digest=model[0],
            ring="global",
            place=Place(self.serial, self.serial),
            kind="activate",
            decision_id=f"decision-{self.serial}",
            issued_at_ms=self.now_ms,
            expires_at_ms=None,
            model=model[1],
            snapshot_signatures=self._signatures(signed),
        )
        return replace(made, **more)

    def put_pointer(self, pointer: Pointer) -> bytes:
        """Let the directory point to `pointer`; return its envelope."""
        return self.put_envelope(self.sealed(pointer))

    def sealed(self, pointer: Pointer) -> bytes:
        """Return the envelope of `pointer`, and remember it as sent."""
        data = pointer.envelope(*self._signatures(pointer.envelope())).encode()
        self.sent.append((pointer, data))
        return data

    def put_envelope(self, data: bytes) -> bytes:
        """Put any bytes where the pointer belongs."""
        path = self.root / places.pointer(self.trainer, self.tenant)
        fsio.make_folder(path.parent)
        fsio.replace_file(path, data)
        return data

    def _signatures(self, envelope: Envelope) -> tuple[Signature, ...]:
        message = envelope.signed_bytes()
        return tuple(
            Signature(ed25519.key_id(ed25519.public_of(seed)), ed25519.sign(seed, message)) for seed in self.seeds
        )


def packed(raw: bytes, how: str) -> bytes:
    """Return `raw` as a blob of that codec is stored."""
    if how == "none":
        return raw
    if how == "gzip":
        return gzip.compress(raw, 6, mtime=0)
    return zstandard.ZstdCompressor(level=1, write_checksum=True, write_content_size=True).compress(raw)
