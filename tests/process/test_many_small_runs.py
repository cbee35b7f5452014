"""A cron line that runs every few minutes: many small segments become few, and nothing else changes."""

import json
from pathlib import Path

import pytest

from upm_cli.app import main
from upm_cli.clock import SystemClock
from upm_cli.ops import tidy
from upm_cli.store import log, segments
from upm_cli.store.session import Store


def write_window(path: Path, number: int) -> None:
    start = 1_767_225_600_000 + number * 1000
    window = {
        "window_id": f"w{number}",
        "window_start": start,
        "window_end": start + 1000,
        "features": {"x": number % 3},
        "label": number % 2,
    }
    path.write_text(json.dumps(window) + "\n")


def test_small_segments_are_merged_and_every_row_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tidy, "MIN_FILES", 4)
    project = tmp_path / "project"
    assert main(["init", str(project)]) == 0
    for number in range(6):
        source = tmp_path / f"{number}.jsonl"
        write_window(source, number)
        assert main(["-C", str(project), "-q", "train", "--source", str(source), "--once"]) == 0
    store = Store(project / ".upm", SystemClock())
    with store.read() as reader:
        before = segments.list_for(reader, "log", "default")
    kept = [name for _, batch in log.scan(store.home, before, 0) for name in batch.window_id.to_list()]
    assert tidy.tidy_stream(store, "default") == 1
    assert tidy.tidy_trainer(store, "default") == 1
    with store.read() as reader:
        after = segments.list_for(reader, "log", "default")
    merged = [name for _, batch in log.scan(store.home, after, 0) for name in batch.window_id.to_list()]
    assert (len(before), len(after)) == (6, 1)
    assert kept == merged
    capsys.readouterr()
    assert main(["-C", str(project), "train", "--once", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["windows"]["trained"] == 6
