"""Points are aggregated as the registry says, and survive being written as lines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upm_cli.telemetry.points import Point, Recorder, decode, encode


def test_points_of_one_name_and_metadata_become_one() -> None:
    recorder = Recorder(0)
    about = {"stream": "main"}
    recorder.record("upm.replay_buffer.release", {"count": 10, "sequence_start": 5, "sequence_end": 14}, about)
    recorder.record("upm.replay_buffer.release", {"count": 3, "sequence_start": 15, "sequence_end": 17}, about)
    recorder.record("upm.replay_buffer.late_arrival", {"window_id": "a", "delay_ms": 90}, about, count=2)
    recorder.record("upm.replay_buffer.late_arrival", {"window_id": "b", "delay_ms": 20}, about)
    assert recorder.drain(7) == [
        Point(
            name="upm.replay_buffer.release",
            at_ms=7,
            count=2,
            measurements={"count": 13, "sequence_start": 5, "sequence_end": 17},
            metadata=about,
        ),
        Point(
            name="upm.replay_buffer.late_arrival",
            at_ms=7,
            count=3,
            measurements={"window_id": "b", "delay_ms": 90},
            metadata=about,
        ),
    ]
    assert recorder.drain(8) == []


def test_other_metadata_stays_another_point() -> None:
    recorder = Recorder(0)
    for stream in ("a", "b"):
        recorder.record("upm.replay_buffer.duplicate", {"window_id": "w"}, {"stream": stream})
    assert [point.metadata["stream"] for point in recorder.drain(1)] == ["a", "b"]


@given(st.lists(st.tuples(st.integers(1, 50), st.floats(-10, 10)), min_size=1, max_size=30))
def test_a_mean_is_that_of_all_measurements_whatever_their_grouping(parts: list[tuple[int, float]]) -> None:
    recorder = Recorder(0)
    for count, loss in parts:
        recorder.record("upm.trainer.update", {"loss": loss, "duration_ms": 1, "window_count": count}, count=count)
    (point,) = recorder.drain(1)
    total = sum(count for count, _ in parts)
    assert point.count == point.measurements["window_count"] == total
    assert point.measurements["duration_ms"] == len(parts)
    assert point.measurements["loss"] == pytest.approx(sum(c * v for c, v in parts) / total, abs=1e-9)


def test_points_are_due_when_some_were_gathered_long_enough() -> None:
    recorder = Recorder(1000, every_ms=100)
    assert not recorder.due(5000)
    recorder.record("upm.replay_buffer.duplicate", {"window_id": "w"})
    assert not recorder.due(1099)
    assert recorder.due(1100)
    assert recorder.due(900), "a clock that went back must not hold points for ever"
    recorder.drain(1100)
    assert not recorder.due(9000)


@pytest.mark.parametrize(
    ("name", "measurements"),
    [("upm.drift.scores", {}), ("upm.replay_buffer.duplicate", {}), ("upm.replay_buffer.duplicate", {"id": 1})],
)
def test_a_name_or_measurement_that_is_not_registered_is_a_bug(name: str, measurements: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=name):
        Recorder(0).record(name, measurements)


texts = st.text(max_size=20)
values = st.one_of(st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False), texts)
points = st.builds(
    Point,
    name=texts,
    at_ms=st.integers(0, 2**50),
    measurements=st.dictionaries(texts, values, max_size=4),
    metadata=st.dictionaries(texts, values, max_size=4),
    count=st.integers(1, 2**40),
)


@given(st.lists(points, max_size=8), st.integers(1, 200))
def test_lines_carry_points_and_a_cut_last_line_costs_only_itself(written: list[Point], cut: int) -> None:
    data = encode(written)
    assert decode(data) == written
    kept = data[: max(0, len(data) - cut)]
    whole = [n for n in range(1, len(written) + 1) if len(encode(written[:n])) - 1 <= len(kept)]
    assert decode(kept) == written[: len(whole)]


def test_foreign_lines_are_left_out() -> None:
    assert decode(b'[]\n7\n{"name":1}\nnot json\n\xff\n') == []
