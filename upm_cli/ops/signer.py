"""Signing with the key of a project, without knowing where keys lie."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from upm_cli import ed25519
from upm_cli.core.delivery import statement
from upm_cli.core.delivery.envelope import Envelope, Signature
from upm_cli.errors import IntegrityError, UpmError
from upm_cli.store import keys

Kept = tuple[Mapping[str, str], ...]  # as a snapshot's row has them


class Signer:
    """Signs with one key. What it knows is not shown by repr, equality, or any conversion to plain values."""

    __slots__ = ("_seed", "keyid")

    def __init__(self, keyid: str, seed: bytes) -> None:
        self.keyid = keyid
        self._seed = seed

    def sign(self, envelope: Envelope) -> Signature:
        """Return the signature of what `envelope` holds."""
        return Signature(self.keyid, ed25519.sign(self._seed, envelope.signed_bytes()))

    def __repr__(self) -> str:
        return f"Signer({self.keyid})"


def signer(home: Path) -> Signer | None:
    """Return what signs in the project whose .upm folder is `home`; None: no key was made.

    Raises IntegrityError when the key's files are damaged or missing, InvalidError when others may read the private
    one, UsageError when the package that signs is not installed.
    """
    key = keys.read(home).signing
    while key is not None:
        try:
            return Signer(key.keyid, keys.read_seed(home, key))
        except IntegrityError:
            before, key = key, keys.read(home).signing
            if key == before:
                raise
            # a rotation went by between the two files: the key that signs now is another one
    return None


def sign_made(home: Path, manifest: Mapping[str, Any], digest: str) -> Kept:
    """Return the signature of a snapshot that was just made: none without a key, and none while it can't be used.

    Learning does not stop for a key: an unsigned snapshot is held back by the gate `signature` where signatures are
    asked for, and `upm validate` says what is wrong with the key.
    """
    try:
        found = signer(home)
    except UpmError:
        return ()
    return () if found is None else (found.sign(statement.envelope(manifest, digest)).to_json(),)


def trouble(home: Path) -> UpmError | None:
    """Return why nothing can be signed though there is a key; None: nothing is wrong."""
    try:
        signer(home)
    except UpmError as exc:
        return exc
    return None
