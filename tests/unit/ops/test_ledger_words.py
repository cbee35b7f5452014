"""Ledger entries read as sentences, also those of another version of upm."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upm_cli.ops.ledger_words import RECORD, what

ROLLOUT = {"decision_id": "d", "inputs": {}, "numbers": {}, "reason": ""}
GATE = {"gate": "evidence", "allowed": False, "detail": "unknown after 40 windows", "satisfy": "wait", "numbers": {}}


def rollout(phase: str, *decisions: dict[str, Any]) -> dict[str, Any]:
    return {**ROLLOUT, "outcome": {"state": {"phase": phase}, "decisions": list(decisions)}}


@pytest.mark.parametrize(
    ("action", "details", "words"),
    [
        (
            "snapshot.activate",
            {"ring": "canary", "percent": 5, "previous_version": 3},
            "live in canary 5 %, before: v3",
        ),
        ("snapshot.activate", {"ring": "shadow", "percent": 0, "previous_version": None}, "live in shadow"),
        (
            "snapshot.refuse",
            {"ring": "global", "error": {"message": "gate freeze: frozen"}},
            "refused for global: gate freeze: frozen",
        ),
        ("snapshot.rollback", {"to_version": 2, "rings": ["canary", "global"]}, "back to v2 in canary and global"),
        (
            "restore.again",
            {"action": "snapshot.rollback", "entry": 7, "to_version": 2, "rings": ["global"]},
            "snapshot.rollback of entry 7 done again: back to v2 in global",
        ),
        (
            "restore.again",
            {"action": "restore.again", "entry": 7},
            "restore.again of entry 7 done again",
        ),
        ("snapshot.release", {"was": None}, "no longer quarantined; it was: no reason given"),
        ("snapshot.gc", {"versions": [1, 2]}, "2 deleted"),
        ("snapshot.sign", {"keyid": "3f2a", "signed": ["main@1"]}, "1 snapshot with 3f2a"),
        ("keys.init", {"public": "x", "signed": ["main@1", "main@2"]}, "the first key; signed 2 snapshots"),
        ("keys.prepare", {"before": "3f2a", "public": "x"}, "ready to sign after 3f2a"),
        (
            "keys.rotate",
            {"before": "3f2a", "public": "x", "signed": []},
            "signs in the place of 3f2a; signed 0 snapshots anew",
        ),
        ("keys.revoke", {"was": "accepted", "unsigned": ["main@1"]}, "was accepted; unsigned since: 1 snapshot"),
        (
            "drift.quarantine",
            {"drift_p95": 0.2345, "threshold": 0.2, "snapshot_ids": ["main@3", "main@4"], "recommendation": "pause"},
            "P95 0.234 ≥ 0.2; bars v3, v4; recommends pause",
        ),
        (
            "drift.quarantine",
            {"drift_p95": 0.2, "threshold": 0.2, "snapshot_ids": [], "recommendation": "pause"},
            "P95 0.200 ≥ 0.2; recommends pause",
        ),
        (
            "drift.extend",
            {"drift_window_id": "main/7", "snapshot_ids": ["main@5"]},
            "learned from failed window main/7; bars v5",
        ),
        (
            "evidence.verdict",
            {
                "contest_id": "lineage/1",
                "outcome": {"verdict": "pass"},
                "numbers": {"value": -0.02, "low": -0.03, "high": 0.001, "windows": 12410},
            },
            "contest lineage/1: pass on 12,410 windows, mean excess loss -0.0200 [-0.0300, +0.0010]",
        ),
        (
            "evidence.verdict",
            {
                "contest_id": "c",
                "outcome": {"verdict": "unknown"},
                "numbers": {"value": None, "low": None, "high": None, "windows": 3},
            },
            "contest c: unknown on 3 windows",
        ),
        (
            "evidence.quarantine",
            {"contest_id": "c", "snapshot_ids": ["main@9"], "recommendation": "rollback"},
            "contest c failed; bars v9; recommends rollback",
        ),
        ("rollout.start", rollout("progressing", {"kind": "start"}), "start (progressing)"),
        ("rollout.advance", rollout("progressing"), "nothing to do (progressing)"),
        (
            "rollout.advance",
            rollout("progressing", {"kind": "activate", "version": 7, "percent": 5, "ring": "canary"}),
            "v7 to 5 % in canary (progressing)",
        ),
        (
            "rollout.advance",
            rollout("progressing", {"kind": "hold", "gates": [GATE]}),
            "hold: gate evidence: unknown after 40 windows (progressing)",
        ),
        (
            "rollout.advance",
            rollout("degraded", {"kind": "rollback", "version": 7, "to": None, "rings": ["canary"], "cause": "harm"}),
            "v7 back to nothing in canary: harm (degraded)",
        ),
        ("rollout.promote", rollout("promoted", {"kind": "promote", "version": 7}), "v7 promoted (promoted)"),
        ("rollout.pause", rollout("paused", {"kind": "pause", "cause": "operator"}), "pause: operator (paused)"),
        (
            "rollout.advance",
            rollout("progressing", {"kind": "hold_tenant", "tenant": "acme"}),
            "hold tenant: acme (progressing)",
        ),
        (
            "rollout.promote",
            {**ROLLOUT, "outcome": {"refused": {"message": "gate hold: no"}}},
            "refused: gate hold: no",
        ),
        (
            "rollout.withdraw",
            {"to_version": None, "rings": ["canary"], "cause": "operator", "quarantined": False},
            "out of canary, nothing serves there again: operator",
        ),
        (
            "rollout.withdraw",
            {"to_version": 3, "rings": ["canary"], "cause": "harm", "quarantined": True},
            "out of canary, v3 serves there again: harm; it is quarantined",
        ),
        (
            "override.grant",
            {"gate": "freeze", "expires_at": "2026-11-23T12:00:00.000Z", "needs_approval": True},
            "gate freeze until 2026-11-23T12:00Z, once a second person agrees",
        ),
        ("override.approve", {"gate": "freeze", "asked_by": "ann"}, "gate freeze"),
        ("tenant.deny", {"tenant": "acme", "from_version": 4, "to_version": None}, "tenant acme: v4 → nothing"),
        ("tenant.allow", {"tenant": "acme", "from_version": 4, "to_version": 4}, "tenant acme: stays on v4"),
        (
            "clock.jump",
            {"what": "forward", "wall_ms": 7_200_000, "counted_ms": 0},
            "forward: the wall clock moved by 7,200,000 ms, 0 ms count",
        ),
        ("trainer.mode", {"before": "shadow", "after": "canary"}, "shadow → canary"),
        ("trainer.config", {"before": "a" * 64, "after": "b"}, f"{'a' * 39}… → b"),
        ("trainer.add", {"mode": "shadow", "stream": "main", "tenant": "t1"}, "mode shadow, stream main, tenant t1"),
        ("trainer.remove", {"snapshots": 3}, "with 3 snapshots"),
        ("trainer.pause", {"reason": "x"}, ""),
        ("doctor.fix", {"removed": ["a"], "made_private": []}, "removed 1 leftovers, made 0 files private"),
        ("supervisor.stop", {"drain": True}, "after everything that was read is learned"),
        ("supervisor.stop", {"drain": False}, ""),
        ("worker.restart", {"reason": "x"}, ""),
        ("state.restored", {"from_generation": 12}, "the state went back to generation 12"),
        ("moon.landing", {"reason": "x", "crew": ["a", "b"], "weight": 1.23456789}, "crew a and b, weight 1.23457"),
        ("moon.landing", {"numbers": {"n": 3, "none": None}, "inputs": {"n": 4}}, "n 3"),
    ],
)
def test_an_entry_says_what_was_done(action: str, details: dict[str, Any], words: str) -> None:
    assert what(action, details) == words


ACTIONS = (
    "snapshot.activate",
    "snapshot.refuse",
    "snapshot.rollback",
    "snapshot.release",
    "snapshot.gc",
    "snapshot.create",
    "drift.quarantine",
    "drift.extend",
    "evidence.verdict",
    "evidence.quarantine",
    "rollout.advance",
    "rollout.withdraw",
    "override.grant",
    "tenant.allow",
    "clock.jump",
    "trainer.mode",
    "trainer.add",
    "trainer.remove",
    "state.restored",
    "doctor.fix",
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
KEYS = (
    *RECORD,
    "ring",
    "percent",
    "error",
    "to_version",
    "rings",
    "versions",
    "snapshot_ids",
    "drift_p95",
    "threshold",
    "outcome",
    "before",
    "after",
    "was",
)


@given(st.sampled_from(ACTIONS), st.dictionaries(st.sampled_from(KEYS), values, max_size=8))
def test_an_entry_of_another_form_is_told_somehow_and_never_a_crash(action: str, details: dict[str, Any]) -> None:
    assert isinstance(what(action, details), str)
