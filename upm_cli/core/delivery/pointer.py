"""Pointers: which snapshot the agents of one tenant are to serve, from when on, and until when that word holds.

Pointers of one (trainer, tenant) are in the order of (epoch, serial): `epoch` is the trainer's when the pointer was
worked out, `serial` grows with each pointer that is sent. docs/reference/delivery.md tells the fields.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from upm_cli.core.canonical import canonical_json
from upm_cli.core.delivery import places
from upm_cli.core.delivery.envelope import Envelope, Signature, damaged, signature_from, strict_object
from upm_cli.core.records import Ring
from upm_cli.errors import UsageError
from upm_cli.ids import check_name, iso

PAYLOAD_TYPE: Final = "application/vnd.upm.pointer+json"
SCHEMA_VERSION: Final = 1
MAX_POINTER_BYTES: Final = 64 << 10
MAX_MODEL_BYTES: Final = 8 << 30  # raw or stored; what is larger is refused before a byte of it is read
KINDS: Final = ("activate", "rollback")

_COUNT: Final = 1 << 62  # of versions, epochs and serials: what fits a 64-bit integer with room to spare


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a pointer stands in the order of those of its trainer and tenant."""

    epoch: int
    serial: int

    def __str__(self) -> str:
        return f"epoch {self.epoch}, serial {self.serial}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """The file of a snapshot as it is stored and sent."""

    codec: str  # zstd | gzip | none
    size_bytes: int
    raw_bytes: int
    file_digest: str  # sha256 of the stored bytes

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointer:
    """Serve version `version` of `trainer` (the bytes with `digest`) to `tenant` ("": windows without one)."""

    trainer: str
    tenant: str
    version: int
    digest: str  # sha256 of the canonical bytes of the snapshot
    ring: str
    place: Place
    kind: str  # activate | rollback: what the newest move of the trainer was
    decision_id: str
    issued_at_ms: int
    expires_at_ms: int | None  # from then on an agent that hears nothing newer says that it is stale
    model: ModelFile
    snapshot_signatures: tuple[Signature, ...] = ()  # of the snapshot's statement (core/delivery/statement.py)
    lowers_from: Place | None = None  # an agent that has seen up to here may go down to `place`

    def encode(self) -> bytes:
        """Return the pointer as canonical JSON, the payload of its envelope."""
        plain = {
            "schema_version": SCHEMA_VERSION,
            "trainer": self.trainer,
            "tenant": self.tenant,
            "version": self.version,
            "digest": self.digest,
            "ring": self.ring,
            "epoch": self.place.epoch,
            "serial": self.place.serial,
            "kind": self.kind,
            "decision_id": self.decision_id,
            "issued_at": iso(self.issued_at_ms),
            "expires_at": None if self.expires_at_ms is None else iso(self.expires_at_ms),
            "model": self.model.to_json(),
            "snapshot_signatures": [each.to_json() for each in self.snapshot_signatures],
            "lowers_from": None if self.lowers_from is None else [self.lowers_from.epoch, self.lowers_from.serial],
        }
        return canonical_json(plain).encode()

    def envelope(self, *signatures: Signature) -> Envelope:
        """Return the pointer in its envelope."""
        return Envelope(payload_type=PAYLOAD_TYPE, payload=self.encode(), signatures=signatures)


_FIELDS: Final = {
    *("schema_version", "trainer", "tenant", "version", "digest", "ring", "epoch", "serial", "kind", "decision_id"),
    *("issued_at", "expires_at", "model", "snapshot_signatures", "lowers_from"),
}


def decode(payload: bytes) -> Pointer:
    """Return the pointer that `encode` made `payload` of.

    Raises IntegrityError when it says anything `encode` would not have written: another schema, other fields, a
    trainer that is no name, numbers below or beyond what they can be.
    """
    plain = strict_object(payload, "the pointer", MAX_POINTER_BYTES)
    if plain.get("schema_version") != SCHEMA_VERSION:
        raise damaged(f"the pointer has schema {plain.get('schema_version')!r}; this upm reads {SCHEMA_VERSION}")
    if plain.keys() != _FIELDS:
        raise damaged(f"the pointer has other fields than it should: {sorted(_FIELDS ^ plain.keys())[:5]}")
    try:
        made = _read(plain)
        again = made.encode()  # which fails for what can't be written: an instant before the year 1, half a character
    except (KeyError, TypeError, ValueError, OverflowError, UsageError) as exc:
        raise damaged(f"the pointer can't be read: {exc}") from exc
    if again != payload:
        raise damaged("the pointer is not in canonical form")
    return made


def _read(plain: dict[str, Any]) -> Pointer:
    lowers = plain["lowers_from"]
    return Pointer(
        trainer=check_name(_text(plain["trainer"]), "trainer"),
        tenant=_tenant(plain["tenant"]),
        version=_count(plain["version"], 1),
        digest=_digest(plain["digest"]),
        ring=Ring(plain["ring"]).value,
        place=Place(_count(plain["epoch"]), _count(plain["serial"])),
        kind=_one_of(plain["kind"], KINDS),
        decision_id=_text(plain["decision_id"]),
        issued_at_ms=_instant(plain["issued_at"]),
        expires_at_ms=None if plain["expires_at"] is None else _instant(plain["expires_at"]),
        model=_model(plain["model"]),
        snapshot_signatures=tuple(signature_from(each) for each in plain["snapshot_signatures"]),
        lowers_from=None if lowers is None else Place(*(_count(each) for each in lowers)),
    )


def _model(plain: Any) -> ModelFile:
    if not isinstance(plain, dict) or plain.keys() != set(ModelFile.__slots__):
        raise ValueError("model has other fields than it should")
    return ModelFile(
        codec=_one_of(plain["codec"], tuple(places.EXTENSIONS)),
        size_bytes=_count(plain["size_bytes"], 1, MAX_MODEL_BYTES),
        raw_bytes=_count(plain["raw_bytes"], 1, MAX_MODEL_BYTES),
        file_digest=_digest(plain["file_digest"]),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 256:
        raise ValueError(f"{str(value)[:40]!r} is no text of at most 256 characters")
    return value


def _tenant(value: Any) -> str:
    if not _text(value).isprintable():
        raise ValueError("the tenant's name has characters that can't be shown")
    return str(value)


def _digest(value: Any) -> str:
    if not places.is_digest(_text(value)):
        raise ValueError(f"{value[:80]!r} is no sha256")
    return str(value)


def _one_of(value: Any, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ValueError(f"{str(value)[:40]!r} is none of {', '.join(known)}")
    return str(value)


def _count(value: Any, least: int = 0, most: int = _COUNT) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{str(value)[:40]} is no whole number from {least} to {most}")
    return value


def _instant(value: Any) -> int:
    at = datetime.fromisoformat(_text(value))
    if at.tzinfo is None:
        raise ValueError(f"{value!r} has no time zone")
    return round(at.timestamp() * 1000)
