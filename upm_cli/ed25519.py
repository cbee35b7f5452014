"""Ed25519 (RFC 8032) by the `cryptography` package, which is imported when a key is first used.

Keys travel as raw bytes: 32 of a private key's seed, 32 of a public key, 64 of a signature.
"""

import hashlib
from typing import Final

from upm_cli.errors import InvalidError, UsageError

SEED_BYTES: Final = 32
PUBLIC_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64


def key_id(public: bytes) -> str:
    """Return the id of a public key: the first 16 hexadecimal digits of its sha256."""
    return hashlib.sha256(public).hexdigest()[:16]


def public_of(seed: bytes) -> bytes:
    """Return the public key that belongs to the private `seed`. Raises InvalidError for a seed of another size."""
    return bytes(_private(seed).public_key().public_bytes_raw())


def sign(seed: bytes, message: bytes) -> bytes:
    """Return the signature of `message`, always the same for the same key. Raises InvalidError for a bad seed."""
    return bytes(_private(seed).sign(message))


def verify(public: bytes, signature: bytes, message: bytes) -> bool:
    """Say whether `signature` is that of `message` by `public`. Bytes that can't be a key or a signature are not."""
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError as exc:
        raise _missing() from exc
    if len(public) != PUBLIC_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _private(seed: bytes):  # type: ignore[no-untyped-def]  # its type would import the package
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    except ImportError as exc:
        raise _missing() from exc
    if len(seed) != SEED_BYTES:
        raise InvalidError(f"a private key has {SEED_BYTES} bytes, not {len(seed)}", code="UPM-E110")
    return Ed25519PrivateKey.from_private_bytes(seed)


def _missing() -> UsageError:
    return UsageError(
        "signatures need the package cryptography, which is not installed",
        hint="pip install 'upm[sign]'",
        code="UPM-E110",
    )
