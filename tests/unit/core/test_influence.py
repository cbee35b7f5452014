"""Which model was asked about a window, and whether that acted: from the source through the buffer into the log."""

from dataclasses import replace

import numpy as np
import pytest

from upm_cli.core.late_labels import fill
from upm_cli.core.replay import ReplayBuffer, ReplayPolicy
from upm_cli.core.window import Acted, Csr, Influence, LabelKind, RowKind, Strings, WindowBatch

POLICY = ReplayPolicy(release_delay_ms=0)


def windows(*ids: str, asked: dict[str, tuple[int, Acted]] | None = None, at_ms: int = 0) -> WindowBatch:
    n = len(ids)
    start = np.arange(n, dtype=np.int64) * 1000 + at_ms
    return WindowBatch(
        np.full(n, RowKind.WINDOW, np.uint8),
        Strings.of(ids),
        Strings.of(["acme"] * n),
        start,
        start + 1000,
        np.zeros(n, np.uint8),
        np.full(n, np.nan),
        Strings.empty(n),
        Csr.empty(n),
        influence_of(ids, asked),
    )


def labels(*ids: str, asked: dict[str, tuple[int, Acted]] | None = None) -> WindowBatch:
    n = len(ids)
    rows = WindowBatch.empty(n, RowKind.LABEL)
    told = influence_of(ids, asked)
    number = np.full(n, LabelKind.NUMBER, np.uint8)
    return replace(rows, window_id=Strings.of(ids), label_kind=number, label_value=np.ones(n), influence=told)


def influence_of(ids: tuple[str, ...], asked: dict[str, tuple[int, Acted]] | None) -> Influence | None:
    if asked is None:
        return None
    pairs = [asked.get(each, (0, Acted.UNKNOWN)) for each in ids]
    return Influence(np.array([v for v, _ in pairs], np.int32), np.array([a for _, a in pairs], np.uint8))


def told(batch: WindowBatch) -> list[tuple[str, int, int]]:
    assert batch.influence is not None
    marks = zip(batch.influence.version.tolist(), batch.influence.acted.tolist(), strict=True)
    return [(name, *mark) for name, mark in zip(batch.window_id.to_list(), marks, strict=True)]


def test_a_batch_without_influence_stays_without() -> None:
    plain = windows("a", "b")
    assert WindowBatch.concat([plain, plain]).influence is None
    assert plain.take(np.array([1])).influence is None
    assert plain.slice(0, 1).influence is None


def test_rows_keep_their_influence_when_batches_are_joined_cut_and_picked() -> None:
    noted = windows("a", "b", asked={"b": (7, Acted.YES)})
    both = WindowBatch.concat([windows("x"), noted])
    assert told(both) == [("x", 0, 0), ("a", 0, 0), ("b", 7, Acted.YES)]
    assert told(both.take(np.array([2, 0]))) == [("b", 7, Acted.YES), ("x", 0, 0)]
    assert told(both.slice(1, 3)) == [("a", 0, 0), ("b", 7, Acted.YES)]


def test_a_label_that_meets_its_waiting_window_brings_whether_it_acted() -> None:
    buffer = ReplayBuffer(ReplayPolicy(release_delay_ms=10_000))
    asked = {"a": (7, Acted.UNKNOWN), "b": (7, Acted.UNKNOWN)}
    buffer.push(windows("a", "b", "c", asked=asked))
    buffer.push(labels("a", "c", asked={"a": (7, Acted.NO), "c": (6, Acted.YES)}))
    buffer.push(labels("b"))
    assert told(buffer.drain().batch) == [("a", 7, Acted.NO), ("b", 7, Acted.UNKNOWN), ("c", 6, Acted.YES)]


@pytest.mark.parametrize("own", [None, {"a": (8, Acted.YES)}])
def test_a_label_row_has_its_own_influence_or_that_of_its_window(own: dict[str, tuple[int, Acted]] | None) -> None:
    buffer = ReplayBuffer(POLICY)
    released = buffer.push(windows("a", "b", asked={"a": (7, Acted.UNKNOWN)})).batch
    done = buffer.push(labels("a", "b", asked=own))
    filled = fill(done.batch, done.label_rows, released)
    expected = (7, Acted.UNKNOWN) if own is None else (8, Acted.YES)
    assert told(filled) == [("a", *expected), ("b", 0, 0)]


def test_a_buffer_that_was_saved_still_knows_who_was_asked() -> None:
    policy = ReplayPolicy(release_delay_ms=10_000)
    buffer = ReplayBuffer(policy)
    buffer.push(windows("a", "b", asked={"b": (7, Acted.YES)}))
    again = ReplayBuffer.from_arrays(policy, buffer.to_arrays())
    assert told(again.drain().batch) == [("a", 0, 0), ("b", 7, Acted.YES)]
    assert "pending.influence.version" not in ReplayBuffer(policy).to_arrays()
