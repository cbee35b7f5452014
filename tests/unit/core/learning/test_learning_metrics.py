"""Prequential metrics against loops that do one window after the other."""

import json
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest

from upm_cli.core.learning.metrics import Metrics
from upm_cli.core.window import F32Array, F64Array

Stream = tuple[F32Array, F32Array, F64Array]


def stream(task: str, n: int) -> Stream:
    """Return predictions, targets and losses of some learner."""
    rng = np.random.default_rng(2)
    losses = rng.exponential(size=n)
    if task == "binary":
        return rng.random((n, 1), np.float32), (rng.random((n, 1)) < 0.3).astype(np.float32), losses
    if task == "multiclass":
        p = rng.random((n, 4), np.float32)
        late = np.minimum(rng.integers(0, 4, n), 1 + np.arange(n) // 20)  # classes come one after the other
        return p / p.sum(axis=1, keepdims=True), late.astype(np.float32)[:, None], losses
    y = rng.normal(5, 2, (n, 2)).astype(np.float32)
    y[rng.random(n) < 0.3, 1] = np.nan
    if task == "regression":
        y = y[:, :1]
    return y + rng.normal(size=y.shape).astype(np.float32), y, losses


def slow_report(task: str, predictions: F32Array, targets: F32Array, losses: F64Array) -> dict[str, Any]:
    """Return the report as a loop over windows with plain numbers makes it."""
    n, fading, ones = len(losses), 0.0, 0.0
    for loss in losses.tolist():
        fading, ones = fading * 0.999 + loss, ones * 0.999 + 1
    loss = {"progressive": sum(losses.tolist()) / n, "fading": fading / ones, "recent": float(np.mean(losses[-1000:]))}
    found: dict[str, Any] = {"n": n, "loss": loss}
    if task in {"binary", "multiclass"}:
        return {**found, **slow_classes(task, predictions, targets, losses)}
    sums: Counter[str] = Counter()
    seen: list[list[float]] = [[] for _ in range(targets.shape[1])]
    for p, y in zip(predictions.astype(float).tolist(), targets.astype(float).tolist(), strict=True):
        present = [k for k in range(len(y)) if not math.isnan(y[k])]
        means = [float(np.mean(seen[k])) if seen[k] else 0.0 for k in range(len(y))]
        for name, guess in (("", p), ("base", means)):
            gaps = [abs(guess[k] - y[k]) for k in present]
            sums[name + "mae"] += sum(gaps) / len(gaps) / n  # type: ignore[assignment]
            sums[name + "mse"] += sum(gap * gap for gap in gaps) / len(gaps) / n  # type: ignore[assignment]
        for k in present:
            seen[k].append(y[k])
    base = {"mae": sums["basemae"], "rmse": math.sqrt(sums["basemse"])}
    return {**found, "mae": sums["mae"], "rmse": math.sqrt(sums["mse"]), "base_rate": base}


def slow_classes(task: str, predictions: F32Array, targets: F32Array, losses: F64Array) -> dict[str, Any]:
    n, known = len(losses), 2 if task == "binary" else 1
    counts: Counter[int] = Counter()
    sums = dict.fromkeys(("accuracy", "brier", "base_accuracy", "base_brier", "base_log_loss"), 0.0)
    leader = 0
    for p, y in zip(predictions.astype(float).tolist(), targets[:, 0].astype(int).tolist(), strict=True):
        known = max(known, y + 1)
        base = [(counts[c] + 1) / (counts.total() + known) for c in range(known)]
        full = [1 - p[0], p[0]] if task == "binary" else p
        halves = 2 if task == "binary" else 1
        best = int(p[0] >= 0.5) if task == "binary" else int(np.argmax(p))
        sums["accuracy"] += (best == y) / n
        sums["brier"] += sum((full[c] - (c == y)) ** 2 for c in range(len(full))) / halves / n
        sums["base_accuracy"] += (leader == y) / n
        sums["base_brier"] += sum((base[c] - (c == y)) ** 2 for c in range(known)) / halves / n
        sums["base_log_loss"] -= math.log(base[y]) / n
        counts[y] += 1
        if counts[y] > counts[leader]:
            leader = y
    base_rate = {name: sums[f"base_{name}"] for name in ("accuracy", "brier", "log_loss")}
    quality = {"accuracy": sums["accuracy"], "brier": sums["brier"], "log_loss": float(np.mean(losses))}
    return {**quality, "base_rate": base_rate}


def flat(report: dict[str, Any], prefix: str = "") -> dict[str, float]:
    found: dict[str, float] = {}
    for name, value in report.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return found


TASKS = ["binary", "multiclass", "regression", "structured"]


@pytest.mark.parametrize("task", TASKS)
def test_the_report_is_that_of_a_loop_over_windows(task: str) -> None:
    predictions, targets, losses = stream(task, 1777)
    metrics = Metrics.begin(task)
    metrics.update(predictions, targets, losses, np.ones(1777, np.bool_))
    assert flat(metrics.report()) == pytest.approx(flat(slow_report(task, predictions, targets, losses)), rel=1e-6)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("piece", [1, 7, 32, 100, 1200])
def test_the_bytes_do_not_depend_on_how_the_stream_is_cut_nor_on_restarts(task: str, piece: int) -> None:
    columns = stream(task, 2500)
    whole, cut = Metrics.begin(task), Metrics.begin(task)
    whole.update(*columns, np.ones(2500, np.bool_))
    for at in range(0, 2500, piece):
        part = [column[at : at + piece] for column in columns]
        cut.update(part[0], part[1], part[2], np.ones(len(part[0]), np.bool_))
        cut = Metrics.from_parts(cut.arrays(), json.loads(json.dumps(cut.meta())))
    assert {k: a.tobytes() for k, a in cut.arrays().items()} == {k: a.tobytes() for k, a in whole.arrays().items()}
    assert json.dumps(cut.report(), allow_nan=False) == json.dumps(whole.report(), allow_nan=False)


@pytest.mark.parametrize("task", TASKS)
def test_rejected_windows_do_not_count(task: str) -> None:
    predictions, targets, losses = stream(task, 300)
    ok = np.arange(300) % 3 > 0
    losses[~ok] = np.nan
    some, only = Metrics.begin(task), Metrics.begin(task)
    some.update(predictions, targets, losses, ok)
    only.update(predictions[ok], targets[ok], losses[ok], np.ones(int(ok.sum()), np.bool_))
    assert some.report() == only.report()
    assert some.report()["n"] == 200


@pytest.mark.parametrize("task", TASKS)
def test_nothing_is_reported_of_nothing(task: str) -> None:
    assert Metrics.begin(task).report() == {"n": 0}


def test_accumulators_of_another_task_are_refused() -> None:
    binary, number = Metrics.begin("binary"), Metrics.begin("regression")
    with pytest.raises(ValueError, match="sums"):
        Metrics.from_parts(binary.arrays(), number.meta())
