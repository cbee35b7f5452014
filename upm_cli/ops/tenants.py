"""Tenants: what each of them gets now and why, and who is in or out by name."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from upm_cli.clock import Clock
from upm_cli.core.records import TenantRule
from upm_cli.core.rollout import state_from_json
from upm_cli.core.rollouts.exposure import tenant_name
from upm_cli.core.rollouts.holdout import Holdout
from upm_cli.core.rollouts.routing import Lists, Routed, lets_in, route_tenant
from upm_cli.core.rollouts.state import RolloutState
from upm_cli.core.versions import Live
from upm_cli.errors import UsageError
from upm_cli.ops import authority, holdout
from upm_cli.store import activations, evidence, rollouts, tenant_rules, trainers

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.store.session import Reader, Store

MOST_NAME = 256  # characters of a tenant's name


@dataclass(frozen=True, slots=True, kw_only=True)
class Router:
    """Everything that routing the tenants of one trainer looks at, as of one state."""

    live: Live
    lists: Lists
    rollouts: Mapping[str, RolloutState]
    holdout: Holdout | None = None

    @classmethod
    def read(cls, reader: "Reader", settings: "Settings", name: str) -> "Router":
        """Raises NotFoundError for an unknown trainer."""
        trainers.get(reader, name)
        live = activations.live(reader, name)
        draws = {move.salt for move in live.values() if move.salt}
        rows = rollouts.list_for(reader, name) if draws else []
        lists = Lists.of(tenant_rules.list_for(reader, name), settings.policy.canary_tenants)
        return cls(
            live=live,
            lists=lists,
            rollouts={row.rollout_id: state_from_json(row.state) for row in rows if row.rollout_id in draws},
            holdout=holdout.read(reader, settings, name, lists),
        )

    def route(self, tenant: str | None) -> Routed:
        return route_tenant(tenant, self.live, self.lists, self.rollouts, self.holdout)


def route(reader: "Reader", settings: "Settings", name: str, tenant: str | None) -> Routed:
    """Return which snapshot of trainer `name` the tenant gets now, and why. Raises NotFoundError."""
    return Router.read(reader, settings, name).route(tenant)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """One tenant that is known by name: the rules about it, whether windows of it were judged, what it gets."""

    tenant: str
    rules: tuple[TenantRule, ...]
    is_held: bool
    is_seen: bool
    routed: Routed


def known(reader: "Reader", settings: "Settings", name: str) -> list[Known]:
    """Return every tenant with a rule, held back, let in early, or seen by a contest, in the order of their names."""
    router = Router.read(reader, settings, name)
    rules: dict[str, list[TenantRule]] = {}
    for rule in tenant_rules.list_for(reader, name):
        rules.setdefault(rule.tenant_id, []).append(rule)
    newest = rollouts.newest(reader, name)
    state = None if newest is None else state_from_json(newest.state)
    held = frozenset() if state is None else state.held_tenants
    seen = {str(each) for row in evidence.of(reader, name).values() for each in row.findings.get("tenant_names") or ()}
    names = seen | held | rules.keys() | (frozenset() if state is None else state.admitted)
    return [
        Known(
            tenant=each,
            rules=tuple(rules.get(each, ())),
            is_held=each in held,
            is_seen=each in seen,
            routed=router.route(each),
        )
        for each in sorted(names)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruled:
    """What a rule about a tenant changes. `is_done`: nothing, it was so before."""

    tenant: str
    rule: str | None  # allow | deny; None: none any more
    is_done: bool
    before: Routed
    after: Routed

    @property
    def moves(self) -> bool:
        """Whether the tenant gets another version by it now."""
        return self.before.version != self.after.version


def set_rule(
    store: "Store",
    clock: Clock,
    settings: "Settings",
    name: str,
    tenant: str,
    rule: str | None,
    *,
    actor: str,
    reason: str = "",
    dry_run: bool = False,
) -> Ruled:
    """Let `tenant` in first (allow), never (deny), or by its place again (None: allow, deny and hold are lifted).

    While something is frozen nobody is let in. Raises RefusedError, UsageError, NotFoundError.
    """
    tenant = _checked(tenant)
    authority.require(settings, store.home, actor, "tenant.rule")
    with store.write(actor=actor) as tx:
        router, rows = Router.read(tx, settings, name), tenant_rules.list_for(tx, name)
        mine = [row for row in rows if row.tenant_id == tenant]
        made = TenantRule(
            trainer=name,
            tenant_id=tenant,
            rule=rule or "",
            rollout_id="",
            reason=reason,
            actor=actor,
            at_ms=clock.now_ms(),
        )
        left = [row for row in rows if row.tenant_id != tenant] + ([made] if rule else [])
        lists = Lists.of(left, settings.policy.canary_tenants)
        after = replace(router, lists=lists, holdout=holdout.allowing(router.holdout, lists))
        is_done = [row.rule for row in mine] == ([rule] if rule else [])
        done = Ruled(tenant=tenant, rule=rule, is_done=is_done, before=router.route(tenant), after=after.route(tenant))
        if lets_in(done.before, done.after):
            authority.refuse_frozen(tx, settings, name, clock.now_ms(), "upm tenant deny works all the time")
        if not (is_done or dry_run):
            for row in mine:
                tenant_rules.remove(tx, name, tenant, row.rule)
            if rule:
                tenant_rules.put(tx, made)
            tx.ledger(
                f"tenant.{rule or 'clear'}",
                name,
                tenant=tenant,
                reason=reason,
                was=[row.rule for row in mine],
                from_version=done.before.version,
                to_version=done.after.version,
            )
    return done


def _checked(tenant: str) -> str:
    """Return the tenant's name. Raises UsageError for one that nobody can have."""
    if not tenant or len(tenant) > MOST_NAME or not tenant.isprintable():
        raise UsageError(
            f"{tenant[:40]!r} is no name of a tenant",
            hint=f"1 to {MOST_NAME} printable characters, as in tenant_id of the windows",
            code="UPM-E021",
        )
    return tenant_name(tenant)


def as_json(routed: Routed) -> dict[str, Any]:
    """Return a route in plain values."""
    last = routed.asked[-1][1] if routed.asked else None
    return {
        "tenant": routed.tenant,
        "version": routed.version,
        "ring": None if routed.ring is None else routed.ring.value,
        "percent": routed.percent,
        "reason": routed.reason,
        "detail": routed.detail,
        "bucket": None if last is None else round(last.bucket, 9),
        "holdout": routed.holdout or None,
        "asked": [
            {
                "ring": ring.value,
                "exposed": each.is_exposed,
                "version": each.version,
                "bucket": round(each.bucket, 9),
                "reason": each.reason,
                "detail": each.detail,
            }
            for ring, each in routed.asked
        ],
    }
