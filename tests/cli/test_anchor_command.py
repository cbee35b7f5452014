"""`upm anchor`: who stays on a snapshot whatever rollouts do, and whether that is the better one."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from upm_cli.core.comparisons import Comparisons
from upm_cli.core.feedback.served import Served
from upm_cli.core.retention import RetentionPolicy
from upm_cli.core.rollouts.state import Phase, RolloutState
from upm_cli.core.window import Strings
from upm_cli.ops import keeping
from upm_cli.ops.rollout_view import Seen, observe
from upm_cli.ops.tenants import Router
from upm_cli.store import drift, feedback, log, segments, snapshots

TENANTS = [f"tenant-{i}" for i in range(200)]  # of these 12 are held out


@pytest.fixture
def anchored(paced: Any) -> Any:
    """Two versions, v2 live, v1 live before it and the anchor of 5 % of the tenants."""
    paced.write(paced.config + "rollout: {holdout_percent: 5}\n")
    paced.serve(1)
    paced.serve(2)
    assert paced("anchor", "set", "main", "1", "--yes", "--reason", "before it acted").code == 0
    return paced


def gets(site: Any) -> dict[str, int | None]:
    with site.store as store, store.read() as reader:
        router = Router.read(reader, site.settings, "main")
        return {tenant: router.route(tenant).version for tenant in TENANTS}


def held_out(site: Any) -> list[str]:
    return [tenant for tenant, version in gets(site).items() if version == 1]


def served(site: Any, tenants: list[str], version: int, loss: float, n: int) -> None:
    """Let agents have served `version` to `tenants` and been told what came of it."""
    with site.store as store:
        with store.read() as reader:
            last = segments.last(reader, "comparisons", "main:served")
        first = last.last_seq + 1 if last else 0
        names = [tenants[i % len(tenants)] for i in range(n)]
        scores = np.full(n, np.sqrt(loss), np.float32)
        briers = np.full(n, loss, np.float32)
        table = Comparisons(
            np.arange(first, first + n), np.arange(n) * 1000, Strings.of(f"w{first + i}" for i in range(n)),
            Strings.of(names), scores, np.ones(n), scores, briers, np.full(n, 0.25, np.float32), scores,
        )  # fmt: skip
        ids = Strings.of(f"p{first + i}" for i in range(n))
        found = Served(
            table, ids, np.full(n, version), Strings.of(["ab" * 32] * n), np.ones(n, np.int64),
            Strings.of(["edge"] * n), np.ones(n, np.bool_), np.arange(n), np.arange(n), Strings.of(["binary"] * n),
            np.ones(n, np.uint8), Strings.empty(n),
        )  # fmt: skip
        segment = log.write_served(store.home, "main", found, 0)
        with store.write() as tx:
            segments.add(tx, segment)


def test_a_share_of_tenants_stays_on_the_anchor_and_route_says_why(anchored: Any) -> None:
    held = held_out(anchored)
    assert len(held) == 12
    said = anchored.json("tenant", "route", held[0], "main")
    assert (said["version"], said["ring"], said["reason"], said["percent"]) == (1, "global", "held_out", 5)
    other = next(tenant for tenant in TENANTS if tenant not in held)
    said = anchored.json("tenant", "route", other, "main")
    assert (said["version"], said["reason"]) == (2, "everybody")
    assert said["holdout"].startswith("not in the hold-out: its place")
    text = anchored("tenant", "route", other, "main", "-o", "table").out
    assert "not in the hold-out" in text


def test_the_anchor_stays_whatever_is_made_live(anchored: Any) -> None:
    held = held_out(anchored)
    anchored.serve(anchored.learn())
    assert held_out(anchored) == held
    assert set(gets(anchored).values()) == {1, 3}


def test_who_is_allowed_is_not_held_out_and_the_denied_are(anchored: Any) -> None:
    held = held_out(anchored)
    done = anchored.json("tenant", "allow", held[0], "main", "--yes")
    assert (done["from_version"], done["to_version"]) == (1, 2)
    done = anchored.json("tenant", "deny", held[1], "main", "--yes")
    assert (done["from_version"], done["to_version"]) == (1, 1)
    assert "on the allow list" in anchored.json("tenant", "route", held[0], "main")["holdout"]


def test_a_barred_anchor_is_never_served_and_route_says_so(anchored: Any) -> None:
    held = held_out(anchored)
    with anchored.store as store, store.write() as tx:
        row = snapshots.get(tx, "main", 1)
        snapshots.put(tx, replace(row, quarantined=True, quarantine_reason="it was wrong"))
    assert held_out(anchored) == []
    said = anchored.json("tenant", "route", held[0], "main")
    assert (said["version"], said["reason"]) == (2, "everybody")
    assert said["holdout"].endswith("but the anchor v1 is quarantined (it was wrong)")
    assert anchored.json("anchor", "show")["anchor"]["barred"] == "is quarantined (it was wrong)"


def test_a_version_that_was_rolled_back_is_no_anchor(paced: Any) -> None:
    paced.serve(1)
    paced.serve(2)
    assert paced("rollback", "main", "--yes", "--reason", "bad").code == 0
    code, error = paced.error("anchor", "set", "main", "2", "--yes")
    assert (code, error["code"]) == (5, "UPM-E050")
    assert "quarantined" in error["detail"]


def test_a_version_that_never_served_everybody_is_no_anchor(paced: Any) -> None:
    paced.serve(1)
    code, error = paced.error("anchor", "set", "main", "2", "--yes")
    assert code == 5
    assert "no way around the gates" in error["detail"]
    assert paced.json("anchor", "show")["anchor"] is None
    assert "has no anchor" in paced("anchor", "show", "-o", "table").out


def test_setting_and_clearing_are_recorded_and_can_be_rehearsed(paced: Any) -> None:
    paced.serve(1)
    plan = paced.json("anchor", "set", "main", "active", "--dry-run")
    assert (plan["to_version"], plan["changed"], plan["dry_run"]) == (1, False, True)
    assert paced.json("anchor", "show")["anchor"] is None
    done = paced("anchor", "set", "main", "active", "--yes", "--reason", "why not")
    assert done.code == 0
    assert "nobody is held out before rollout.holdout_percent" in done.err
    again = paced.json("anchor", "set", "main", "1", "--yes")
    assert (again["from_version"], again["to_version"], again["changed"]) == (1, 1, False)
    assert paced.json("at", "now")["trainers"][0]["anchor"] == 1
    assert paced.json("anchor", "clear", "--dry-run")["changed"] is False
    assert paced.json("anchor", "clear", "--yes", "--reason", "enough")["changed"] is True
    assert paced.json("anchor", "clear", "--yes")["changed"] is False
    assert paced.json("at", "now")["trainers"][0]["anchor"] is None
    entries = [entry for entry in paced.ledger() if entry["action"].startswith("anchor.")]
    assert [(each["action"], each["details"]["reason"]) for each in entries] == [
        ("anchor.set", "why not"),
        ("anchor.clear", "enough"),
    ]
    text = paced("audit", "list", "-o", "table").out
    assert "0 % of tenants stay on v1" in text
    assert "v1 is no anchor any more" in text


def test_it_needs_a_yes_the_role_and_no_freeze(anchored: Any) -> None:
    assert anchored("anchor", "clear").code == 2
    assert anchored("rollout", "freeze", "--until", "1h", "--reason", "move").code == 0
    code, error = anchored.error("anchor", "clear", "--yes")
    assert (code, error["code"]) == (5, "UPM-E051")
    anchored.write("supervisor: {default_trainers: [{name: main}]}\npolicy: {actors: {somebody: admin}}\n")
    code, error = anchored.error("anchor", "set", "main", "2", "--yes")
    assert (code, error["code"]) == (5, "UPM-E051")
    assert "may not anchor" in error["detail"]


def test_the_anchor_is_kept_from_deletion(anchored: Any) -> None:
    for _ in range(4):
        anchored.serve(anchored.learn())
    anchored.clock.advance(400 * 86_400)
    with anchored.store as store:
        policy = RetentionPolicy(keep=0, keep_days=0)
        plan = keeping.collect_garbage(store, anchored.clock, ["main"], policy, actor="me", dry_run=True)
    assert plan.protected["main"][1] == "anchor of the hold-out"
    assert 1 not in plan.deleted["main"]
    assert 2 in plan.deleted["main"]


def test_rollouts_do_not_count_on_tenants_that_are_held_out(anchored: Any) -> None:
    held = held_out(anchored)
    other = next(tenant for tenant in TENANTS if tenant not in held)
    anchored.prove(tenants=[held[0], other])
    state = RolloutState(rollout_id="r", trainer="main", phase=Phase.PENDING)
    with anchored.store as store, store.read() as reader:
        seen = Seen.read(reader, anchored.settings, "main")
        assert observe(store, reader, anchored.clock, anchored.settings, seen, state).tenants == {other}


def test_what_the_hold_out_was_served_is_held_against_the_others(anchored: Any) -> None:
    held = held_out(anchored)
    others = [tenant for tenant in TENANTS if tenant not in held]
    said = anchored.json("anchor", "show")
    assert (said["comparison"]["verdict"], said["comparison"]["value"]) == ("unknown", None)
    served(anchored, held, 1, 0.04, 4000)
    served(anchored, others, 2, 0.36, 4000)
    served(anchored, held, 2, 0.9, 10)  # before they were held out
    found = anchored.json("anchor", "show")["comparison"]
    assert (found["held_out"]["n"], found["others"]["n"], found["astray"]) == (4000, 4000, 10)
    assert found["value"] == pytest.approx(0.32, abs=1e-6)
    assert 0.01 < found["low"] < found["value"] < found["high"]
    assert (found["verdict"], found["alarm"]) == ("fail", True)
    ran = anchored("anchor", "show", "-o", "table")
    assert "the anchor is better" in ran.out
    assert "better off" in ran.err
    with anchored.store as store, store.write() as tx:
        drift.forget(tx, "main")  # the made-up window has no details
    ran = anchored("drift-report", "main", "--fail-on", "breach", "-o", "table")
    assert ran.code == 6
    assert "hold-out: fail: the anchor is better" in ran.err
    report = json.loads(anchored("drift-report", "main", "--json").out)
    assert report["served"]["holdout"]["alarm"] is True


def test_what_came_before_the_anchor_was_set_does_not_count(anchored: Any) -> None:
    held = held_out(anchored)
    assert anchored("anchor", "clear", "--yes").code == 0
    served(anchored, held, 1, 0.04, 100)
    with anchored.store as store, store.write() as tx:
        feedback.put(tx, replace(feedback.get(tx, "main"), next_seq=100, updated_at_ms=1))
    assert anchored("anchor", "set", "main", "1", "--yes").code == 0
    served(anchored, held, 1, 0.04, 50)
    assert anchored.json("anchor", "show")["comparison"]["held_out"]["n"] == 50
