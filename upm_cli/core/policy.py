"""Who may do what. Whatever is not allowed here is refused; going back is never asked about.

The actor is the operating system's user, and the role is what `policy.actors` says about that name: nobody's word,
no environment variable and no flag counts. With no actors listed, the owner of the .upm folder is an admin and
everybody else a viewer; once some are listed, whoever is not is a viewer.

Roles: viewer looks; operator runs rollouts; admin (`policy.admin_roles`) also overrides gates and releases what is
quarantined; approver looks, and confirms overrides of others where `policy.second_approver` is on.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from upm_cli.core.gates import OVERRIDABLE, GateResult
from upm_cli.core.records import Override, Ring
from upm_cli.core.rollouts.exposure import EVERYONE, tenant_name
from upm_cli.errors import RefusedError
from upm_cli.nearest import hint_for

HOUR_MS: Final = 3_600_000

_OPERATOR: Final = (
    "anchor",
    "activate.canary",
    "activate.global",
    "adapter.add",
    "adapter.remove",
    "freeze",
    "letters.seen",
    "pause",
    "resume",
    "rollout.start",
    "rollout.tick",
    "rollout.promote",
    "rollout.pause",
    "rollout.abort",
    "rollout.resume",
    "rollout.retry",
    "signoff",
    "sync.retry",
    "sync.run",
    "tenant.rule",
)
_ADMIN: Final = (
    "approve",
    "keys.copy",
    "keys.init",
    "keys.revoke",
    "keys.rotate",
    "override",
    "snapshot.release",
    "snapshot.sign",
    "sync.lower",
    "unfreeze",
)
_ANYBODY: Final = ("activate.shadow", "look", "rollback")  # nobody sees shadow; the way back is open to all
ACTIONS: Final = tuple(sorted((*_OPERATOR, *_ADMIN, *_ANYBODY)))
_ROLE_MAY: Final[Mapping[str, tuple[str, ...]]] = {
    "viewer": _ANYBODY,
    "approver": (*_ANYBODY, "approve"),
    "operator": (*_ANYBODY, *_OPERATOR),
    "admin": ACTIONS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessPolicy:
    """What the `policy` section says about people and tenants."""

    canary_tenants: tuple[str, ...] = ()  # who may be part of a canary; '*': everyone; empty: nobody
    min_shadow_hours: int = 336
    admin_roles: tuple[str, ...] = ("admin",)  # these count as admin, whatever they are called
    actors: Mapping[str, str] = field(default_factory=dict)
    second_approver: bool = False
    override_hours: int = 24  # an override lasts at most this long

    def __post_init__(self) -> None:
        if self.min_shadow_hours < 0:
            raise ValueError(f"min_shadow_hours must be at least 0, got {self.min_shadow_hours}")
        if not 1 <= self.override_hours <= 24:
            raise ValueError(f"override_hours must be 1 to 24, got {self.override_hours}")


def role_of(actor: str, policy: AccessPolicy, *, owner: str | None) -> str:
    """Return the role of the operating system user `actor`; `owner` owns the .upm folder (None: not known)."""
    if not policy.actors:
        return next(iter(policy.admin_roles), "viewer") if owner is not None and actor == owner else "viewer"
    return policy.actors.get(actor, "viewer")


def _is_admin(role: str, policy: AccessPolicy) -> bool:
    return role in policy.admin_roles


def may(role: str, action: str, policy: AccessPolicy) -> GateResult:
    """Say whether `role` may do `action`. Unknown roles are viewers, unknown actions are nobody's."""
    allowed = action in ACTIONS if _is_admin(role, policy) else action in _ROLE_MAY.get(_known(role), ())
    who = [name for name in ("approver", "operator") if action in _ROLE_MAY[name]] + list(policy.admin_roles)
    return GateResult(
        gate="policy",
        allowed=allowed,
        detail=f"role {role} {'may' if allowed else 'may not'} {action}",
        satisfy=f"ask somebody with role {' or '.join(who)}; roles are in policy.actors of upm.yaml",
        numbers={"role": role, "action": action, "may": allowed},
    )


def _known(role: str) -> str:
    """Return the role whose rights count: 'admin' alone gives none unless admin_roles says so."""
    return role if role in ("approver", "operator") else "viewer"


def require(actor: str, role: str, action: str, policy: AccessPolicy) -> GateResult:
    """Return what `may` says; raises RefusedError if that is no."""
    result = may(role, action, policy)
    if not result.allowed:
        raise RefusedError(
            f"gate policy: {actor} has role {role}, which may not {action}",
            hint=result.satisfy,
            code="UPM-E051",
            context={"gate": "policy", "actor": actor, **result.numbers},
        )
    return result


def ring_gate(
    ring: Ring, policy: AccessPolicy, *, shadow_ms: int | None, tenants: Iterable[str | None] = ()
) -> GateResult:
    """Say whether `ring` may be served: shadow always, canary to listed tenants, global after enough time in shadow.

    `shadow_ms` is the lineage's accumulated time (None: nobody knows, so no); `tenants` are those asked for by name,
    each of which must be on the list.
    """
    if ring is Ring.SHADOW:
        return GateResult(gate="policy", allowed=True, detail="shadow is always allowed")
    if ring is Ring.CANARY:
        return _canary_gate(policy, [tenant_name(each) for each in tenants])
    need = policy.min_shadow_hours * HOUR_MS
    has = "unknown" if shadow_ms is None else f"{shadow_ms / HOUR_MS:.1f} h"
    left = "" if shadow_ms is None else f" ({max(0, need - shadow_ms) / HOUR_MS:.1f} h more)"
    return GateResult(
        gate="policy",
        allowed=shadow_ms is not None and shadow_ms >= need,
        detail=f"time of the lineage in shadow: {has} of {policy.min_shadow_hours} h",
        satisfy=f"let it learn in shadow until min_shadow_hours are reached{left}",
        numbers={"shadow_ms": shadow_ms, "min_shadow_hours": policy.min_shadow_hours},
    )


def _canary_gate(policy: AccessPolicy, tenants: Sequence[str]) -> GateResult:
    listed = policy.canary_tenants
    outside = [] if EVERYONE in listed else sorted(set(tenants) - set(listed))
    said = "every tenant may be part of a canary" if EVERYONE in listed else f"{len(listed)} tenants may be in a canary"
    if outside:
        said = f"{outside[0] or 'the absent tenant'} is not in policy.canary_tenants"
    return GateResult(
        gate="policy",
        allowed=bool(listed) and not outside,
        detail=said if listed else "policy.canary_tenants is empty: no tenant may be part of a canary",
        satisfy="add tenants to policy.canary_tenants in upm.yaml, or ['*'] for all of them",
        numbers={"canary_tenants": len(listed), "not_listed": len(outside)},
    )


def check_override(
    gate: str, reason: str, *, actor: str, role: str, at_ms: int, expires_at_ms: int, policy: AccessPolicy
) -> None:
    """Raise RefusedError unless `actor` may override `gate` from `at_ms` to `expires_at_ms` for `reason`."""
    require(actor, role, "override", policy)
    longest = policy.override_hours * HOUR_MS
    if gate not in OVERRIDABLE:
        raise _no_override(
            f"gate {gate} can't be overridden",
            hint_for(
                gate,
                OVERRIDABLE,
                f"these can: {', '.join(OVERRIDABLE)}; a quarantine is lifted with upm snapshot release",
            ),
            gate,
        )
    if not reason.strip():
        raise _no_override("an override needs a reason", "say why: --reason '…'", gate)
    if not at_ms < expires_at_ms <= at_ms + longest:
        span = f"{(expires_at_ms - at_ms) / HOUR_MS:.1f} h"
        hint = f"let it end within {policy.override_hours} h: --expires {policy.override_hours}h"
        raise _no_override(f"an override of {span} is not allowed", hint, gate)


def check_approval(override: Override, *, approver: str, role: str, policy: AccessPolicy) -> None:
    """Raise RefusedError unless `approver` may confirm `override`: somebody else, with the right to."""
    require(approver, role, "approve", policy)
    if approver == override.actor:
        raise _no_override("nobody approves their own override", "ask another person to approve it", override.gate)


def is_in_force(override: Override, now_ms: int, policy: AccessPolicy, role_now: Callable[[str], str]) -> bool:
    """Say whether `override` counts now. Roles are looked up as they are now: who lost the role lost the override."""
    if override.gate not in OVERRIDABLE or not override.reason.strip():
        return False
    longest = min(override.expires_at_ms, override.at_ms + policy.override_hours * HOUR_MS)
    if not override.at_ms <= now_ms < longest or not may(role_now(override.actor), "override", policy).allowed:
        return False
    if not policy.second_approver:
        return True
    other = override.approver
    return other is not None and other != override.actor and may(role_now(other), "approve", policy).allowed


def active_overrides(
    overrides: Iterable[Override], now_ms: int, policy: AccessPolicy, role_now: Callable[[str], str]
) -> dict[str, Override]:
    """Return the overrides that count now, by gate; of several the one that lasts longest."""
    valid = [each for each in overrides if is_in_force(each, now_ms, policy, role_now)]
    return {each.gate: each for each in sorted(valid, key=lambda each: each.expires_at_ms)}


def _no_override(message: str, hint: str, gate: str) -> RefusedError:
    return RefusedError(message, hint=hint, code="UPM-E059", context={"gate": gate})
