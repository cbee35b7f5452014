"""The prediction log: what is in it, and that nothing about it ever holds up a prediction."""

import fcntl
import json
import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from upm_cli.agent import AgentUsageError, FeaturesError, journal
from upm_cli.agent.log import Log
from upm_cli.clock import ManualClock
from upm_cli.store import fsio

Site = Any
NOW = "2025-11-24T16:00:00.000Z"


@pytest.fixture
def agent(site: Site) -> Any:
    site.publish(site.publisher(tenant="acme"))
    return site.open(tenant="acme", log_dir=site.folder / "log")


def lines_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in sorted(folder.iterdir()) for line in path.read_text().splitlines()]


def test_a_prediction_is_logged_as_the_reference_says(site: Site, agent: Any) -> None:
    start = datetime(2026, 11, 29, 12, tzinfo=UTC)
    features = {"hour": 9, "sender": {"domain": "bänk.example"}, "subject": ["re"], "none": None}
    made = agent.predict(features, window_id="w-1", window_start=start, window_end=start + timedelta(minutes=1))
    agent.flush()
    (line,) = lines_of(site.folder / "log")
    assert line == {
        "type": "ai.upm.prediction",
        "prediction_id": made.id,
        "window_id": "w-1",
        "trainer": "main",
        "tenant_id": "acme",
        "version": 1,
        "digest": made.digest,
        "epoch": 1,
        "agent": "edge-1",
        "predicted_at": NOW,
        "window_start": "2026-11-29T12:00:00.000Z",
        "window_end": "2026-11-29T12:01:00.000Z",
        "prediction": dict(made.decoded),
        "features": features,
    }


def test_what_is_not_said_of_a_window_is_the_predictions_own(site: Site) -> None:
    site.publish(site.publisher())
    agent = site.open(log_dir=site.folder / "log", log_features=False)
    made = agent.predict({"hour": 9})
    agent.predict_many([{"a": 1}, {"b": 2}], window_ids=["x", None])
    agent.flush()
    first, second, third = lines_of(site.folder / "log")
    assert (first["window_id"], first["tenant_id"]) == (made.id, None)
    assert {first[key] for key in ("predicted_at", "window_start", "window_end")} == {NOW}
    assert "features" not in first
    assert (second["window_id"], third["window_id"]) == ("x", third["prediction_id"])


def test_features_are_logged_as_they_were_whatever_becomes_of_them(site: Site, agent: Any) -> None:
    features: dict[str, Any] = {"subject": ["re"], "inner": {"a": 1}, "x": 1}
    agent.predict(features)
    features["subject"].append("changed")
    features["inner"]["a"] = features["x"] = 2
    agent.predict({})
    agent.flush()
    first, second = lines_of(site.folder / "log")
    assert first["features"] == {"subject": ["re"], "inner": {"a": 1}, "x": 1}
    assert second["features"] == {}


def test_an_outcome_is_logged_with_what_was_served(site: Site, agent: Any) -> None:
    made = agent.predict({"hour": 9})
    site.clock.advance(5)
    agent.report(made.id, True)
    agent.report("unknown", {"a": 1.5}, acted=False)
    agent.flush()
    prediction, outcome, other = lines_of(site.folder / "log")
    assert outcome == {
        "type": "ai.upm.outcome",
        "prediction_id": made.id,
        "label": True,
        "acted": True,
        "observed_at": "2025-11-24T16:00:05.000Z",
        "agent": "edge-1",
        "served": {key: value for key, value in prediction.items() if key not in ("type", "features")},
    }
    assert (other["label"], other["acted"], "served" in other) == ({"a": 1.5}, False, False)


def test_only_the_newest_predictions_are_remembered(site: Site, agent: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "REMEMBERED", 3)
    made = [agent.predict({}) for _ in range(5)]
    for each in made:
        agent.report(each.id, 1)
    agent.flush()
    outcomes = [line for line in lines_of(site.folder / "log") if line["type"] == "ai.upm.outcome"]
    assert ["served" in line for line in outcomes] == [False, False, True, True, True]


@pytest.mark.parametrize(
    "outcome", [None, float("nan"), "", [1], {}, {"a": "b"}, object(), b"x", 10**400, "\ud800", {1: 2}]
)
def test_an_outcome_that_is_no_label_is_refused(agent: Any, outcome: Any) -> None:
    with pytest.raises(FeaturesError, match="is no outcome"):
        agent.report("p", outcome)


def test_what_can_not_be_an_id_or_a_time_is_refused(agent: Any) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    for wrong in ("", "a\nb", "x" * 257, "\ud800", 7):
        with pytest.raises(FeaturesError, match="window_id"):
            agent.predict({}, window_id=wrong)
        with pytest.raises(FeaturesError, match="prediction_id"):
            agent.report(wrong, 1)
    with pytest.raises(FeaturesError, match="no time zone"):
        agent.predict({}, window_start=at.replace(tzinfo=None))
    with pytest.raises(FeaturesError, match="before window_start"):
        agent.predict({}, window_start=at, window_end=at - timedelta(seconds=1))
    assert agent.predict({}, window_end=at).window_id


def test_without_a_log_there_is_nothing_to_report_to(site: Site) -> None:
    site.publish(site.publisher())
    agent = site.open()
    with pytest.raises(AgentUsageError, match="no log"):
        agent.report(agent.predict({}).id, 1)
    agent.flush()
    assert (agent.health().logged, agent.health().dropped) == (0, 0)


# The files


def log_of(folder: Path, **more: Any) -> Log:
    return Log(folder, "edge-1", ManualClock(), **more)


def line(number: int, size: int = 100) -> bytes:
    return b'{"n":%6d}' % number + b" " * (size - 13) + b"\n"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_finished_when_it_is_full_and_every_line_is_in_one(tmp_path: Path) -> None:
    log = log_of(tmp_path, file_bytes=1000)
    for number in range(35):
        log.put(line(number))
    log.flush()
    assert names(tmp_path) == [
        *(f"predictions-edge-1-{n:06d}.jsonl" for n in (1, 2, 3)),
        "predictions-edge-1-000004.jsonl.part",
    ]
    assert [path.stat().st_size for path in sorted(tmp_path.iterdir())] == [1000, 1000, 1000, 500]
    log.close()
    log.close()
    assert names(tmp_path)[-1] == "predictions-edge-1-000004.jsonl"
    assert [each["n"] for each in lines_of(tmp_path)] == list(range(35))
    assert (log.written, log.dropped, log.problem) == (35, 0, None)
    log.put(line(1))
    assert log.dropped == 1, "nothing is written after the end"


def test_a_line_longer_than_a_file_has_one_of_its_own(tmp_path: Path) -> None:
    log = log_of(tmp_path, file_bytes=1000)
    for size in (100, 5000, 100):
        log.put(line(1, size))
    log.close()
    assert [path.stat().st_size for path in sorted(tmp_path.iterdir())] == [100, 5000, 100]


def test_the_oldest_files_go_when_all_take_too_much_and_their_lines_are_counted(tmp_path: Path) -> None:
    (tmp_path / "predictions-edge-1-xx.jsonl").write_bytes(b"not ours\n")
    (tmp_path / "predictions-edge-10-000001.jsonl").write_bytes(b"of another\n")
    log = log_of(tmp_path, file_bytes=1000, total_bytes=2500)
    for number in range(60):
        log.put(line(number))
    log.close()
    kept = [path for path in names(tmp_path) if path.startswith("predictions-edge-1-0")]
    assert kept == ["predictions-edge-1-000005.jsonl", "predictions-edge-1-000006.jsonl"]
    assert (log.written, log.dropped) == (60, 40)
    assert len(names(tmp_path)) == 4


def test_a_full_queue_drops_and_counts_and_waits_for_nobody(tmp_path: Path) -> None:
    log = log_of(tmp_path, queue_lines=10)
    with log._lock:  # the writer is stuck
        for number in range(25):
            log.put(line(number))
        assert log.dropped == 15
    log.close()
    assert [each["n"] for each in lines_of(tmp_path)] == list(range(10))


def test_a_full_disk_drops_whole_lines_and_says_so_until_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = log_of(tmp_path)
    log.put(line(0))
    log.flush()

    def torn(fd: int, data: memoryview) -> int:
        if len(data) > 150:
            return os.write(fd, data[:150])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fsio.faults, "write", torn)
    for number in range(1, 4):
        log.put(line(number))
    log.flush()
    assert (log.written, log.dropped) == (1, 3)
    assert log.problem is not None
    assert log.problem.code == "UPM-E010"
    monkeypatch.setattr(fsio.faults, "write", os.write)
    log.put(line(4))
    log.close()
    assert log.problem is None
    assert [each["n"] for each in lines_of(tmp_path)] == [0, 4], "no line is torn"


def test_a_file_that_can_not_be_finished_is_finished_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = log_of(tmp_path, file_bytes=200)

    def broken(operation: str, path: Path) -> None:
        if operation == "rename":
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(fsio.faults, "before", broken)
    log.put(line(0, 200))
    log.flush()
    assert log.problem is not None
    assert (log.written, log.dropped) == (1, 0)
    monkeypatch.setattr(fsio.faults, "before", None)
    log.put(line(1))
    log.close()
    assert names(tmp_path) == [f"predictions-edge-1-{n:06d}.jsonl" for n in (1, 2)]


def test_what_a_process_that_died_left_is_finished_without_its_torn_line(tmp_path: Path) -> None:
    (tmp_path / "predictions-edge-1-000003.jsonl.part").write_bytes(line(0) + line(1)[:50])
    (tmp_path / "predictions-edge-1-000004.jsonl.part").write_bytes(line(2)[:50])
    with (tmp_path / "predictions-edge-1-000005.jsonl.part").open("wb") as alive:
        fcntl.flock(alive, fcntl.LOCK_EX)
        alive.write(line(9))
        alive.flush()
        log = log_of(tmp_path)
        log.put(line(3))
        log.close()
    assert names(tmp_path) == [
        "predictions-edge-1-000003.jsonl",
        "predictions-edge-1-000005.jsonl.part",
        "predictions-edge-1-000006.jsonl",
    ]
    assert [each["n"] for each in lines_of(tmp_path)] == [0, 9, 3]


def test_several_processes_write_to_files_of_their_own(tmp_path: Path) -> None:
    logs = [log_of(tmp_path) for _ in range(3)]
    for number in range(30):
        logs[number % 3].put(line(number))
    for log in logs:
        log.flush()
    assert len(names(tmp_path)) == 3
    for log in logs:
        log.close()
    assert sorted(each["n"] for each in lines_of(tmp_path)) == list(range(30))


def test_an_empty_log_leaves_no_file(tmp_path: Path) -> None:
    log = log_of(tmp_path / "log")
    log.flush()
    log.close()
    assert not (tmp_path / "log").exists()


def test_the_writer_writes_by_itself_and_finishes_a_file_that_has_become_old(tmp_path: Path) -> None:
    clock = ManualClock()
    log = Log(tmp_path, "edge-1", clock)
    log.put(line(0))
    tick = threading.Event()
    while not log.written:
        tick.wait(0.01)
    assert names(tmp_path) == ["predictions-edge-1-000001.jsonl.part"]
    clock.advance(300)
    while names(tmp_path) != ["predictions-edge-1-000001.jsonl"]:
        tick.wait(0.01)
    log.put(line(1))
    log.close()
    assert len(names(tmp_path)) == 2


def test_a_log_that_can_not_be_begun_drops_everything_and_predictions_go_on(site: Site) -> None:
    site.publish(site.publisher())
    (site.folder / "file").touch()
    agent = site.open(log_dir=site.folder / "file")
    for _ in range(3):
        agent.predict({})
    agent.flush()
    health = agent.health()
    assert (health.predictions, health.logged, health.dropped, health.is_ok) == (3, 0, 3, False)
    assert health.log_error.message
