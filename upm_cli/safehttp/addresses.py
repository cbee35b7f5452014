"""Where a request may go: the public internet over https, this machine, and what somebody listed.

A configuration that makes a server send requests into its own network is a known attack (server-side request forgery).
So addresses that are not of the public internet are refused unless they are allowed by name or network, and a few never
are: those that mean several machines or none, those that hide an IPv4 address, and those where clouds hand out
credentials. The tables follow the IANA registries of special-purpose addresses, not the Python version at hand.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from upm_cli.errors import RefusedError, UsageError
from upm_cli.safehttp.urls import Address, Url, parse

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


LOOPBACK: Final = _networks("127.0.0.0/8", "::1/128")
#: Cloud metadata and credentials: AWS, GCP, Azure, Oracle, Alibaba, DigitalOcean.
METADATA: Final = _networks(
    *("169.254.169.254/32", "169.254.170.2/32", "169.254.170.23/32", "168.63.129.16/32", "100.100.100.200/32"),
    *("192.0.0.192/32", "fd00:ec2::254/128", "fd00:ec2::23/128", "fd20:ce::254/128"),
)
#: Another address in disguise: IPv4-mapped and -compatible, NAT64, Teredo, 6to4.
DISGUISED: Final = _networks("::/8", "64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16")
#: Not one machine: "this network", multicast, broadcast, reserved, discarded.
NOBODY: Final = _networks("0.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4", "ff00::/8", "100::/64", "fec0::/10")
PRIVATE: Final = _networks("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
#: Allowed by network, never by name alone: link-local, protocol assignments, documentation, benchmarks.
LOCAL: Final = _networks(
    *("169.254.0.0/16", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24"),
    *("203.0.113.0/24", "fe80::/10", "2001::/23", "2001:db8::/32", "3fff::/20"),
)
_GLOBAL_IPV6: Final = ipaddress.IPv6Network("2000::/3")


@dataclass(frozen=True, slots=True)
class Allowed:
    """What `allow_hosts` lists: names, and networks (a single address is a network of one)."""

    names: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def of(cls, entries: Sequence[str]) -> "Allowed":
        """Return what `entries` allow. Raises UsageError for one that is neither a host name nor a network."""
        names: set[str] = set()
        networks: list[Network] = []
        for entry in entries:
            try:
                networks.append(ipaddress.ip_network(entry))
            except ValueError:
                names.add(_name(entry))
        return cls(frozenset(names), tuple(networks))

    def lists(self, address: Address) -> bool:
        """Say whether one of the networks has `address`."""
        return _within(address, self.networks)


def _name(entry: str) -> str:
    try:
        url = parse(f"https://{entry}")
    except UsageError:
        url = None
    if url is None or url.host != entry.lower() or url.literal is not None:
        raise UsageError(
            f"adapter_sync.allow_hosts: {entry[:80]!r} is neither a host name nor a network",
            hint="agents.internal, 10.1.0.0/16 or fd12::/48; a network's address has no bits beyond its prefix",
            code="UPM-E142",
        )
    return url.host


def check(url: Url, addresses: Sequence[str], allowed: Allowed) -> tuple[Address, ...]:
    """Return the addresses that `url` leads to, when a request may be sent to every one of them.

    Raises RefusedError otherwise: a name with one address too many is not trusted with the others.
    """
    found = tuple(ipaddress.ip_address(each) for each in addresses)
    for address in found:
        why = why_not(url, address, allowed)
        if why:
            leads = f"{url.host} leads to {address}, which" if url.literal is None else str(address)
            raise RefusedError(
                f"nothing is sent to {url.scheme}://{url.authority}: {leads} {why}",
                hint="what lies inside a private network is listed in adapter_sync.allow_hosts",
                code="UPM-E141",
                context={"host": url.host, "address": str(address)},
            )
    return found


def why_not(url: Url, address: Address, allowed: Allowed) -> str:
    """Return why nothing may be sent to `address` on behalf of `url`; "" when something may."""
    named, listed = url.host in allowed.names, allowed.lists(address)
    is_loopback = _within(address, LOOPBACK)
    if is_loopback:
        if url.host == "localhost" or url.literal is not None or named or listed:
            return ""
        return "is this machine; a name for it other than localhost has to be allowed"
    if why := _never(address):
        return why
    if _within(address, LOCAL) or _is_odd(address):
        return "" if listed else "is not of the public internet, and its network is not allowed"
    if _within(address, PRIVATE) and not (named or listed):
        return "is inside a private network, and not allowed"
    if url.scheme == "http" and not (named or listed):
        return "would be sent to without TLS; http is for this machine and for what is allowed, else use https"
    return ""


def _never(address: Address) -> str:
    if _within(address, METADATA):
        return "is where clouds hand out credentials"
    if _within(address, DISGUISED):
        return "hides another address"
    if _within(address, NOBODY):
        return "is not the address of one machine"
    return ""


def _is_odd(address: Address) -> bool:
    return address.version == 6 and address not in _GLOBAL_IPV6 and not _within(address, PRIVATE)


def _within(address: Address, networks: Sequence[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
