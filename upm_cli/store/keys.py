"""The files in `.upm/keys`: `keys.json`, the list of all keys, and `<keyid>.pem`, the private half of one that signs.

The list is replaced as a whole, so that at every moment exactly one key signs, or none. A key is listed before its
private half is written: a private key that is not listed was not made by upm.
"""

import os
import stat
from pathlib import Path
from typing import Final

from upm_cli.core.delivery import keyring, pem
from upm_cli.core.delivery.keyring import Key, Keyring
from upm_cli.ed25519 import key_id, public_of
from upm_cli.errors import IntegrityError, InvalidError
from upm_cli.store import fsio
from upm_cli.store.layout import KEYS

LIST: Final = "keys.json"


def read(home: Path) -> Keyring:
    """Return all keys; none where none was ever made. Raises IntegrityError when the list is damaged."""
    path = home / KEYS / LIST
    with fsio.telling(path, "read"):
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return Keyring()
    try:
        return keyring.decode(data, key_id)
    except IntegrityError as exc:
        raise _damaged(path, exc.message, "restore it from a backup; until then nothing is signed") from exc


def write(home: Path, ring: Keyring) -> None:
    """Put `ring` in the place of the list that was there."""
    fsio.make_folder(home / KEYS)
    fsio.durable_write(home / KEYS / LIST, keyring.encode(ring))


def write_seed(home: Path, seed: bytes) -> None:
    """Keep the private half of a key, for nobody else to read."""
    fsio.durable_write(seed_file(home, key_id(public_of(seed))), pem.private_pem(seed))


def read_seed(home: Path, key: Key) -> bytes:
    """Return the private half of `key`.

    Raises IntegrityError when it is missing, damaged or another one, InvalidError when others may read it.
    """
    path = seed_file(home, key.keyid)
    hint = "restore it from a backup, or sign with a new one: upm keys rotate --reason …"
    with fsio.telling(path, "read"):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            raise _damaged(path, "is missing", hint) from None
        try:
            found = os.fstat(fd)
            data = os.read(fd, pem.MAX_PEM_BYTES + 1) if stat.S_ISREG(found.st_mode) else b""
        finally:
            os.close(fd)
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise InvalidError(
            f"others may read the private key {path} (mode {stat.S_IMODE(found.st_mode):04o})",
            hint=f"chmod 600 {path}; if somebody has read it, sign with a new one: upm keys rotate --reason …",
            code="UPM-E115",
        )
    try:
        seed = pem.seed_of(data)
    except ValueError as exc:
        raise _damaged(path, f"can't be used: {exc}", hint) from None
    if public_of(seed) != key.public:
        raise _damaged(path, "is the private half of another key", hint)
    return seed


def drop_seed(home: Path, keyid: str) -> bool:
    """Destroy the private half of a key; return whether it was there."""
    return fsio.durable_unlink(seed_file(home, keyid))


def sweep(home: Path) -> None:
    """Remove what a killed process left half-written; only while nobody else can write here."""
    for path in files(home):
        if path.name.startswith(".") and path.name.endswith(fsio.TEMP_SUFFIX):
            fsio.durable_unlink(path)


def seed_file(home: Path, keyid: str) -> Path:
    """Return where the private half of a key is kept."""
    return home / KEYS / f"{keyid}.pem"


def files(home: Path) -> list[Path]:
    """Return what lies in the folder of keys, by name."""
    folder = home / KEYS
    with fsio.telling(folder, "look into"):
        return sorted(folder.iterdir()) if folder.is_dir() else []


def _damaged(path: Path, why: str, hint: str) -> IntegrityError:
    return IntegrityError(f"{path}: {why}", hint=hint, code="UPM-E112", context={"path": str(path)})
