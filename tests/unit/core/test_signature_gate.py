"""The gate `signature`: where signatures are asked for, tenants get only what a believed key has signed."""

from dataclasses import replace
from typing import Any

import pytest

from upm_cli.core.decision import recompute
from upm_cli.core.gates import OVERRIDABLE, SIGNATURE, Candidate, ask, may_be_excepted, outcome, signature_gate
from upm_cli.core.plain import to_plain
from upm_cli.core.records import Ring
from upm_cli.core.rollout import VERBS, advance
from upm_cli.core.rollouts.check import check
from upm_cli.core.rollouts.decisions import Step
from upm_cli.core.rollouts.policy import RolloutPolicy, ramp
from upm_cli.core.rollouts.state import Observation, RolloutState
from upm_cli.core.signatures import SignatureState, Signed

KEY = "3f2a90c1d4e5b677"
OTHERS = [state for state in SignatureState if state is not SignatureState.SIGNED]
CANDIDATE = Candidate(
    trainer="main",
    version=42,
    quarantined=False,
    quarantine_reason=None,
    ring=Ring.CANARY,
    percent=5,
    feature_enabled=True,
    descends_from_bad=None,
)


def candidate(state: SignatureState, **more: Any) -> Candidate:
    keyid = None if state in (SignatureState.UNSIGNED, SignatureState.UNCHECKED) else KEY
    return replace(CANDIDATE, signature=Signed(state=state, keyid=keyid, why="no package"), **more)


@pytest.mark.parametrize("ring", [Ring.CANARY, Ring.GLOBAL])
@pytest.mark.parametrize("state", SignatureState)
def test_only_a_believed_signature_opens_the_way_to_tenants(state: SignatureState, ring: Ring) -> None:
    found = signature_gate(candidate(state, ring=ring))
    assert found.allowed is (state is SignatureState.SIGNED)
    assert found.numbers["signature"] == state.value
    assert signature_gate(candidate(state, ring=ring, is_wider=False)).allowed is found.allowed


@pytest.mark.parametrize("state", SignatureState)
def test_shadow_needs_no_signature(state: SignatureState) -> None:
    assert signature_gate(candidate(state, ring=Ring.SHADOW)).allowed


def test_a_refusal_says_what_was_found_and_what_would_satisfy_it() -> None:
    said = {state: signature_gate(candidate(state)) for state in OTHERS}
    assert said[SignatureState.UNSIGNED].detail == "main@42 is unsigned"
    assert said[SignatureState.REVOKED].detail == f"main@42 is signed by {KEY}, which is revoked"
    assert said[SignatureState.UNKNOWN].detail == f"main@42 is signed by {KEY}, which is not known here"
    assert said[SignatureState.INVALID].detail == f"main@42 is not what {KEY} signed"
    assert said[SignatureState.UNCHECKED].detail == "main@42 is not checked: no package"
    for state in (SignatureState.UNSIGNED, SignatureState.REVOKED, SignatureState.UNKNOWN, SignatureState.INVALID):
        assert "upm snapshot sign main 42" in said[state].satisfy
    assert "upm validate" in said[SignatureState.UNCHECKED].satisfy


def test_nobody_excepts_it() -> None:
    assert SIGNATURE not in OVERRIDABLE
    found = signature_gate(candidate(SignatureState.UNSIGNED))
    assert not may_be_excepted(found.gate, found.numbers)
    asked = ask(candidate(SignatureState.UNSIGNED, overridden=frozenset({SIGNATURE})))
    assert [each.allowed for each in asked if each.gate == SIGNATURE] == [False]


def test_it_is_asked_only_where_signatures_are_asked_for() -> None:
    assert SIGNATURE not in {each.gate for each in ask(CANDIDATE)}
    assert SIGNATURE in {each.gate for each in ask(candidate(SignatureState.SIGNED))}


@pytest.mark.parametrize("state", SignatureState)
def test_a_recorded_decision_comes_out_again(state: SignatureState) -> None:
    asked = candidate(state)
    recorded = outcome(ask(asked))
    assert recompute("snapshot.activate", {"candidate": to_plain(asked)}) == recorded
    assert recorded["gates"][SIGNATURE] is (state is SignatureState.SIGNED)


def test_a_decision_from_before_there_were_signatures_comes_out_as_it_did() -> None:
    plain = to_plain(CANDIDATE)
    del plain["signature"]
    assert recompute("snapshot.refuse", {"candidate": plain}) == outcome(ask(CANDIDATE))


ASKING = RolloutPolicy(  # the last gate is the one that a quick check shuts and leaves out
    stages=ramp(canary=(5,), full=(100,)),
    min_tenants=2,
    required_gates=(*RolloutPolicy().required_gates, SIGNATURE),
)


def test_a_rollout_that_asks_for_signatures_has_no_hole() -> None:
    report = check(ASKING, is_quick=True)
    assert report.is_sound, report.words()


def test_a_rollout_that_would_not_look_at_the_signature_is_found_out() -> None:
    def blind(state: RolloutState, seen: Observation, policy: RolloutPolicy) -> Step:
        gates = tuple(replace(each, allowed=True) if each.gate == SIGNATURE else each for each in seen.gates)
        return advance(state, replace(seen, gates=gates), policy)

    report = check(ASKING, is_quick=True, verbs={**VERBS, "advance": blind})
    assert report.broken == "No step while a gate says no or could not be asked."
    assert f"gate {SIGNATURE} saying no" in report.words()
