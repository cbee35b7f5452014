"""Which tenants see the candidate: sticky, nested buckets.

Every tenant has a fixed place u in [0, 1) on a line that depends on the rollout's id alone, and p percent of the
tenants are those with u < p/100. So 1 % is part of 5 %, a tenant never leaves while the percentage grows, and one that
is first seen tomorrow has its place already. The salt is the rollout's id: the same tenants are not always first.

A window without a tenant belongs to the tenant named '' (the empty text), which has one place as every other.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from upm_cli.core.records import Ring

EVERYONE: Final = "*"  # in a list of tenants: all of them


def tenant_name(tenant: str | None) -> str:
    """Return the name under which a tenant, or the absence of one, is routed."""
    return tenant or ""


@lru_cache(maxsize=65_536)
def bucket(tenant: str | None, salt: str) -> float:
    """Return the tenant's place u in [0, 1): first 8 bytes of sha256(salt, 0x00, tenant), big-endian, over 2^64.

    Bit-for-bit the same in every process and language that has sha256 and doubles (rounding to nearest even).
    """
    digest = hashlib.sha256(salt.encode() + b"\x00" + tenant_name(tenant).encode()).digest()
    return min(int.from_bytes(digest[:8], "big") / 2**64, 1 - 2**-53)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """Who is exposed: `percent` of all tenants by their places, and who is in or out by name."""

    salt: str
    percent: int
    allow: frozenset[str] = frozenset()  # in from the first percent on
    deny: frozenset[str] = frozenset()  # never in
    held: frozenset[str] = frozenset()  # were harmed by the candidate: back on the champion
    admitted: frozenset[str] = frozenset()  # let in early so that min_tenants are exposed; they stay in
    min_tenants: int = 0
    eligible: frozenset[str] | None = None  # who may be exposed at all; None or '*' in it: everyone

    def __post_init__(self) -> None:
        if not 0 <= self.percent <= 100:
            raise ValueError(f"percent must be 0 to 100, got {self.percent}")
        if self.min_tenants < 0:
            raise ValueError(f"min_tenants must be at least 0, got {self.min_tenants}")

    def may_see(self, tenant: str) -> bool:
        """Say whether nothing keeps `tenant` out by name."""
        listed = self.eligible is None or EVERYONE in self.eligible or tenant in self.eligible
        return listed and tenant not in self.deny and tenant not in self.held


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What one tenant gets, and why. `version` None: nothing of this trainer."""

    tenant: str
    bucket: float
    is_exposed: bool
    reason: str  # closed | denied | held_back | not_eligible | allowed | admitted | in_percent | outside_percent
    detail: str
    ring: Ring
    version: int | None


def _reason(tenant: str, place: float, exposure: Exposure) -> tuple[bool, str, str]:
    if exposure.percent == 0:
        return False, "closed", "no tenant is exposed at 0 %"
    if tenant in exposure.deny:
        return False, "denied", "it is on the deny list"
    if tenant in exposure.held:
        return False, "held_back", "the candidate harmed it: held back for the rest of this rollout"
    if not exposure.may_see(tenant):
        return False, "not_eligible", "it is not in policy.canary_tenants"
    if tenant in exposure.allow:
        return True, "allowed", "it is on the allow list"
    if tenant in exposure.admitted:
        return True, "admitted", f"let in early, so that at least {exposure.min_tenants} tenants are exposed"
    share = exposure.percent / 100
    is_inside = place < share
    side = f"{place:.6f} {'<' if is_inside else '>='} {share:g}"
    return is_inside, "in_percent" if is_inside else "outside_percent", f"its place {side}"


def route(
    tenant: str | None,
    exposure: Exposure,
    *,
    candidate: int | None = None,
    champion: int | None = None,
    ring: Ring = Ring.CANARY,
) -> Route:
    """Return what `tenant` gets: the candidate in `ring`, or the champion in ring global.

    Deny wins, then held back, not eligible, allow, admitted, and then the tenant's place.
    """
    name = tenant_name(tenant)
    place = bucket(name, exposure.salt)
    is_exposed, reason, detail = _reason(name, place, exposure)
    return Route(
        tenant=name,
        bucket=place,
        is_exposed=is_exposed,
        reason=reason,
        detail=detail,
        ring=ring if is_exposed else Ring.GLOBAL,
        version=candidate if is_exposed else champion,
    )


def exposed(tenants: Iterable[str | None], exposure: Exposure) -> frozenset[str]:
    """Return those of `tenants` that see the candidate."""
    names = {tenant_name(tenant) for tenant in tenants}
    return frozenset(name for name in names if _reason(name, bucket(name, exposure.salt), exposure)[0])


def admit(tenants: Iterable[str | None], exposure: Exposure) -> frozenset[str]:
    """Return who else is let in, by lowest place, so that `min_tenants` of the tenants seen so far are exposed.

    Empty when enough are in, and at 0 %. Who is kept out by name is passed over. Add the result to `admitted` and
    keep it: whoever is in stays in, also when others come with lower places.
    """
    if exposure.percent == 0 or exposure.min_tenants == 0:
        return frozenset()
    names = {tenant_name(tenant) for tenant in tenants}
    inside = exposed(names, exposure)
    missing = exposure.min_tenants - len(inside)
    if missing <= 0:
        return frozenset()
    waiting = [name for name in names - inside if exposure.may_see(name)]
    return frozenset(sorted(waiting, key=lambda name: (bucket(name, exposure.salt), name))[:missing])
