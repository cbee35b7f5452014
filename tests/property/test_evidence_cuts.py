"""Evidence is a fold: however windows are cut, and wherever state is saved and restored, it is the same to the byte."""

import json
import math
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from upm_cli.core.detectors import ESR, BettingE, EmpiricalBernstein
from upm_cli.core.evidence import Contest, EvidencePolicy
from upm_cli.core.judging.blocks import Blocks
from upm_cli.core.judging.eb_differences import DifferenceBounds
from upm_cli.core.window import Strings

POLICY = EvidencePolicy(margin=0.03, block_size=20, tenant_block_size=20, max_tenants=3, stages=3)


def columns(seed: int, n: int) -> tuple[Any, Strings, Any, Any]:
    rng = np.random.default_rng(seed)
    tenant = Strings.of([("", "a", "b", "c", "d", "é")[k] for k in np.minimum(rng.geometric(0.35, n) - 1, 5)])
    champion = rng.random(n)
    challenger = champion + 0.2 * rng.standard_normal(n)
    challenger[rng.random(n) < 0.03] = math.nan
    champion[rng.random(n) < 0.03] = math.nan
    return np.cumsum(rng.integers(1, 4, n)), tenant, challenger, champion


def same(a: Contest, b: Contest) -> None:
    (arrays, meta), (others, other_meta) = a.dump(), b.dump()
    assert meta == other_meta
    assert {k: (v.dtype, v.shape, v.tobytes()) for k, v in arrays.items()} == {
        k: (v.dtype, v.shape, v.tobytes()) for k, v in others.items()
    }
    assert a.findings() == b.findings()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    n=st.integers(1, 700),
    cuts=st.lists(st.integers(0, 700), max_size=12),
    restarts=st.lists(st.tuples(st.integers(0, 700), st.integers(0, 2)), max_size=2),
    saved=st.booleans(),
)
def test_contest_is_the_same_however_it_is_cut_and_restored(
    seed: int, n: int, cuts: list[int], restarts: list[tuple[int, int]], saved: bool
) -> None:
    seq, tenant, challenger, champion = columns(seed, n)
    begun = sorted((min(at, n), stage) for at, stage in restarts)

    def fold(edges: list[int], reload: bool) -> Contest:
        contest, done = Contest(POLICY), 0
        waiting = list(begun)
        for edge in sorted({*(min(edge, n) for edge in edges), *(at for at, _ in begun), n}):
            contest.advance(seq[done:edge], tenant.slice(done, edge), challenger[done:edge], champion[done:edge])
            done = edge
            while waiting and waiting[0][0] == edge:
                contest.restart_promote(waiting.pop(0)[1])
            if reload:
                arrays, meta = contest.dump()
                contest = Contest.load(arrays, json.loads(json.dumps(meta)))
        return contest

    same(fold(cuts, saved), fold([], False))


def plain(stream: Any) -> Any:
    return vars(stream) if isinstance(stream, DifferenceBounds) else stream.state()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), n=st.integers(0, 200), cuts=st.lists(st.integers(0, 200), max_size=8))
def test_one_stream_detectors_are_the_same_however_they_are_cut(seed: int, n: int, cuts: list[int]) -> None:
    y = np.random.default_rng(seed).beta(0.5, 2, n)
    edges = sorted({0, n, *(min(cut, n) for cut in cuts)})
    for make in (
        lambda: BettingE(0.3),
        EmpiricalBernstein,
        DifferenceBounds,
        lambda: ESR(0.2, 50.0),
        lambda: ESR(0.2, 50.0, "cusum"),
    ):
        whole, cut, one = make(), make(), make()
        whole.update(y)
        for start, stop in pairwise(edges):
            cut.update(y[start:stop])
        for value in y.tolist():
            one.update(value)
        assert plain(whole) == plain(cut) == plain(one)


@settings(max_examples=80, deadline=None)
@given(
    size=st.integers(1, 5),
    rows=st.lists(st.tuples(st.integers(0, 3), st.floats(-1, 1, width=32)), max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=5),
)
def test_blocks_are_what_lists_would_hold(size: int, rows: list[tuple[int, float]], cuts: list[int]) -> None:
    slow: dict[int, list[float]] = {stream: [] for stream in range(4)}
    for stream, value in rows:
        slow[stream].append(value)
    blocks, found = Blocks(size, 1, 2), {stream: [] for stream in range(4)}
    blocks.grow(4)
    edges = sorted([0, 0, len(rows), *(min(cut, len(rows)) for cut in cuts)])  # empty parts too
    for start, stop in pairwise(edges):
        part = rows[start:stop]
        values = np.array([v for _, v in part], np.float64)[:, None]
        streams, means = blocks.add(np.array([s for s, _ in part], np.int64), values)
        for stream, mean in zip(streams.tolist(), means[:, 0].tolist(), strict=True):
            found[stream].append(mean)
    for stream, values in slow.items():
        full = len(values) // size
        assert found[stream] == [sum(values[k * size : (k + 1) * size]) / size for k in range(full)]
        assert blocks.counts[stream] == len(values) - full * size
        assert blocks.sums[stream, 0] == sum(values[full * size :])
