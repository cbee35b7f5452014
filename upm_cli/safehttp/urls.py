"""What is taken for an address: a small, strict part of what browsers and curl take.

Whatever two programs may read differently is refused: users and passwords, backslashes, blanks, percent signs in the
host, IPv4 in any notation but four decimal numbers, names outside ASCII.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from upm_cli.errors import UsageError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

DEFAULT_PORTS: Final = {"http": 80, "https": 443}
MAX_URL: Final = 2048

_URL: Final = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<path>/[^?#]*)?(?P<query>\?[^#]*)?"
)
_CHARACTERS: Final = re.compile(r"[A-Za-z0-9:/?\[\]@!$&'()*+,;=._~%-]*")  # of RFC 3986, without the fragment
_AUTHORITY: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?")
_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Url:
    """An address, taken apart. `host` is in lower case and without brackets, `path` begins with a slash or is empty."""

    scheme: str
    host: str
    port: int
    path: str = ""
    query: str = ""

    @property
    def literal(self) -> Address | None:
        """The host as an IP address, when it is one."""
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None

    @property
    def authority(self) -> str:
        """Host and port as the Host header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}{self.query}"


def parse(text: str) -> Url:
    """Return the http or https URL in `text`. Raises UsageError for anything that is not plainly one."""
    if len(text) > MAX_URL:
        raise _not_a_url(text, f"it has more than {MAX_URL} characters")
    found = _URL.fullmatch(text)
    if found is None or not _CHARACTERS.fullmatch(text):
        raise _not_a_url(text, "it is not of the form https://host[:port][/path], in plain ASCII")
    scheme, authority = found["scheme"].lower(), found["authority"]
    if scheme not in DEFAULT_PORTS:
        raise _not_a_url(text, f"{scheme!r} is neither https nor http")
    if "@" in authority:
        raise UsageError(
            "the address has a user or password in it", hint="put the secret into a token file", code="UPM-E142"
        )
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        raise _not_a_url(text, f"{authority!r} is no host, or host:port")
    port = int(parts["port"] or DEFAULT_PORTS[scheme])
    if not 1 <= port <= 65535:
        raise _not_a_url(text, f"{port} is no port")
    host = _host(text, parts["host"].lower())
    return Url(scheme=scheme, host=host, port=port, path=found["path"] or "", query=found["query"] or "")


def _host(text: str, host: str) -> str:
    if host.startswith("["):
        return _ipv6(text, host[1:-1])
    if _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
        return _ipv4(text, host)
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in host.split(".")):
        raise _not_a_url(text, f"{host!r} is no host name")
    return host


def _ipv4(text: str, host: str) -> str:
    """Return a host whose last part is a number: then all of it is one in the usual notation, or nothing we take."""
    try:
        return str(ipaddress.IPv4Address(host))
    except ValueError as exc:
        raise _not_a_url(text, f"{host!r} is an IPv4 address in a notation that programs read differently") from exc


def _ipv6(text: str, host: str) -> str:
    try:
        return str(ipaddress.IPv6Address(host))
    except ValueError as exc:
        raise _not_a_url(text, f"[{host}] is no IPv6 address") from exc


def _not_a_url(text: str, why: str) -> UsageError:
    return UsageError(
        f"{text[:100]!r} can't be used as an address: {why}", hint="https://agent.example:8765", code="UPM-E142"
    )
