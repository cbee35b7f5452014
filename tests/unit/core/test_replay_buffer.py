"""The replay buffer by small examples that can be checked by hand."""

import numpy as np
import pytest

from upm_cli.core.replay import ReplayBuffer, ReplayPolicy
from upm_cli.core.window import LabelKind, RowKind, Strings, WindowBatch


def windows(*rows: tuple[str, int], label: float | None = None) -> WindowBatch:
    batch = WindowBatch.empty(len(rows))
    batch.window_id = Strings.of(window_id for window_id, _ in rows)
    batch.start_ms = np.array([start for _, start in rows], np.int64)
    if label is not None:
        batch.label_kind = np.full(len(rows), LabelKind.NUMBER, np.uint8)
        batch.label_value = np.full(len(rows), label)
    return batch


def labels(*rows: tuple[str, float]) -> WindowBatch:
    batch = WindowBatch.empty(len(rows), RowKind.LABEL)
    batch.window_id = Strings.of(window_id for window_id, _ in rows)
    batch.label_kind = np.full(len(rows), LabelKind.NUMBER, np.uint8)
    batch.label_value = np.array([value for _, value in rows])
    return batch


POLICY = ReplayPolicy(release_delay_ms=10, late_window_tolerance_ms=20, max_buffer_size=3)


def test_windows_wait_for_the_release_delay_and_come_out_in_order() -> None:
    buffer = ReplayBuffer(POLICY)
    assert len(buffer.push(windows(("b", 5), ("a", 3))).batch) == 0
    done = buffer.push(windows(("c", 15)))
    assert done.batch.window_id.to_list() == ["a", "b"]
    assert (done.first_seq, done.pending, done.watermark_ms) == (0, 1, 5)
    assert buffer.drain().batch.window_id.to_list() == ["c"]


def test_an_empty_push_changes_nothing() -> None:
    buffer = ReplayBuffer(POLICY)
    done = buffer.push(WindowBatch.empty())
    assert (len(done.batch), done.read, done.watermark_ms, done.telemetry()) == (0, 0, None, [])
    assert len(buffer.drain().batch) == 0


def test_equal_starts_are_ordered_by_the_bytes_of_the_id() -> None:
    buffer = ReplayBuffer(ReplayPolicy())
    buffer.push(windows(("é", 0), ("z", 0), ("a\0", 0), ("a", 0), ("", 0)))
    assert buffer.drain().batch.window_id.to_list() == ["", "a", "a\0", "z", "é"]


def test_a_full_buffer_releases_its_oldest_early_and_what_comes_before_it_is_appended() -> None:
    buffer = ReplayBuffer(POLICY)
    done = buffer.push(windows(("d", 4), ("b", 2), ("c", 3), ("e", 5), ("a", 1)))
    assert done.batch.window_id.to_list() == ["b", "a"]
    assert (done.early, done.pending, done.late_arrivals.to_list(), done.late_arrival_ms.tolist()) == (1, 3, ["a"], [0])


def test_an_id_may_come_again_when_the_tolerance_has_passed() -> None:
    buffer = ReplayBuffer(POLICY)
    buffer.push(windows(("a", 0), ("b", 30)))
    assert buffer.push(windows(("a", 25))).duplicates.to_list() == ["a"]
    buffer.push(windows(("c", 31)))
    done = buffer.push(windows(("a", 25)))
    assert (len(done.duplicates), done.batch.window_id.to_list()) == (0, [])
    assert buffer.drain().batch.window_id.to_list() == ["a", "b", "c"]


def test_an_idle_source_releases_after_the_same_delay_of_wall_time() -> None:
    buffer = ReplayBuffer(POLICY)
    buffer.push(windows(("a", 0), ("b", 5)))
    assert len(buffer.release_idle(9).batch) == 0
    assert buffer.release_idle(10).batch.window_id.to_list() == ["a", "b"]
    done = buffer.push(windows(("c", 3), ("d", 6)))
    assert (done.batch.window_id.to_list(), done.late_arrivals.to_list()) == (["c"], ["c"])


def test_marks_take_positions_in_the_log() -> None:
    buffer = ReplayBuffer(POLICY)
    buffer.push(windows(("a", 0)))
    assert buffer.drain().first_seq == 0
    assert (buffer.mark(), buffer.mark()) == (1, 2)
    buffer.push(windows(("b", 50)))
    assert buffer.drain().first_seq == 3


def test_the_first_label_of_a_waiting_window_wins() -> None:
    buffer = ReplayBuffer(POLICY)
    done = buffer.push(WindowBatch.concat([windows(("a", 0)), labels(("a", 1.0), ("a", 2.0), ("x", 3.0))]))
    assert (done.labels_read, done.labels_joined, done.labels_duplicate) == (3, 1, 1)
    assert (done.orphans.window_id.to_list(), done.orphan_rows.tolist()) == (["x"], [3])
    assert buffer.drain().batch.label_value.tolist() == [1.0]


def test_a_second_label_after_the_release_of_a_window_that_took_one_is_a_duplicate() -> None:
    buffer = ReplayBuffer(POLICY)
    buffer.push(WindowBatch.concat([windows(("a", 0)), labels(("a", 1.0))]))
    buffer.push(windows(("b", 10)))
    done = buffer.push(labels(("a", 2.0)))
    assert (done.labels_duplicate, done.labels_joined, len(done.batch)) == (1, 0, 0)


def test_what_the_watermark_reaches_is_not_counted_as_early() -> None:
    buffer = ReplayBuffer(ReplayPolicy(release_delay_ms=3, max_buffer_size=2))
    done = buffer.push(windows(("b", 2), ("c", 3), ("d", 4), ("a", 1), ("e", 6)))
    assert done.batch.window_id.to_list() == ["b", "a", "c"]
    assert (done.early, done.pending) == (1, 2)


def test_a_label_finds_only_the_newest_windows_released_without_one() -> None:
    policy = ReplayPolicy(release_delay_ms=0, label_horizon=2)
    buffer = ReplayBuffer(policy)
    buffer.push(windows(("a", 0), ("b", 1)))
    buffer.push(windows(("with", 2), label=1.0))
    buffer.push(windows(("c", 3)))
    done = buffer.push(labels(("a", 1.0), ("b", 2.0), ("with", 3.0)))
    assert done.orphans.window_id.to_list() == ["a", "with"]
    assert (done.batch.kind.tolist(), done.label_rows.tolist(), done.label_seqs.tolist()) == ([RowKind.LABEL], [0], [1])
    assert done.windows == 0


def test_what_is_pushed_is_left_as_it_was() -> None:
    batch = windows(("b", 9), ("a", 0), ("b", 9))
    kept = batch.take(np.arange(3))
    buffer = ReplayBuffer(POLICY)
    buffer.push(batch)
    buffer.push(labels(("b", 4.0)))
    assert batch.label_kind.tolist() == kept.label_kind.tolist()
    assert batch.start_ms.tolist() == kept.start_ms.tolist()


@pytest.mark.parametrize(
    "wrong",
    [
        {"release_delay_ms": -1},
        {"late_window_tolerance_ms": -1},
        {"max_buffer_size": 0},
        {"gap_ms": 0},
        {"label_horizon": -1},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ReplayPolicy(**wrong)
