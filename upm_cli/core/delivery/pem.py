"""Ed25519 keys in the text form that OpenSSL and others read (RFC 8410): PKCS#8 for private, SPKI for public ones.

Both are a fixed beginning and the 32 raw bytes, so no package is needed to write or read them.
"""

import base64
import binascii
import re
from typing import Final

SEED_BYTES: Final = 32
MAX_PEM_BYTES: Final = 4096

_PKCS8: Final = bytes.fromhex("302e020100300506032b657004220420")
_SPKI: Final = bytes.fromhex("302a300506032b6570032100")
_PRIVATE: Final = re.compile(rb"\s*-----BEGIN PRIVATE KEY-----\s+([A-Za-z0-9+/=\s]+)-----END PRIVATE KEY-----\s*")


def private_pem(seed: bytes) -> bytes:
    """Return the private key with the 32 bytes `seed` as PKCS#8 PEM."""
    return _pem("PRIVATE KEY", _PKCS8 + seed)


def public_pem(public: bytes) -> bytes:
    """Return the public key of 32 raw bytes as SPKI PEM."""
    return _pem("PUBLIC KEY", _SPKI + public)


def seed_of(pem: bytes) -> bytes:
    """Return the seed of a private key in PKCS#8 PEM, not encrypted. Raises ValueError, which tells nothing of it."""
    found = _PRIVATE.fullmatch(pem) if len(pem) <= MAX_PEM_BYTES else None
    try:
        der = b"" if found is None else base64.b64decode(b"".join(found[1].split()), validate=True)
    except binascii.Error:
        der = b""
    if len(der) != len(_PKCS8) + SEED_BYTES or not der.startswith(_PKCS8):
        raise ValueError("it is no ed25519 private key in PKCS#8 PEM without a password")
    return der[len(_PKCS8) :]


def _pem(what: str, der: bytes) -> bytes:
    return f"-----BEGIN {what}-----\n{base64.b64encode(der).decode()}\n-----END {what}-----\n".encode()
