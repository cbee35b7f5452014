"""What a signature of a snapshot says: an in-toto Statement v1 about its digest, with the manifest as predicate.

The statement is made again from manifest and digest wherever it is needed, so only its signatures are kept.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from upm_cli.core.canonical import canonical_json
from upm_cli.core.delivery.envelope import Envelope, Signature
from upm_cli.core.versions import snapshot_id

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "urn:upm:snapshot:v1"


def statement(manifest: Mapping[str, Any], digest: str) -> bytes:
    """Return the statement about the snapshot with `manifest` whose canonical bytes have the sha256 `digest`."""
    plain = {
        "_type": STATEMENT_TYPE,
        "subject": [
            {"name": snapshot_id(str(manifest["trainer"]), int(manifest["version"])), "digest": {"sha256": digest}}
        ],
        "predicateType": PREDICATE_TYPE,
        "predicate": dict(manifest),
    }
    return canonical_json(plain).encode()


def envelope(manifest: Mapping[str, Any], digest: str, signatures: Sequence[Signature] = ()) -> Envelope:
    """Return the statement in its envelope; `signed_bytes()` of it is what is to be signed."""
    return Envelope(payload_type=PAYLOAD_TYPE, payload=statement(manifest, digest), signatures=tuple(signatures))
