"""Which tenant gets what, through whole ramps, against a slow account of the rules in plain words."""

import hashlib
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from upm_cli.core.records import Activation, Ring, TenantRule
from upm_cli.core.rollouts.exposure import Exposure, exposed
from upm_cli.core.rollouts.holdout import Holdout, salt_of
from upm_cli.core.rollouts.routing import Lists, lets_in, route_tenant
from upm_cli.core.rollouts.state import Phase, RolloutState

RAMP = (
    *((Ring.CANARY, percent) for percent in (1, 5, 10, 25)),
    *((Ring.GLOBAL, percent) for percent in (50, 75, 100)),
)
TENANTS = [f"t{i}" for i in range(60)] + ["", "München", "a b"]
OLD, NEW = 1, 2


@dataclass
class World:
    """A ramp of v2 over v1 (or over nothing), and who is in or out by name."""

    salt: str
    champion: int | None = OLD
    allow: set[str] = field(default_factory=set)
    deny: set[str] = field(default_factory=set)
    hold: set[str] = field(default_factory=set)  # rules for any rollout
    held: set[str] = field(default_factory=set)  # by the rollout
    admitted: set[str] = field(default_factory=set)
    eligible: set[str] = field(default_factory=lambda: {"*"})
    by_hand: bool = False

    def live(self, stage: int) -> dict[Ring, Activation]:
        """What the rings serve at a stage of the ramp: those before it moved too."""
        rings = {} if self.champion is None else {Ring.GLOBAL: move(Ring.GLOBAL, 100, 1, OLD, salt="long ago")}
        for epoch, (ring, percent) in enumerate(RAMP[: stage + 1], start=2):
            rest = self.champion if ring is Ring.GLOBAL and percent < 100 else None
            rings[ring] = move(ring, percent, epoch, NEW, salt=self.salt, rest=rest)
        return rings

    def lists(self) -> Lists:
        rules = [rule(tenant, word) for word in ("allow", "deny", "hold") for tenant in sorted(getattr(self, word))]
        return Lists.of(rules, self.eligible)

    def rollouts(self) -> dict[str, RolloutState]:
        if self.by_hand:
            return {}
        state = RolloutState(rollout_id=self.salt, trainer="main", phase=Phase.PROGRESSING, version=NEW)
        held, admitted = frozenset(self.held), frozenset(self.admitted)
        return {self.salt: replace(state, champion=self.champion, held_tenants=held, admitted=admitted)}

    def gets(self, tenant: str, stage: int) -> int | None:
        return route_tenant(tenant, self.live(stage), self.lists(), self.rollouts()).version


def move(ring: Ring, percent: int, epoch: int, version: int, salt: str, rest: int | None = None) -> Activation:
    return Activation(
        trainer="main",
        ring=ring,
        epoch=epoch,
        version=version,
        previous_version=None,
        percent=percent,
        kind="activate",
        decision_id=f"d{epoch}",
        actor="ada",
        reason="",
        at_ms=epoch,
        rest_version=rest,
        salt=salt,
    )


def rule(tenant: str, word: str) -> TenantRule:
    return TenantRule(trainer="main", tenant_id=tenant, rule=word, rollout_id="", reason="", actor="ada", at_ms=0)


def account(world: World, tenant: str, stage: int) -> int | None:
    """Say in plain words what `tenant` gets: exact fractions, one rule after the other."""
    ring, percent = RAMP[stage]
    everybody = ring is Ring.GLOBAL and percent == 100
    if everybody and world.by_hand:
        return NEW
    out = tenant in world.deny or tenant in world.hold or (not world.by_hand and tenant in world.held)
    if ring is Ring.CANARY and "*" not in world.eligible and tenant not in world.eligible:
        out = True
    if out:
        return world.champion
    if tenant in world.allow or (not world.by_hand and tenant in world.admitted):
        return NEW
    place = Fraction(int(hashlib.sha256(f"{world.salt}\0{tenant}".encode()).hexdigest()[:16], 16), 2**64)
    return NEW if place < Fraction(percent, 100) else world.champion


names = st.sets(st.sampled_from(TENANTS), max_size=8)
worlds = st.builds(
    World,
    salt=st.uuids().map(str),
    champion=st.sampled_from([OLD, None]),
    allow=names,
    deny=names,
    hold=names,
    held=names,
    admitted=names,
    eligible=st.one_of(st.just({"*"}), names),
    by_hand=st.booleans(),
)


@given(worlds, st.integers(0, len(RAMP) - 1))
@settings(max_examples=60, deadline=None)
def test_every_tenant_gets_what_the_plain_account_says(world: World, stage: int) -> None:
    for tenant in TENANTS:
        assert world.gets(tenant, stage) == account(world, tenant, stage), (tenant, stage)


@given(worlds)
@settings(max_examples=30, deadline=None)
def test_who_is_in_stays_in_while_the_share_grows(world: World) -> None:
    inside: set[str] = set()
    for stage in range(len(RAMP)):
        now = {tenant for tenant in TENANTS if world.gets(tenant, stage) == NEW}
        assert inside <= now
        inside = now


@given(st.uuids().map(str), st.integers(0, len(RAMP) - 1))
@settings(max_examples=8, deadline=None)
def test_the_share_of_many_tenants_is_about_the_percentage(salt: str, stage: int) -> None:
    world = World(salt=salt)
    many = [f"tenant-{i}" for i in range(4000)]
    share = sum(world.gets(tenant, stage) == NEW for tenant in many) / len(many)
    assert abs(share - RAMP[stage][1] / 100) < 0.045  # more than five standard deviations


@given(worlds, st.integers(0, len(RAMP) - 1), st.sampled_from(TENANTS))
@settings(max_examples=60, deadline=None)
def test_deny_wins_over_everything_while_a_share_grows(world: World, stage: int, tenant: str) -> None:
    world.by_hand = False
    world.deny.add(tenant)
    world.allow.add(tenant)
    world.admitted.add(tenant)
    assert world.gets(tenant, stage) == world.champion


@given(worlds, st.integers(0, 3), st.sampled_from(TENANTS))
@settings(max_examples=60, deadline=None)
def test_letting_in_is_told_from_keeping_out(world: World, stage: int, tenant: str) -> None:
    def route() -> Any:
        return route_tenant(tenant, world.live(stage), world.lists(), world.rollouts())

    for each in (world.allow, world.deny, world.hold):
        each.discard(tenant)
    before = route()
    world.deny.add(tenant)
    kept_out = route()
    world.deny.discard(tenant)
    world.allow.add(tenant)
    let_in = route()
    assert not lets_in(before, kept_out)
    assert lets_in(before, let_in) == (before.version != let_in.version)
    assert lets_in(kept_out, let_in) == (kept_out.version != let_in.version)


ANCHOR = 7
holdouts = st.builds(
    Holdout,
    version=st.just(ANCHOR),
    percent=st.integers(0, 5),
    salt=st.text(max_size=8).map(salt_of),
    barred=st.sampled_from(["", "", "is quarantined"]),
    allow=st.sets(st.sampled_from(TENANTS), max_size=4).map(frozenset),
)
MANY = [f"tenant-{i}" for i in range(150)]


@given(worlds, st.integers(0, len(RAMP) - 1), holdouts)
@settings(max_examples=25, deadline=None)
def test_who_is_held_out_gets_the_anchor_whatever_rollouts_do_and_nobody_else_notices(
    world: World, stage: int, holdout: Holdout
) -> None:
    for tenant in [*TENANTS, *MANY]:
        place = Fraction(int(hashlib.sha256(f"{holdout.salt}\0{tenant}".encode()).hexdigest()[:16], 16), 2**64)
        is_held = place < Fraction(holdout.percent, 100) and tenant not in holdout.allow
        routed = route_tenant(tenant, world.live(stage), world.lists(), world.rollouts(), holdout)
        usual = route_tenant(tenant, world.live(stage), world.lists(), world.rollouts())
        if is_held and not holdout.barred:
            assert (routed.version, routed.reason, routed.ring) == (ANCHOR, "held_out", Ring.GLOBAL)
            assert not any(asked.is_exposed for _, asked in routed.asked)
        else:
            assert replace(routed, holdout="") == usual
            assert ("but the anchor v7 is quarantined" in routed.holdout) == is_held


@given(st.text(max_size=8).map(salt_of), st.uuids().map(str))
@settings(max_examples=20, deadline=None)
def test_the_hold_out_is_nested_and_has_nothing_to_do_with_the_draw_of_a_rollout(salt: str, rollout: str) -> None:
    inside: set[str] = set()
    for percent in range(6):
        holdout = Holdout(version=ANCHOR, percent=percent, salt=salt)
        now = {tenant for tenant in MANY if holdout.includes(tenant)}
        assert inside <= now
        inside = now
        assert percent or not now
    drawn = exposed(MANY, Exposure(salt=rollout, percent=5))
    assert drawn != inside or not drawn  # and so for any salt that is the id of a rollout


def test_tenants_stay_in_the_hold_out_when_the_anchor_is_another_one() -> None:
    first = Holdout(version=3, percent=5, salt=salt_of("main"))
    second = replace(first, version=9)
    assert {t for t in MANY if first.includes(t)} == {t for t in MANY if second.includes(t)} != set()
    other = Holdout(version=3, percent=5, salt=salt_of("search"))
    assert {t for t in MANY if first.includes(t)} != {t for t in MANY if other.includes(t)}


def test_with_nothing_live_nobody_gets_the_anchor() -> None:
    holdout = Holdout(version=ANCHOR, percent=5, salt=salt_of("main"))
    held = next(tenant for tenant in MANY if holdout.includes(tenant))
    shadow = {Ring.SHADOW: move(Ring.SHADOW, 0, 1, NEW, salt="s")}
    assert route_tenant(held, shadow, Lists(), {}, holdout).version is None
    canary = {Ring.CANARY: move(Ring.CANARY, 50, 2, NEW, salt="s")}
    assert route_tenant(held, canary, Lists(), {}, holdout).version == ANCHOR


def test_leaving_the_hold_out_is_letting_in() -> None:
    holdout = Holdout(version=ANCHOR, percent=5, salt=salt_of("main"))
    held = next(tenant for tenant in MANY if holdout.includes(tenant))
    live = {Ring.GLOBAL: move(Ring.GLOBAL, 100, 1, NEW, salt="s")}
    before = route_tenant(held, live, Lists(), {}, holdout)
    after = route_tenant(held, live, Lists(), {}, replace(holdout, allow=frozenset({held})))
    assert (before.version, after.version) == (ANCHOR, NEW)
    assert lets_in(before, after)
    assert not lets_in(after, before)


def test_a_canary_older_than_what_serves_everybody_does_not_count() -> None:
    live = {
        Ring.CANARY: move(Ring.CANARY, 99, 3, NEW, salt="s"),
        Ring.GLOBAL: move(Ring.GLOBAL, 100, 4, 7, salt="g"),
    }
    routed = [route_tenant(tenant, live, Lists(), {}) for tenant in TENANTS]
    assert {each.version for each in routed} == {7}
    assert {each.reason for each in routed} == {"everybody"}
    live[Ring.CANARY] = replace(live[Ring.CANARY], epoch=5)
    assert NEW in {route_tenant(tenant, live, Lists(), {}).version for tenant in TENANTS}


def test_after_a_way_back_the_lists_of_the_rollout_decide_nothing_any_more() -> None:
    world = World(salt="s", held={"t1"}, deny={"t2"})
    back = replace(move(Ring.GLOBAL, 100, 9, OLD, salt="s"), kind="rollback", previous_version=NEW)
    for tenant in TENANTS:
        assert route_tenant(tenant, {Ring.GLOBAL: back}, world.lists(), world.rollouts()).version == OLD


def test_nothing_live_is_nothing_for_everybody() -> None:
    shadow = {Ring.SHADOW: move(Ring.SHADOW, 0, 1, NEW, salt="s")}
    for live in ({}, shadow):
        routed = route_tenant("t1", live, Lists(), {})
        assert (routed.version, routed.reason, routed.asked) == (None, "nothing", ())
