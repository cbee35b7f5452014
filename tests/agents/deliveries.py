"""Something to deliver, and how a stub speaks TLS."""

import hashlib
import ssl
from dataclasses import replace
from pathlib import Path

from upm_cli.adapters.base import Delivery
from upm_cli.core.delivery.pointer import ModelFile, Place, Pointer


def make_delivery(path: Path, stored: bytes, **changes: object) -> Delivery:
    path.write_bytes(stored)
    digest = hashlib.sha256(stored).hexdigest()
    pointer = Pointer(
        trainer="main",
        tenant="acmé & söhne/?",
        version=42,
        digest=digest,
        ring="global",
        place=Place(12, 34),
        kind="activate",
        decision_id="d-1",
        issued_at_ms=1_764_000_000_000,
        expires_at_ms=None,
        model=ModelFile(codec="none", size_bytes=len(stored), raw_bytes=len(stored), file_digest=digest),
    )
    pointer = replace(pointer, **changes)  # type: ignore[arg-type]
    return Delivery(pointer=pointer, envelope=pointer.envelope().encode(), model=path)


def server_side(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context
