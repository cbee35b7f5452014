from dataclasses import replace

import pytest

from upm_cli.core.gates import GateResult, excepted
from upm_cli.core.policy import (
    ACTIONS,
    HOUR_MS,
    AccessPolicy,
    active_overrides,
    check_approval,
    check_override,
    is_in_force,
    may,
    require,
    ring_gate,
    role_of,
)
from upm_cli.core.records import Override, Ring
from upm_cli.errors import RefusedError

POLICY = AccessPolicy(
    canary_tenants=("acme",),
    actors={"ada": "admin", "ann": "admin", "olga": "operator", "vic": "viewer", "app": "approver", "odd": "wizard"},
)
TWO = replace(POLICY, second_approver=True)
OVERRIDE = Override(
    override_id="o1",
    trainer="main",
    gate="readiness",
    reason="launch",
    actor="ada",
    approver=None,
    at_ms=0,
    expires_at_ms=2 * HOUR_MS,
)


def role_now(actor: str) -> str:
    return role_of(actor, POLICY, owner=None)


def test_with_nobody_listed_the_owner_is_admin_and_others_look() -> None:
    nobody = AccessPolicy()
    assert role_of("ada", nobody, owner="ada") == "admin"
    assert role_of("eve", nobody, owner="ada") == "viewer"
    assert role_of("ada", nobody, owner=None) == "viewer"
    assert role_of("ada", AccessPolicy(admin_roles=("chief",)), owner="ada") == "chief"


def test_once_some_are_listed_the_owner_is_nobody_special() -> None:
    assert role_of("ada", POLICY, owner="eve") == "admin"
    assert role_of("eve", POLICY, owner="eve") == "viewer"


@pytest.mark.parametrize("action", ACTIONS)
def test_each_role_may_what_the_table_says(action: str) -> None:
    anybody = {"activate.shadow", "look", "rollback"}
    admins = {"override", "approve", "snapshot.release", "sync.lower", "unfreeze"}
    admins |= {"keys.copy", "keys.init", "keys.rotate", "keys.revoke", "snapshot.sign"}
    expected = {
        "viewer": action in anybody,
        "wizard": action in anybody,
        "approver": action in anybody | {"approve"},
        "operator": action not in admins,
        "admin": True,
    }
    assert {role: may(role, action, POLICY).allowed for role in expected} == expected


def test_what_is_no_action_is_nobodys() -> None:
    assert not may("admin", "reboot", POLICY).allowed


def test_an_admin_is_who_has_a_role_of_admin_roles() -> None:
    renamed = replace(POLICY, admin_roles=("chief",))
    assert may("chief", "override", renamed).allowed
    assert not may("admin", "rollout.start", renamed).allowed


def test_a_refusal_names_the_gate_the_role_and_who_could() -> None:
    with pytest.raises(RefusedError, match="gate policy: vic has role viewer, which may not") as told:
        require("vic", "viewer", "rollout.promote", POLICY)
    assert told.value.hint.startswith("ask somebody with role operator or admin")
    assert require("vic", "viewer", "rollback", POLICY).allowed


def test_shadow_is_open_canary_needs_listed_tenants_and_global_needs_time() -> None:
    assert ring_gate(Ring.SHADOW, AccessPolicy(), shadow_ms=None).allowed
    assert not ring_gate(Ring.CANARY, AccessPolicy(), shadow_ms=None).allowed
    assert ring_gate(Ring.CANARY, POLICY, shadow_ms=None).allowed
    assert ring_gate(Ring.CANARY, POLICY, shadow_ms=None, tenants=["acme"]).allowed
    outside = ring_gate(Ring.CANARY, POLICY, shadow_ms=None, tenants=["acme", "zen"])
    assert (outside.allowed, outside.detail) == (False, "zen is not in policy.canary_tenants")
    absent = ring_gate(Ring.CANARY, POLICY, shadow_ms=None, tenants=[None])
    assert absent.detail == "the absent tenant is not in policy.canary_tenants"
    assert ring_gate(Ring.CANARY, replace(POLICY, canary_tenants=("*",)), shadow_ms=None, tenants=["zen"]).allowed
    assert ring_gate(Ring.GLOBAL, POLICY, shadow_ms=336 * HOUR_MS).allowed
    early = ring_gate(Ring.GLOBAL, POLICY, shadow_ms=336 * HOUR_MS - 1)
    assert (early.allowed, early.numbers["min_shadow_hours"]) == (False, 336)
    assert not ring_gate(Ring.GLOBAL, POLICY, shadow_ms=None).allowed


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"actor": "olga", "role": "operator"}, "may not override"),
        ({"gate": "quarantine"}, "gate quarantine can't be overridden"),
        ({"gate": "no-such-gate"}, "can't be overridden"),
        ({"reason": "  "}, "needs a reason"),
        ({"expires_at_ms": 25 * HOUR_MS}, "override of 25.0 h is not allowed"),
        ({"expires_at_ms": 0}, "override of 0.0 h is not allowed"),
    ],
)
def test_an_override_that_is_not_allowed_is_refused(changes: dict[str, object], said: str) -> None:
    good = {"gate": "policy", "reason": "launch", "actor": "ada", "role": "admin", "at_ms": 0}
    asked = good | {"expires_at_ms": 24 * HOUR_MS} | changes
    check_override(**good, expires_at_ms=24 * HOUR_MS, policy=POLICY)  # type: ignore[arg-type]
    with pytest.raises(RefusedError, match=said):
        check_override(**asked, policy=POLICY)  # type: ignore[arg-type]


def test_nobody_approves_their_own_override() -> None:
    check_approval(OVERRIDE, approver="ann", role="admin", policy=TWO)
    check_approval(OVERRIDE, approver="app", role="approver", policy=TWO)
    with pytest.raises(RefusedError, match="nobody approves their own"):
        check_approval(OVERRIDE, approver="ada", role="admin", policy=TWO)
    with pytest.raises(RefusedError, match="may not approve"):
        check_approval(OVERRIDE, approver="olga", role="operator", policy=TWO)


@pytest.mark.parametrize(
    ("override", "now_ms", "policy", "counts"),
    [
        (OVERRIDE, 0, POLICY, True),
        (OVERRIDE, 2 * HOUR_MS, POLICY, False),
        (OVERRIDE, -1, POLICY, False),
        (replace(OVERRIDE, expires_at_ms=10**15), 23 * HOUR_MS, POLICY, True),
        (replace(OVERRIDE, expires_at_ms=10**15), 24 * HOUR_MS, POLICY, False),
        (replace(OVERRIDE, actor="olga"), 0, POLICY, False),
        (replace(OVERRIDE, actor="gone"), 0, POLICY, False),
        (replace(OVERRIDE, gate="quarantine"), 0, POLICY, False),
        (replace(OVERRIDE, reason=""), 0, POLICY, False),
        (OVERRIDE, 0, TWO, False),
        (replace(OVERRIDE, approver="ada"), 0, TWO, False),
        (replace(OVERRIDE, approver="olga"), 0, TWO, False),
        (replace(OVERRIDE, approver="app"), 0, TWO, True),
        (replace(OVERRIDE, approver="ann"), 0, TWO, True),
    ],
)
def test_an_override_counts_while_it_lasts_and_its_people_may(
    override: Override, now_ms: int, policy: AccessPolicy, counts: bool
) -> None:
    assert is_in_force(override, now_ms, policy, role_now) is counts


def test_an_override_opens_its_gate_and_says_so() -> None:
    longer = replace(OVERRIDE, override_id="o2", expires_at_ms=3 * HOUR_MS)
    active = active_overrides([longer, OVERRIDE, replace(OVERRIDE, gate="quarantine")], 1, POLICY, role_now)
    assert {gate: each.override_id for gate, each in active.items()} == {"readiness": "o2"}
    no = GateResult(gate="readiness", allowed=False, detail="3 h missing", satisfy="wait", numbers={"h": 3})
    opened = excepted(no, frozenset(active))
    assert (opened.allowed, opened.detail, opened.satisfy) == (True, "overridden: 3 h missing", "")
    assert opened.numbers == {"h": 3, "overridden": True}
    assert excepted(no, frozenset()) == no
    assert excepted(replace(no, allowed=True), frozenset(active)) == replace(no, allowed=True)


@pytest.mark.parametrize(
    ("gate", "numbers"),
    [
        ("lineage", {}),
        ("quarantine", {}),
        ("role", {"may": False}),
        ("policy", {"may": False}),
        ("evidence", {"verdict": "fail"}),
    ],
)
def test_what_is_bad_or_nobodys_right_is_never_excepted(gate: str, numbers: dict[str, object]) -> None:
    no = GateResult(gate=gate, allowed=False, detail="no", numbers=numbers)
    assert excepted(no, frozenset({gate})) == no


@pytest.mark.parametrize("changes", [{"min_shadow_hours": -1}, {"override_hours": 0}, {"override_hours": 25}])
def test_limits_have_bounds(changes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        AccessPolicy(**changes)  # type: ignore[arg-type]
