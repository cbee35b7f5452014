"""The fields that scripts rely on: names, types, and counts that add up."""

import itertools
from typing import Any

import pytest

from upm_cli.store import trainers

TEXT, COUNT, NUMBER, LIST, OBJECT = str, int, (int, float), list, dict
Types = dict[str, Any]
WINDOWS: Types = dict.fromkeys(("read", "trained", "unlabelled", "pending", "duplicate", "late", "dead_letter"), COUNT)


def check(found: dict[str, Any], expected: Types) -> None:
    """Check that `found` has at least the keys expected, and of which type each is; (…, None) may be null."""
    assert found.keys() >= expected.keys(), expected.keys() - found.keys()
    for key, kind in expected.items():
        kinds = kind if isinstance(kind, tuple) else (kind,)
        allowed = tuple(type(None) if one is None else one for one in kinds)
        assert isinstance(found[key], allowed), (key, found[key])
        assert not (isinstance(found[key], bool) and bool not in allowed), key


def add_up(windows: dict[str, int]) -> None:
    check(windows, WINDOWS)
    assert windows["read"] == sum(windows[place] for place in WINDOWS if place != "read")


def test_train_says_what_became_of_every_window(trained: Any) -> None:
    more = [trained.event(i) for i in range(2000, 2100)]
    bare = [{key: value for key, value in trained.event(i).items() if key != "label"} for i in range(2100, 2110)]
    too_late = {**trained.event(0), "window_id": "too-late"}
    source = trained.write("more.jsonl", *more, *bare, more[-1], more[-2], "{broken", too_late)
    before = trained.counts()
    result = trained.json("train", "main", "--source", source, "--once")
    check(
        result,
        {
            "trainer": TEXT,
            "mode": TEXT,
            "windows": OBJECT,
            "loss": OBJECT,
            "metrics": OBJECT,
            "log": OBJECT,
            "snapshots": LIST,
            "weights_sha256": TEXT,
            "elapsed_s": NUMBER,
            "restarts": COUNT,
        },
    )
    check(result["loss"], {"progressive": float, "recent": float, "last": float})
    check(result["log"], {"first_seq": COUNT, "last_seq": COUNT})
    assert (result["trainer"], result["mode"]) == ("main", "shadow")
    add_up(result["windows"])
    grown = {place: result["windows"][place] - before[place] for place in WINDOWS}
    assert grown == {
        "read": 114,
        "trained": 100,
        "unlabelled": 10,
        "pending": 0,
        "duplicate": 2,
        "late": 1,
        "dead_letter": 1,
    }
    with trained.store.read() as reader:
        row = trainers.get(reader, "main")
    assert result["weights_sha256"] == row.weights_sha256
    assert len(result["weights_sha256"]) == 64
    assert result["log"]["last_seq"] == row.log_position - 1


def test_trainer_show_tells_the_whole_trainer(trained: Any) -> None:
    trained.json("activate", "main", "1")
    shown = trained.json("trainer", "show", "main")
    check(
        shown,
        {
            "name": TEXT,
            "mode": TEXT,
            "status": TEXT,
            "tenant_id": (str, None),
            "windows": OBJECT,
            "weights_sha256": TEXT,
            "log_position": COUNT,
            "active": OBJECT,
            "epoch": COUNT,
            "last_loss": float,
            "drift_score": (float, None),
            "learner": OBJECT,
            "last_window_id": TEXT,
            "last_window_fetched_at": TEXT,
        },
    )
    add_up(shown["windows"])
    assert (shown["active"], shown["epoch"], shown["status"]) == ({"shadow": 1}, 1, "idle")
    assert shown["windows"]["trained"] == 2000
    assert shown["learner"]["task"] == "binary"
    assert shown["last_window_id"] == "w001999"


def test_snapshot_list_shows_a_growing_line_of_descent(trained: Any) -> None:
    listed = trained.json("snapshot", "list", "main")["snapshots"]
    assert len(listed) >= 3
    for row in listed:
        check(
            row,
            {
                "version": COUNT,
                "status": TEXT,
                "mode": TEXT,
                "digest": TEXT,
                "codec": TEXT,
                "size_bytes": COUNT,
                "raw_bytes": COUNT,
                "windows": COUNT,
                "parent": (int, None),
                "created_at": TEXT,
                "activated_at": (str, None),
                "metrics": OBJECT,
            },
        )
    assert [row["version"] for row in listed] == list(range(1, len(listed) + 1))
    assert [row["parent"] for row in listed] == [None, *range(1, len(listed))]
    for older, newer in itertools.pairwise(listed):
        assert older["windows"] // 300 < newer["windows"] // 300, "an interval lies between two of them"


def test_activate_and_rollback_say_from_where_to_where(trained: Any) -> None:
    first = trained.json("activate", "main", "1")
    check(
        first,
        {
            "trainer": TEXT,
            "version": COUNT,
            "previous_version": (int, None),
            "ring": TEXT,
            "percent": COUNT,
            "epoch": COUNT,
            "decision_id": TEXT,
        },
    )
    assert (first["version"], first["previous_version"], first["ring"], first["epoch"]) == (1, None, "shadow", 1)
    second = trained.json("activate", "main", "2")
    assert (second["version"], second["previous_version"], second["epoch"]) == (2, 1, 2)
    assert second["decision_id"] != first["decision_id"]
    back = trained.json("rollback", "main", "--reason", "worse", "--yes")
    check(
        back,
        {
            "trainer": TEXT,
            "from_version": COUNT,
            "to_version": COUNT,
            "epoch": COUNT,
            "pinned": bool,
            "incident_id": TEXT,
            "elapsed_ms": NUMBER,
        },
    )
    assert (back["from_version"], back["to_version"], back["epoch"], back["pinned"]) == (2, 1, 3, True)
    again = trained("rollback", "main", "--reason", "worse", "--yes", "--json")
    assert again.code == 0
    assert again.json["to_version"] == 1


def test_drift_report_judges_every_window_of_event_time(trained: Any) -> None:
    report = trained.json("drift-report", "main")
    check(report, {"trainer": TEXT, "threshold": float, "windows": LIST, "evidence": OBJECT})
    assert report["threshold"] == 0.2
    for window in report["windows"]:
        check(
            window,
            {
                "start": TEXT,
                "end": TEXT,
                "n": COUNT,
                "mean": (float, None),
                "p95": (float, None),
                "max": (float, None),
                "verdict": TEXT,
                "status": TEXT,
                "recommendation": (str, None),
            },
        )
        assert window["verdict"] in ("pass", "fail", "unknown")
    assert sum(window["n"] for window in report["windows"]) == 2000, "each comparison is in exactly one window"
    starts = [window["start"] for window in report["windows"]]
    assert starts == sorted(set(starts))
    assert len(starts) == 4, "2,000 s in windows of 600 s"


def test_validate_runs_the_nine_checks(trained: Any) -> None:
    report = trained.json("validate")
    check(report, {"checks": LIST, "passed": COUNT, "failed": COUNT})
    for one in report["checks"]:
        check(one, {"name": TEXT, "status": TEXT, "detail": TEXT, "hint": TEXT})
        assert one["status"] in ("pass", "warn", "fail", "skip")
    assert {one["name"] for one in report["checks"]} >= {
        "feature_flag",
        "configuration",
        "storage_paths",
        "state_tables",
        "migrations",
        "compression",
        "drift_arithmetic",
        "replay_order",
        "worker_health",
    }
    assert (report["failed"], report["passed"]) == (0, sum(one["status"] == "pass" for one in report["checks"]))


@pytest.mark.parametrize("command", [("trainer", "list"), ("status",)])
def test_lists_of_trainers_have_counts_that_agree_with_the_trainer(trained: Any, command: tuple[str, ...]) -> None:
    (row,) = trained.json(*command)["trainers"]
    shown = trained.json("trainer", "show", "main")
    assert row["name"] == "main"
    counts = row["windows"] if command == ("status",) else {"trained": row["trained"], "pending": row["pending"]}
    assert counts.items() <= shown["windows"].items()
    assert (row["last_loss"], row["loss"]) == (shown["last_loss"], shown["loss"])
