"""The files of keys, step by step: at whichever step a process dies, exactly one key signs, or none did before."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Final

from upm_cli import ed25519
from upm_cli.clock import Clock
from upm_cli.core.delivery.keyring import Key, Keyring, switched, with_next, without
from upm_cli.errors import IntegrityError, NotFoundError, UsageError
from upm_cli.ops.snapshot_signing import no_key
from upm_cli.store import keys

Entropy = Callable[[int], bytes]

MAX_REASON: Final = 1000  # characters; keys.json stays small
_LOST: Final = "its private key was lost before it signed anything"


def find(ring: Keyring, word: str) -> Key:
    """Return the key whose id is `word`, or is the only one to begin with it. Raises NotFoundError, UsageError."""
    found = [each for each in ring.keys if word and each.keyid.startswith(word.lower())]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(each.keyid for each in found)
        raise UsageError(f"{len(found)} keys begin with {word}", hint=f"they are {names}", code="UPM-E029")
    raise NotFoundError(f"no key {word!r}", hint="upm keys list", code="UPM-E113")


def signing_key(ring: Keyring) -> Key:
    """Return the key that signs. Raises NotFoundError where none was made."""
    if ring.signing is None:
        raise no_key()
    return ring.signing


def need_reason(reason: str, command: str) -> None:
    """Raise UsageError unless there is a reason, of a length that can be kept."""
    if not reason.strip():
        raise UsageError(
            "a change of keys needs a reason; it is kept on the record",
            hint=f'{command} --reason "…"',
            code="UPM-E029",
        )
    if len(reason) > MAX_REASON:
        raise UsageError(f"a reason has at most {MAX_REASON:,} characters", hint="shorten it", code="UPM-E029")


def read_to_change(home: Path) -> Keyring:
    """Return all keys, without what a killed process left. Only inside of a unit of work: its lock keeps others out."""
    keys.sweep(home)
    return keys.read(home)


def ready(home: Path, ring: Keyring, clock: Clock, entropy: Entropy) -> Keyring:
    """Return `ring` with a key that can sign next; one whose private half is lost is revoked, and another one made."""
    if ring.next is not None and can_sign(home, ring.next):
        return ring
    if ring.next is not None:
        ring = without(ring, ring.next.keyid, clock.now_ms(), _LOST)
    seed = entropy(ed25519.SEED_BYTES)
    public = ed25519.public_of(seed)
    ring = with_next(ring, ed25519.key_id(public), public, clock.now_ms())
    keys.write(home, ring)
    keys.write_seed(home, seed)
    return ring


def can_sign(home: Path, key: Key) -> bool:
    """Say whether the private half of `key` is there and whole. Raises InvalidError when others may read it."""
    try:
        keys.read_seed(home, key)
    except IntegrityError:
        return False
    return True


def switch(home: Path, ring: Keyring) -> Keyring:
    """Let the next key sign: the one moment at which a rotation happens."""
    ring = switched(ring)
    keys.write(home, ring)
    return ring


def tidy(home: Path, ring: Keyring) -> None:
    """Destroy the private halves of keys that sign no more."""
    for key in ring.keys:
        if not key.is_kept:
            keys.drop_seed(home, key.keyid)


def public_text(key: Key) -> str:
    """Return a public key as the record and the trust file have it."""
    return base64.b64encode(key.public).decode()
