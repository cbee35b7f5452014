"""How an agent's memory of what it has seen is kept: one small file for each (trainer, tenant), which proves itself.

    {"schema_version": 1, "trainer", "tenant", "epoch", "serial", "digest", "issued_at_ms", "keyid",
     "stepped_from": [epoch, serial] | null, "stepped_at_ms", "sha256"}

`sha256` is over the canonical JSON of the rest. A memory that was damaged says so, and never becomes a lower one.
"""

import hashlib
from typing import Any, Final

from upm_cli.core.canonical import canonical_json
from upm_cli.core.delivery.envelope import damaged, strict_object
from upm_cli.core.delivery.pointer import Place
from upm_cli.core.delivery.ratchet import Seen

SCHEMA_VERSION: Final = 1
MAX_MEMORY_BYTES: Final = 16 << 10


def encode(seen: Seen, trainer: str, tenant: str) -> bytes:
    """Return the memory as it is kept."""
    plain = {
        "schema_version": SCHEMA_VERSION,
        "trainer": trainer,
        "tenant": tenant,
        "epoch": seen.place.epoch,
        "serial": seen.place.serial,
        "digest": seen.digest,
        "issued_at_ms": seen.issued_at_ms,
        "keyid": seen.keyid,
        "stepped_from": None if seen.stepped_from is None else [seen.stepped_from.epoch, seen.stepped_from.serial],
        "stepped_at_ms": seen.stepped_at_ms,
    }
    return canonical_json({**plain, "sha256": _seal(plain)}).encode()


def decode(data: bytes, trainer: str, tenant: str) -> Seen:
    """Return the memory in `data`. Raises IntegrityError when it is not what was kept for (trainer, tenant)."""
    plain = strict_object(data, "the memory", MAX_MEMORY_BYTES)
    seal = plain.pop("sha256", None)
    try:
        if seal != _seal(plain):
            raise damaged("the memory is not what was kept")
        if (plain["schema_version"], plain["trainer"], plain["tenant"]) != (SCHEMA_VERSION, trainer, tenant):
            raise damaged("the memory is of another schema, trainer or tenant")
        high = plain["stepped_from"]
        return Seen(
            place=Place(int(plain["epoch"]), int(plain["serial"])),
            digest=plain["digest"],
            issued_at_ms=int(plain["issued_at_ms"]),
            keyid=plain["keyid"],
            stepped_from=None if high is None else Place(int(high[0]), int(high[1])),
            stepped_at_ms=int(plain["stepped_at_ms"]),
        )
    except (KeyError, TypeError, ValueError, IndexError) as exc:
        raise damaged(f"the memory can't be read: {exc}") from exc


def _seal(plain: dict[str, Any]) -> str:
    return hashlib.sha256(canonical_json(plain).encode()).hexdigest()
