"""Telemetry on disk: one file a day and worker, readable from any time, dropped after a month."""

from pathlib import Path

from upm_cli.ops.telemetry import flush, read
from upm_cli.telemetry.points import Recorder

DAY = 86_400_000
T0 = 1_700_000_000_000  # 2023-11-14T22:13:20Z


def measure(home: Path, at_ms: int, worker: str = "ingest-main", *, force: bool = True) -> int:
    recorder = Recorder(at_ms)
    recorder.record("upm.replay_buffer.duplicate", {"window_id": f"w{at_ms}"}, {"stream": "main"})
    return flush(home, worker, recorder, at_ms, force=force)


def test_what_was_flushed_is_read_back_in_order(tmp_path: Path) -> None:
    for at in (T0, T0 + 5, T0 + DAY, T0 + 2 * DAY):
        assert measure(tmp_path, at) == 1
    assert [point.at_ms for point in read(tmp_path)] == [T0, T0 + 5, T0 + DAY, T0 + 2 * DAY]
    assert [point.at_ms for point in read(tmp_path, T0 + 5)] == [T0 + 5, T0 + DAY, T0 + 2 * DAY]
    assert [path.name for path in sorted((tmp_path / "telemetry").iterdir())] == [
        "2023-11-14-ingest-main.jsonl",
        "2023-11-15-ingest-main.jsonl",
        "2023-11-16-ingest-main.jsonl",
    ]


def test_nothing_is_written_before_it_is_due(tmp_path: Path) -> None:
    assert measure(tmp_path, T0, force=False) == 0
    assert list(read(tmp_path)) == []
    assert flush(tmp_path, "ingest-main", Recorder(0), T0, force=True) == 0
    assert not (tmp_path / "telemetry").exists()


def test_a_new_day_drops_files_older_than_a_month(tmp_path: Path) -> None:
    measure(tmp_path, T0)
    measure(tmp_path, T0 + 3 * DAY, "trainer-main")
    measure(tmp_path, T0 + 31 * DAY)
    assert [point.at_ms for point in read(tmp_path)] == [T0 + 3 * DAY, T0 + 31 * DAY]


def test_files_are_private(tmp_path: Path) -> None:
    measure(tmp_path, T0)
    (path,) = (tmp_path / "telemetry").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
