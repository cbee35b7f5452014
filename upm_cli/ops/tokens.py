"""Secrets that are handed in as files: read so that nobody else could have read them."""

import stat
from pathlib import Path
from typing import Final

from upm_cli.errors import InvalidError, NotFoundError
from upm_cli.store import fsio

MIN_LENGTH: Final = 32  # characters; 32 random bytes are 43 in base64 and 64 in hex


def read_token(path: Path) -> bytes:
    """Return the token in the file at `path`, without white space around it.

    Raises NotFoundError, StorageError, or InvalidError when others may read the file or it holds no long enough word.
    """
    with fsio.telling(path, "read"):
        try:
            mode, data = path.stat().st_mode, path.read_bytes()
        except FileNotFoundError as exc:
            raise NotFoundError(f"no token file {path}", hint=_how(path), code="UPM-E046") from exc
    if stat.S_IMODE(mode) & 0o077:
        raise InvalidError(f"others may read the token in {path}", hint=f"chmod 600 {path}, and make a new token")
    token = data.strip()
    if len(token) < MIN_LENGTH or not token.isascii() or b" " in token or not token.decode("ascii").isprintable():
        raise InvalidError(f"{path} holds no token of {MIN_LENGTH} characters or more", hint=_how(path))
    return token


def _how(path: Path) -> str:
    return f"(umask 077; openssl rand -hex 32 > {path})"
