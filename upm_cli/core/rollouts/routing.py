"""Which snapshot a tenant gets now: the rings asked one after the other, from the narrowest to the widest.

Ring canary counts while it is newer than ring global: a wider move after it took everybody along. Whoever is not
exposed in a ring gets what it would have had without it. Lists and places: `core.rollouts.exposure`. Before all of that
comes the hold-out (`core.rollouts.holdout`): who is held out gets the anchor, as long as anything is live at all.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from upm_cli.core.records import Activation, Ring, TenantRule
from upm_cli.core.rollouts.exposure import EVERYONE, Exposure, Route, route, tenant_name
from upm_cli.core.rollouts.holdout import Holdout
from upm_cli.core.rollouts.state import RolloutState
from upm_cli.core.versions import Live


@dataclass(frozen=True, slots=True, kw_only=True)
class Lists:
    """Who is in or out by name, whatever their place."""

    allow: frozenset[str] = frozenset()
    deny: frozenset[str] = frozenset()
    hold: Mapping[str, frozenset[str]] = field(default_factory=dict)  # rollout id ("": any) → held back
    canary_tenants: frozenset[str] = frozenset({EVERYONE})  # who may be in ring canary

    @classmethod
    def of(cls, rules: Iterable[TenantRule], canary_tenants: Iterable[str]) -> "Lists":
        """Return what the rules about single tenants and `policy.canary_tenants` say together."""
        named: dict[str, set[str]] = {"allow": set(), "deny": set()}
        hold: dict[str, set[str]] = {}
        for rule in rules:
            if rule.rule == "hold":
                hold.setdefault(rule.rollout_id, set()).add(rule.tenant_id)
            elif rule.rule in named:
                named[rule.rule].add(rule.tenant_id)
        return cls(
            allow=frozenset(named["allow"]),
            deny=frozenset(named["deny"]),
            hold={rollout: frozenset(names) for rollout, names in hold.items()},
            canary_tenants=frozenset(canary_tenants),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """What a tenant gets: `version` by `ring` (None: nothing), and why."""

    tenant: str
    version: int | None
    ring: Ring | None
    reason: str  # as in Route, or everybody | nothing | held_out
    detail: str
    percent: int | None
    asked: tuple[tuple[Ring, Route], ...]  # what each ring said, narrowest first; the last one decides
    holdout: str = ""  # what the hold-out says of it; empty: there is none


def route_tenant(
    tenant: str | None,
    live: Live,
    lists: Lists,
    rollouts: Mapping[str, RolloutState],
    holdout: Holdout | None = None,
) -> Routed:
    """Return which snapshot `tenant` gets now. `rollouts`: those by whose draw a ring may be served, by id."""
    name = tenant_name(tenant)
    if holdout is None:
        return _by_rings(name, live, lists, rollouts)
    is_live = Ring.CANARY in live or Ring.GLOBAL in live
    if is_live and not holdout.barred and holdout.includes(name):
        return _held_out(name, holdout)
    return replace(_by_rings(name, live, lists, rollouts), holdout=holdout.says(name))


def _held_out(name: str, holdout: Holdout) -> Routed:
    """Return the route of a tenant that stays on the anchor: no ring exposes it to anything."""
    place = holdout.place(name)
    detail = (
        f"it stays on the anchor v{holdout.version}: its place in the hold-out {place:.6f} < {holdout.percent / 100:g}"
    )
    asked = Route(
        tenant=name,
        bucket=place,
        is_exposed=False,
        reason="held_out",
        detail=detail,
        ring=Ring.GLOBAL,
        version=holdout.version,
    )
    return Routed(
        tenant=name,
        version=holdout.version,
        ring=Ring.GLOBAL,
        reason=asked.reason,
        detail=detail,
        percent=holdout.percent,
        asked=((Ring.GLOBAL, asked),),
        holdout=holdout.says(name),
    )


def _by_rings(name: str, live: Live, lists: Lists, rollouts: Mapping[str, RolloutState]) -> Routed:
    asked: list[tuple[Ring, Route]] = []
    canary, everybody = live.get(Ring.CANARY), live.get(Ring.GLOBAL)
    if canary is not None and (everybody is None or canary.epoch > everybody.epoch):
        found = _ask(name, canary, lists, rollouts)
        asked.append((Ring.CANARY, found))
        if found.is_exposed:
            return _routed(name, found, canary, asked)
    if everybody is None:
        said = "nothing is live in ring global"
        return Routed(
            tenant=name, version=None, ring=None, reason="nothing", detail=said, percent=None, asked=tuple(asked)
        )
    found = _ask(name, everybody, lists, rollouts)
    return _routed(name, found, everybody, [*asked, (Ring.GLOBAL, found)])


def lets_in(before: Routed, after: Routed) -> bool:
    """Say whether `after` exposes the tenant where `before` did not, in the narrowest ring in which they differ."""
    was = {ring: found.is_exposed for ring, found in before.asked}
    differs = [found.is_exposed for ring, found in after.asked if found.is_exposed != was.get(ring)]
    return bool(differs) and differs[0]


def _ask(tenant: str, move: Activation, lists: Lists, rollouts: Mapping[str, RolloutState]) -> Route:
    """Ask one ring: who is exposed gets its version, the others what served before it."""
    rollout = rollouts.get(move.salt)
    is_rollout = rollout is not None and rollout.version == move.version and move.kind == "activate"
    is_everybody = move.ring is Ring.GLOBAL and move.percent == 100
    if is_everybody and not is_rollout:
        everyone = Exposure(salt=move.salt, percent=100)
        return _for_everybody(route(tenant, everyone, candidate=move.version, ring=move.ring))
    held = lists.hold.get("", frozenset()) | lists.hold.get(move.salt, frozenset())
    admitted: frozenset[str] = frozenset()
    if rollout is not None and is_rollout:
        held, admitted = held | rollout.held_tenants, rollout.admitted
    exposure = Exposure(
        salt=move.salt,
        percent=move.percent,
        allow=lists.allow,
        deny=lists.deny,
        held=held,
        admitted=admitted,
        min_tenants=len(admitted),
        eligible=lists.canary_tenants if move.ring is Ring.CANARY else None,
    )
    before = None if move.ring is Ring.CANARY else move.rest_version
    if is_everybody and rollout is not None:
        before = rollout.champion
    found = route(tenant, exposure, candidate=move.version, champion=before, ring=move.ring)
    return _for_everybody(found) if is_everybody and found.reason == "in_percent" else found


def _for_everybody(found: Route) -> Route:
    return replace(found, reason="everybody", detail="it is live for everybody")


def _routed(tenant: str, found: Route, move: Activation, asked: Iterable[tuple[Ring, Route]]) -> Routed:
    return Routed(
        tenant=tenant,
        version=found.version,
        ring=move.ring if found.version is not None else None,
        reason=found.reason,
        detail=found.detail,
        percent=move.percent,
        asked=tuple(asked),
    )
