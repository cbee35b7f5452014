"""How TLS is done: there is no way to switch the checks off."""

import functools
import ssl
from pathlib import Path

from upm_cli.errors import InvalidError


def context_of(ca_file: Path | None) -> ssl.SSLContext:
    """Return the context for connections to who is vouched for by the system's list, or by `ca_file` alone."""
    try:
        return _context(ca_file, ca_file.stat().st_mtime_ns if ca_file else 0)
    except OSError as exc:  # an SSLError is one too
        raise InvalidError(
            f"the certificates in {ca_file} can't be used: {exc.strerror or exc}",
            hint="a PEM file with the certificates of those who vouch for the other side",
            code="UPM-E146",
        ) from exc


@functools.lru_cache(maxsize=64)
def _context(ca_file: Path | None, mtime_ns: int) -> ssl.SSLContext:
    """Return how TLS is done: certificate and name are always checked, against `ca_file` alone where it is given.

    Not ssl.create_default_context, which writes keys to where SSLKEYLOGFILE says.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(cafile=ca_file)
    return context
