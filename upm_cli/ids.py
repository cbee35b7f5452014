"""Names and identifiers: what a valid name is, and time-ordered unique ids."""

import os
import re
from collections.abc import Callable
from datetime import UTC, datetime

from upm_cli.clock import Clock
from upm_cli.errors import UsageError

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def check_name(name: str, what: str) -> str:
    """Return `name` if it may name a `what` (trainer, stream…); such names are safe as file names.

    Raises UsageError otherwise.
    """
    if not _NAME.fullmatch(name) or ".." in name:
        raise UsageError(
            f"{name!r} can't name a {what}",
            hint="use 1-64 of a-z, 0-9, '.', '_' and '-', starting with a letter or digit",
            code="UPM-E021",
        )
    return name


def uuid7(clock: Clock, random_bytes: Callable[[int], bytes] = os.urandom) -> str:
    """Return a UUID version 7 (RFC 9562): 48 bits of Unix milliseconds, then random bits."""
    raw = bytearray((clock.now_ms() & ((1 << 48) - 1)).to_bytes(6, "big") + random_bytes(10))
    raw[6] = 0x70 | (raw[6] & 0x0F)
    raw[8] = 0x80 | (raw[8] & 0x3F)
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def iso(at_ms: int) -> str:
    """Return the instant `at_ms` (Unix milliseconds) as ISO 8601 UTC with milliseconds."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_iso(text: str) -> int:
    """Return the Unix milliseconds of an instant as `iso` writes it."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)
