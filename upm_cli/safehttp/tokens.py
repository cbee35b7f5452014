"""The secret that lets one program use another's HTTP interface: kept in a private file, read when it is needed."""

import hmac
import os
import re
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from upm_cli.errors import InvalidError, NotFoundError, RefusedError, StorageError

MIN_CHARACTERS: Final = 43  # 256 bits in base64url
_FILE_BYTES: Final = 4096
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750


@dataclass(frozen=True, slots=True, repr=False)
class Token:
    """A secret that does not show itself in messages, logs and tracebacks."""

    value: str

    def __repr__(self) -> str:
        return "Token(…)"

    __str__ = __repr__

    def header(self) -> str:
        """Return the value of the Authorization header."""
        return f"Bearer {self.value}"

    def is_in(self, header: str) -> bool:
        """Say whether `header` is that value, in a time that does not depend on where they differ."""
        scheme, _, given = header.partition(" ")
        same = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), self.value.encode())
        return same and scheme.lower() == "bearer"


def new_token() -> Token:
    """Return a token of 384 random bits."""
    return Token(secrets.token_urlsafe(48))


def read_token(path: Path) -> Token:
    """Return the token in the file at `path`.

    Raises NotFoundError when there is none, RefusedError when others may read it, InvalidError when it is too short
    or holds anything else than one token.
    """
    text = _read_private(path).strip()
    if not _TOKEN.fullmatch(text):
        raise InvalidError(f"{path} does not hold one token", hint="make one: upm agent token FILE", code="UPM-E144")
    if len(text) < MIN_CHARACTERS:
        raise InvalidError(
            f"the token in {path} is too short: {len(text)} characters, {MIN_CHARACTERS} are the least",
            hint="make one: upm agent token FILE",
            code="UPM-E144",
        )
    return Token(text)


def _read_private(path: Path) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as exc:
        raise NotFoundError(
            f"there is no token file {path}", hint="make one: upm agent token FILE", code="UPM-E145"
        ) from exc
    except OSError as exc:
        raise StorageError(f"can't read {path}: {exc.strerror}", hint="check its permissions", code="UPM-E012") from exc
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise InvalidError(f"{path} is not a file", hint="make one: upm agent token FILE", code="UPM-E144")
        if found.st_mode & 0o077:
            raise RefusedError(
                f"others may read {path} (mode {found.st_mode & 0o777:04o})",
                hint=f"chmod 600 {path}; make a new token if somebody may have seen it",
                code="UPM-E143",
            )
        return os.read(fd, _FILE_BYTES).decode("ascii", "replace")
    finally:
        os.close(fd)


class TokenFile:
    """A token as its file has it now: a new one counts from when the file changes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp: tuple[int, ...] | None = None
        self._token: Token | None = None

    def current(self) -> Token:
        """Return the token. Raises what `read_token` raises: nobody is let in while the file can't be used."""
        stamp = _stamp(self.path)
        if self._token is None or stamp is None or stamp != self._stamp:
            self._token = None
            self._token, self._stamp = read_token(self.path), stamp
        return self._token


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns
