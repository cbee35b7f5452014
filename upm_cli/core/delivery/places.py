"""Where things lie in a model directory: what a directory adapter fills, an HTTP agent keeps and a puller caches.

    models/<digest>.zst|gz|bin            stored bytes of a snapshot, never changed
    pointers/<trainer>/<slug>.json        what one tenant is to be served: an envelope, replaced at once
    acks/<trainer>/<slug>/<agent>.json    what an agent says it serves

Tenants may have any name, so their slug is a hash; "_" is the absence of a tenant.
"""

import hashlib
import re
from typing import Final

from upm_cli.core.delivery.envelope import damaged

MODELS: Final = "models"
POINTERS: Final = "pointers"
ACKS: Final = "acks"
EXTENSIONS: Final = {"zstd": "zst", "gzip": "gz", "none": "bin"}

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


def slug(tenant: str) -> str:
    """Return the file name part that stands for `tenant`; "" is no tenant."""
    return f"t-{hashlib.sha256(tenant.encode()).hexdigest()[:32]}" if tenant else "_"


def is_digest(text: str) -> bool:
    """Say whether `text` is a sha256 as 64 lower-case hexadecimal digits."""
    return _DIGEST.fullmatch(text) is not None


def model(digest: str, codec: str) -> str:
    """Return the relative path of a model. Raises IntegrityError for what is no digest or no codec."""
    if not is_digest(digest) or codec not in EXTENSIONS:
        raise damaged(f"{digest[:80]!r} in codec {codec[:20]!r} names no model")
    return f"{MODELS}/{digest}.{EXTENSIONS[codec]}"


def pointer(trainer: str, tenant: str) -> str:
    """Return the relative path of a pointer; `trainer` is a checked name."""
    return f"{POINTERS}/{trainer}/{slug(tenant)}.json"


def ack(trainer: str, tenant: str, agent: str) -> str:
    """Return the relative path of what `agent` says; `trainer` and `agent` are checked names."""
    return f"{ACKS}/{trainer}/{slug(tenant)}/{agent}.json"
