"""Whatever was decided, the same comes out of what was recorded, and any change to that is seen."""

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from upm_cli.core.activation import plan_rollback
from upm_cli.core.changes import released
from upm_cli.core.decision import inputs_digest, recompute
from upm_cli.core.drift import DriftPolicy, Stats, judge
from upm_cli.core.drift_decision import extend_inputs, quarantine_inputs
from upm_cli.core.drift_record import suspects
from upm_cli.core.plain import canonical, to_plain
from upm_cli.core.recorded import gc_inputs, release_inputs, rollback_inputs
from upm_cli.core.records import (
    Activation,
    DriftStatus,
    DriftWindow,
    Mode,
    Ring,
    Snapshot,
    SnapshotStatus,
    Trainer,
)
from upm_cli.core.retention import DAY_MS, RetentionPolicy, plan_retention
from upm_cli.core.sketches import live_of
from upm_cli.errors import RefusedError


def on_the_record(inputs: Any) -> Any:
    """Return `inputs` as they are after they were written and read."""
    return json.loads(canonical(inputs))


@st.composite
def shots(draw: st.DrawFn, versions: int) -> list[Snapshot]:
    """Draw snapshots of which some were deleted; a version's part of the log follows that of the one before."""
    found, seq = [], 0
    for version in range(1, versions + 1):
        length = draw(st.integers(1, 50))
        if draw(st.integers(0, 5)):
            found.append(
                Snapshot(
                    trainer="main",
                    version=version,
                    mode=draw(st.sampled_from(Mode)),
                    digest="d" * 64,
                    file_digest="f" * 64,
                    codec="zstd",
                    path=f"blobs/{version}",
                    size_bytes=10,
                    raw_bytes=20,
                    status=draw(st.sampled_from(SnapshotStatus)),
                    quarantined=draw(st.booleans()),
                    quarantine_reason=draw(st.none() | st.text()),
                    first_seq=seq,
                    last_seq=seq + length - 1,
                    created_at_ms=draw(st.integers(0, 90)) * DAY_MS,
                    activated_at_ms=draw(st.none() | st.integers(0, 10)),
                    manifest={"large": "x" * 100},
                )
            )
        seq += length
    return found


@st.composite
def moves(draw: st.DrawFn, versions: int) -> list[Activation]:
    version = st.integers(1, versions)
    return [
        Activation(
            trainer="main",
            ring=draw(st.sampled_from(Ring)),
            epoch=epoch,
            version=draw(version),
            previous_version=draw(st.none() | version),
            percent=draw(st.integers(0, 100)),
            kind=draw(st.sampled_from(["activate", "rollback"])),
            decision_id=f"d{epoch}",
            actor="ada",
            reason="because",
            at_ms=draw(st.integers(0, 100)),
        )
        for epoch in range(1, draw(st.integers(1, 8)) + 1)
    ]


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Trainer, list[Snapshot], list[Activation]]:
    versions = draw(st.integers(1, 8))
    history = draw(moves(versions))
    pairs = st.tuples(st.integers(1, versions), st.integers(1, versions), st.integers(1, versions))
    lineage = tuple(
        {"at_seq": 0, "from_version": max(a, b), "to_version": min(a, b), "last_version": max(b, c), "reason": "x"}
        for a, b, c in draw(st.lists(pairs, max_size=3))
    )
    trainer = Trainer(name="main", stream="main", epoch=len(history), lineage=lineage, metrics={"loss": 0.5})
    return trainer, draw(shots(versions)), history


@given(worlds(), st.none() | st.sampled_from(Ring), st.none() | st.integers(0, 300), st.sets(st.integers(1, 8)))
def test_a_rollback_comes_out_the_same_from_its_short_form(
    world: tuple[Trainer, list[Snapshot], list[Activation]],
    ring: Ring | None,
    suspect_from_seq: int | None,
    damaged: set[int],
) -> None:
    trainer, rows, history = world
    try:
        plan = plan_rollback(trainer, rows, live_of(history), history, ring=ring, suspect_from_seq=suspect_from_seq)
    except RefusedError:
        assume(False)
    inputs = rollback_inputs(
        trainer, rows, history, to=None, ring=ring, suspect_from_seq=suspect_from_seq, damaged=damaged
    )
    outcome = recompute("snapshot.rollback", on_the_record(inputs))
    assert outcome["targets"] == [target.version for target in plan.targets]
    assert outcome["rings"] == [ring.value for ring in plan.rings]
    assert outcome["from_version"] == plan.from_version
    whole = [target.version for target in plan.targets if target.version not in damaged]
    assert outcome["to_version"] == (whole[0] if whole else None)


def test_a_rollback_of_a_thousand_snapshots_is_recorded_in_little_room() -> None:
    rows = [row for row in _many(1000) if row.version]
    inputs = rollback_inputs(
        Trainer(name="main", stream="main"), rows, [], to=None, ring=None, suspect_from_seq=None, damaged=()
    )
    assert len(canonical(inputs)) < 130 * len(rows)


def _many(count: int) -> Sequence[Snapshot]:
    return [
        Snapshot(
            trainer="main",
            version=version,
            mode=Mode.SHADOW,
            digest="",
            file_digest="",
            codec="zstd",
            path="",
            size_bytes=1,
            raw_bytes=1,
            last_seq=version * 1000,
            created_at_ms=1_800_000_000_000,
            manifest={"large": "x" * 10_000},
        )
        for version in range(1, count + 1)
    ]


@given(shots(6), st.integers(0, 4), st.floats(0, 90), st.sets(st.integers(1, 6)))
def test_a_collection_comes_out_the_same(rows: list[Snapshot], keep: int, days: float, protected: set[int]) -> None:
    policy = RetentionPolicy(keep=keep, keep_days=days)
    reasons = dict.fromkeys(protected, "pinned")
    plan = plan_retention(rows, policy, reasons, 90 * DAY_MS)
    outcome = recompute("snapshot.gc", on_the_record(gc_inputs(rows, policy, reasons, 90 * DAY_MS)))
    assert outcome == {"deleted": [row.version for row in plan.delete]}


@given(shots(1))
def test_a_release_comes_out_the_same(rows: list[Snapshot]) -> None:
    for row in rows:
        after = released(row, has_served=row.activated_at_ms is not None)
        outcome = recompute("snapshot.release", on_the_record(release_inputs(row)))
        assert outcome == {"version": row.version, "status": after.status.value, "quarantined": False}


windows = st.builds(
    lambda first, length, n, p95, named, early: DriftWindow(
        trainer="main",
        window_id=f"main/{first}",
        version=None,
        started_at_ms=0,
        closed_at_ms=1,
        status=DriftStatus.QUARANTINED,
        verdict="fail",
        threshold=0.2,
        n=n,
        mean=p95,
        p95=p95,
        max=p95,
        first_seq=first,
        last_seq=first + length,
        metadata={"rule": "seed", "suspects": sorted(named)} | ({"failed_early": early} if early else {}),
    ),
    st.integers(0, 200),
    st.integers(0, 100),
    st.integers(0, 2000),
    st.none() | st.floats(0, 1, width=32),
    st.sets(st.integers(1, 6)),
    st.none() | st.just({"n": 1000, "p95": 0.5, "last_seq": 1}),
)


@given(windows, shots(6), st.none() | st.integers(0, 300), st.none() | st.integers(1, 6), st.floats(0.01, 1))
def test_a_quarantine_comes_out_the_same_and_judges_by_the_recorded_policy(
    window: DriftWindow, rows: list[Snapshot], passed_seq: int | None, way_back: int | None, threshold: float
) -> None:
    policy = DriftPolicy(drift_threshold=threshold)
    outcome = recompute(
        "drift.quarantine", on_the_record(quarantine_inputs(window, policy, rows, passed_seq, way_back))
    )
    verdict = judge(Stats(n=window.n, scores=window.n, dropped=0, p95=window.p95), policy).value
    fails = verdict == "fail" or "failed_early" in window.metadata
    assert outcome["verdict"] == ("fail" if fails else verdict)
    assert outcome["recommendation"] == ("rollback" if way_back else "pause")
    barred = {row.version for row in suspects(window, passed_seq, rows)} if fails else set()
    assert outcome["barred"] == sorted(barred | set(window.metadata["suspects"]))
    later = recompute("drift.extend", on_the_record(extend_inputs(window, rows, passed_seq)))
    assert later["barred"] == sorted(
        {row.version for row in suspects(window, passed_seq, rows)} | set(window.metadata["suspects"])
    )


@given(worlds(), st.data())
def test_any_other_input_has_another_digest(
    world: tuple[Trainer, list[Snapshot], list[Activation]], data: st.DataObject
) -> None:
    trainer, rows, history = world
    inputs = on_the_record(
        rollback_inputs(trainer, rows, history, to=None, ring=None, suspect_from_seq=None, damaged=())
    )
    before = inputs_digest(inputs)
    assert inputs_digest(on_the_record(to_plain(inputs))) == before
    places = [(inputs, "to"), (inputs["trainer"], "epoch"), *((move, "version") for move in inputs["history"])]
    places += [(row, key) for row in inputs["snapshots"] for key in ("last_seq", "version", "created_at_ms")]
    where, key = data.draw(st.sampled_from(places))
    where[key] = (where[key] or 0) + 1
    assert inputs_digest(inputs) != before
