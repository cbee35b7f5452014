"""Drift over a longer time than one drift window: what the records of several say together.

The scores themselves are not kept with a window, but four points of their distribution are: all of them are 0 or more,
a known share reaches the threshold, one in twenty reaches the P95, and none is above the maximum. Between those points
the share that reaches a value is taken to fall exponentially. So for one window the P95 is exact; for several it lies
between the smallest and the largest of theirs, and reaches a common threshold exactly when one in twenty of all does.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from upm_cli.core.quantile import p95_rank
from upm_cli.core.window import F64Array


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowScores:
    """What is kept of the scores of one judged drift window; `exceed` is the share that reaches `threshold`."""

    end_ms: int  # event time, exclusive
    n: int  # comparisons
    scores: int  # what the quantile was taken over
    mean: float
    p95: float
    max: float
    threshold: float
    exceed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeScores:
    """Several windows in one."""

    windows: int
    n: int
    mean: float
    p95: float
    max: float


def within(windows: Iterable[WindowScores], range_ms: int) -> list[WindowScores]:
    """Return the windows that end less than `range_ms` before the end of the newest: event time, not wall time."""
    known = list(windows)
    newest_ms = max((window.end_ms for window in known), default=0)
    return [window for window in known if window.end_ms > newest_ms - range_ms]


def pooled(windows: Sequence[WindowScores]) -> RangeScores | None:
    """Return what `windows` say together; None when there are none."""
    if not windows:
        return None
    scores = sum(window.scores for window in windows)
    return RangeScores(
        windows=len(windows),
        n=sum(window.n for window in windows),
        mean=sum(window.mean * window.scores for window in windows) / scores,
        p95=windows[0].p95 if len(windows) == 1 else _pooled_p95(windows, scores),
        max=max(window.max for window in windows),
    )


def _pooled_p95(windows: Sequence[WindowScores], scores: int) -> float:
    """Return the largest value that as many of all scores reach as a P95 needs."""
    curves = [_tail(window) for window in windows]
    grid = np.unique(np.concatenate([values for values, _ in curves]))
    reached = np.zeros_like(grid)  # how many scores are at least so large, at each value of the grid
    for window, (values, tail) in zip(windows, curves, strict=True):
        reached += window.scores * np.exp(np.interp(grid, values, np.log(tail), right=-np.inf))
    need = scores - p95_rank(scores) - 1e-9 * scores  # sums of floats: a P95 that is just reached counts
    last = int(np.flatnonzero(reached >= need)[-1])
    found = float(np.interp(-need, -reached[last : last + 2], grid[last : last + 2]))
    each = [window.p95 for window in windows]
    return min(max(found, min(each)), max(each))


def _tail(window: WindowScores) -> tuple[F64Array, F64Array]:
    """Return values, growing, and the share of the window's scores that reaches each of them."""
    needed = window.scores - p95_rank(window.scores)  # so many reach the P95, and fewer reach more
    points = {0.0: 1.0, window.max: 1.0 / window.scores}
    points[_above(window.p95)] = (needed - 1) / window.scores
    points[window.p95] = max(points.get(window.p95, 0.0), needed / window.scores)
    points[window.threshold] = max(points.get(window.threshold, 0.0), window.exceed)
    values = np.array(sorted(value for value, share in points.items() if share))
    tail = np.array([points[value] for value in values])
    return values, np.minimum.accumulate(tail)


def _above(value: float) -> float:
    return max(value * (1 + 1e-12), 1e-300)
