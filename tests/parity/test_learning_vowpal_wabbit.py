"""Progressive loss of the default learner beside Vowpal Wabbit's defaults, one configuration for both streams."""

from pathlib import Path

import numpy as np
import pytest

from upm_cli.core.learning import LearnerSpec, create
from upm_cli.core.window import Csr, F32Array

vowpalwabbit = pytest.importorskip("vowpalwabbit", reason="the rival is an extra: pip install .[bench]")

K0, K1 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)
Stream = tuple[np.ndarray, np.ndarray, F32Array, F32Array]  # indptr, feature numbers, values, labels


def narrow(rows: int) -> Stream:
    """20 normal numbers and 3 categories of 10, 50 and 200 values, logistic truth."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(rows, 20)).astype(np.float32)
    sizes = (10, 50, 200)
    chosen = [rng.integers(0, size, rows) for size in sizes]
    margin = x @ rng.normal(size=20) * 0.5 - 0.5
    columns, first = [np.broadcast_to(np.arange(20), (rows, 20))], 20
    for size, values in zip(sizes, chosen, strict=True):
        margin += (rng.normal(size=size) * 0.5)[values]
        columns.append((values + first)[:, None])
        first += size
    y = (rng.random(rows) < 1 / (1 + np.exp(-margin))).astype(np.float32)
    feature = np.concatenate(columns, axis=1).ravel()
    value = np.concatenate([x, np.ones((rows, 3), np.float32)], axis=1).ravel()
    return np.arange(rows + 1) * 23, feature, value, y


def wide(rows: int) -> Stream:
    """About 80 of a million features with value 1, Zipf-distributed, a tenth of them with a weight."""
    rng = np.random.default_rng(11)
    names = 10**6
    frequency = np.cumsum(1 / np.arange(1, names + 1) ** 1.1)
    drawn = np.searchsorted(frequency / frequency[-1], rng.random(115 * rows))
    key = np.unique(np.repeat(np.arange(rows), 115) * names + drawn)
    row, feature = key // names, key % names
    weight = np.where(rng.random(names) < 0.1, rng.normal(size=names) * 0.7, 0)
    margin = np.bincount(row, weights=weight[feature], minlength=rows)
    y = (rng.random(rows) < 1 / (1 + np.exp(-(margin - np.median(margin) - 0.3)))).astype(np.float32)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=rows))])
    return indptr, rng.permutation(names)[feature], np.ones(feature.size, np.float32), y


def our_loss(stream: Stream) -> float:
    indptr, feature, value, y = stream
    h = (feature.astype(np.uint64) + np.uint64(1)) * K0
    h = (h ^ (h >> np.uint64(29))) * K1
    x = Csr(indptr.astype(np.int64), (h ^ (h >> np.uint64(32))).astype(np.uint32), value)
    return float(create(LearnerSpec(task="binary")).learn_many(x, y).losses.mean())


def their_loss(stream: Stream, folder: Path) -> float:
    indptr, feature, value, y = (column.tolist() for column in stream)
    lines = []
    for row, label in enumerate(y):
        span = slice(indptr[row], indptr[row + 1])
        features = " ".join(f"f{f}:{v:.6g}" for f, v in zip(feature[span], value[span], strict=True))
        lines.append(f"{1 if label else -1} | {features}\n")
    (folder / "stream.vw").write_text("".join(lines))
    vw = vowpalwabbit.Workspace(
        f"--loss_function logistic -d {folder / 'stream.vw'} -f {folder / 'model'}", enable_logging=True
    )
    vw.finish()
    (loss,) = (line.split("=")[1] for line in vw.get_log() if line.startswith("average loss"))
    return float(loss)


@pytest.mark.slow
@pytest.mark.parametrize(("make", "rows"), [(narrow, 200_000), (wide, 100_000)], ids=["narrow", "wide"])
def test_progressive_loss_is_within_two_percent_of_vowpal_wabbit(make: object, rows: int, tmp_path: Path) -> None:
    assert callable(make)
    stream = make(rows)
    assert our_loss(stream) < 1.02 * their_loss(stream, tmp_path)
