"""The gate feature_drift, and what it rests on: what is unknown says no when it holds, and nothing does otherwise."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from upm_cli.core.features.blob import pack, unpack
from upm_cli.core.features.drift import FeatureDrift, FeaturePolicy, Reference, learn_reference
from upm_cli.core.features.gate import feature_drift_gate
from upm_cli.core.gates import GateResult
from upm_cli.core.records import FeatureWatch
from upm_cli.core.snapshot import SnapshotFormatError
from upm_cli.core.window import Csr, WindowBatch

HOUR = 3_600_000
NOW = 1_800_000_000_000
CALM = FeatureWatch(
    trainer="main", version=1, first_seq=0, last_seq=9999, terms="", position=12_000, reference_digest="a" * 64,
    state_digest="b" * 64, verdict="pass", reason="", drifting=(), looks=2, windows=700, look_start_ms=0,
    look_end_ms=HOUR, looked_at_ms=NOW - HOUR, updated_at_ms=NOW,
)  # fmt: skip
DRIFTING = replace(
    CALM,
    verdict="fail",
    drifting=tuple({"feature": f"f{n}", "p": 1e-9 / (n + 1), "effect": 2.0 - n / 10} for n in range(7)),
)
WATCHES = [
    None,
    CALM,
    DRIFTING,
    replace(CALM, verdict="unknown", reason="no look yet"),
    replace(CALM, looked_at_ms=None),
    replace(CALM, looked_at_ms=NOW - 3 * HOUR),
    replace(CALM, looked_at_ms=NOW + HOUR),
    replace(DRIFTING, verdict="pass"),
]


def ask(watch: FeatureWatch | None, *, holds: bool = True, followed: int = 200) -> GateResult:
    return feature_drift_gate("main", watch, holds=holds, followed=followed, now_ms=NOW, max_age_ms=2 * HOUR)


def test_of_all_that_can_be_known_only_a_fresh_calm_look_lets_a_rollout_on() -> None:
    said = [ask(watch) for watch in WATCHES]
    assert [each.allowed for each in said] == [watch is CALM for watch in WATCHES]
    assert [each.numbers["verdict"] for each in said] == [
        "unknown", "pass", "fail", "unknown", "unknown", "unknown", "unknown", "fail",
    ]  # fmt: skip
    assert all(each.satisfy for each in said if not each.allowed)


@pytest.mark.parametrize("watch", WATCHES)
def test_report_never_holds_but_warns(watch: FeatureWatch | None) -> None:
    said = ask(watch, holds=False)
    assert said.allowed
    assert ("warning" in said.detail) == (watch is not CALM)


def test_it_names_the_worst_features_and_their_numbers() -> None:
    said = ask(DRIFTING)
    assert said.detail == "7 features drift: f0, f1, f2, f3, f4 and 2 more"
    assert said.numbers["features"] == [f"f{n}" for n in range(7)]
    assert (said.numbers["p"], said.numbers["effect"]) == (pytest.approx(1e-9 / 7), 2.0)
    one = ask(replace(DRIFTING, drifting=DRIFTING.drifting[:1]))
    assert one.detail == "1 feature drifts: f0"


def test_following_no_feature_is_knowing_nothing() -> None:
    assert ask(CALM, followed=0).allowed is False
    assert "evidence.features" in ask(CALM, followed=0).satisfy


FLOATS = st.sampled_from(["<f4", "<f8"]).flatmap(lambda kind: arrays.arrays(kind, arrays.array_shapes(max_dims=2)))
OTHERS = st.sampled_from(["<u4", "<i8", "<u8", "?"]).flatmap(lambda kind: arrays.arrays(kind, 3))


@given(st.dictionaries(st.sampled_from(["a", "open.b", "alarms.log_r"]), FLOATS | OTHERS))
def test_arrays_come_back_bit_by_bit_whatever_they_hold(state: dict[str, np.ndarray]) -> None:
    found = unpack(pack(state))
    assert found.keys() == state.keys()
    for name, array in state.items():
        assert (found[name].dtype, found[name].shape, found[name].tobytes()) == (
            array.dtype, array.shape, array.tobytes(),
        )  # fmt: skip


def test_one_flipped_bit_is_found() -> None:
    data = bytearray(pack({"a": np.array([1.0, -np.inf])}))
    data[-3] ^= 4
    with pytest.raises(SnapshotFormatError):
        unpack(bytes(data))


def reference(windows: int, span_ms: int) -> Reference:
    rows = rows_of(0, windows, span_ms)
    found = learn_reference(lambda: [(0, rows)], FeaturePolicy(max_features=2), 7)
    assert found is not None
    return found


def rows_of(start_ms: int, windows: int, span_ms: int) -> WindowBatch:
    rows = WindowBatch.empty(windows)
    rows.start_ms = start_ms + np.arange(windows) * span_ms // windows
    value = np.random.default_rng(start_ms).normal(size=windows).astype(np.float32)
    rows.x = Csr(np.arange(windows + 1), np.full(windows, 5, np.uint32), value)
    return rows


@pytest.mark.parametrize(
    ("an_hour", "share"), [(50, 1), (249, 1), (251, 1 / 2), (900, 1 / 4), (3600, 1 / 16), (10**6, 1 / 64)]
)
def test_the_faster_the_log_the_fewer_of_its_windows_count(an_hour: int, share: float) -> None:
    windows = 1000
    found = reference(windows, round(windows / an_hour * HOUR))
    assert found.thinned(FeaturePolicy()).share == share


@given(st.lists(st.integers(0, 2000), max_size=4))
def test_the_windows_that_count_are_the_same_however_the_log_is_cut(cuts: list[int]) -> None:
    rows, policy = rows_of(HOUR, 2000, HOUR // 2), replace(FeaturePolicy(max_features=2), share=1 / 4)
    whole, parts = (FeatureDrift(reference(500, HOUR), policy) for _ in range(2))
    whole.fold(500, rows)
    bounds = [0, *sorted(cuts), 2000]
    for start, stop in itertools.pairwise(bounds):
        parts.fold(500 + start, rows.slice(start, stop))
    ours, theirs = parts.dump(), whole.dump()
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
    look = whole.open_look()
    assert look is not None
    assert abs(look.windows - 500) < 4 * np.sqrt(2000 * 3 / 16), "four standard deviations of a fair draw"


def test_a_share_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="share must be"):
        FeaturePolicy(share=0)
