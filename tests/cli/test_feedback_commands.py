"""Predictions of agents and what came of them: read, learned from once, judged, and acted on, all from the shell."""

import json
from pathlib import Path
from typing import Any

from upm_cli.clock import SystemClock
from upm_cli.ids import iso
from upm_cli.ops import made_up
from upm_cli.ops.predict import predict
from upm_cli.store import snapshots

T0 = 1_767_225_600_000


def logs(site: Any, version: int, first: int, count: int, *, turned: bool = False) -> Path:
    """Write the logs of two agents that served `version`; `turned`: they answered upside down."""
    store = site.store
    with store.read() as reader:
        digest = snapshots.get(reader, "main", version).digest
    windows = [site.event(i) for i in range(first, first + count)]
    lines = (json.dumps({key: value for key, value in each.items() if key != "label"}).encode() for each in windows)
    answers = predict(store, "main", str(version), lines).predictions
    store.close()
    told: dict[int, list[tuple[int, dict[str, Any]]]] = {0: [], 1: []}
    for i, (window, answer) in enumerate(zip(windows, answers, strict=True), first):
        share = 1 - answer["probability"] if turned else answer["probability"]
        made = {
            "prediction_id": f"01900000-0000-7000-8000-{i:012d}",
            "window_id": window["window_id"],
            "trainer": "main",
            "tenant_id": window["tenant_id"],
            "version": version,
            "digest": digest,
            "epoch": 1,
            "agent": f"edge-{i % 2}",
            "predicted_at": iso(window["window_end"]),
            "window_start": iso(window["window_start"]),
            "window_end": iso(window["window_end"]),
            "prediction": {"prediction": int(share >= 0.5), "probability": round(share, 6)},
        }
        known_ms = window["window_end"] + (i * 7919) % 300 * 1000  # up to five minutes later, in any order
        outcome = {"prediction_id": made["prediction_id"], "label": window["label"], "acted": i % 4 != 0}
        outcome |= {"type": "ai.upm.outcome", "observed_at": iso(known_ms), "agent": made["agent"], "served": made}
        told[i % 2].append(
            (window["window_end"], {"type": "ai.upm.prediction", **made, "features": window["features"]})
        )
        told[i % 2].append((known_ms, outcome))
    folder: Path = site.folder / f"logs-{version}-{first}"
    folder.mkdir()
    for agent, rows in told.items():
        rows.sort(key=lambda row: row[0])
        lines_of = [json.dumps(event) for _, event in rows]
        again = [line for n, line in enumerate(lines_of) if n % 50 == 0]
        text = "\n".join([*lines_of, *again, '{"type":"ai.upm.prediction"']) + "\n"
        (folder / f"predictions-edge-{agent}-000001.jsonl").write_text(text)
    return folder


def serve(site: Any, version: int) -> None:
    """Make `version` live for everybody, past all gates."""
    store = site.store
    made_up.serve(store, SystemClock(), "main", version)
    store.close()


def test_feedback_is_read_learned_from_once_and_judged(trained: Any) -> None:
    serve(trained, 2)
    folder = logs(trained, 2, 2000, 800)
    checked = trained("ingest", str(folder), "--kind", "outcomes", "--check", "--json")
    assert checked.code == 3
    counts = json.loads(checked.out)
    assert (counts["predictions"], counts["windows"], counts["outcomes"], counts["rejected"]) == (816, 816, 816, 2)
    assert trained.counts()["read"] == 2000

    said = trained.json("ingest", str(folder), "--kind", "outcomes")
    told = said["feedback"]
    assert (
        told["read"]
        == 2 * (800 + 16 + 1)
        == sum(told[name] for name in ("predictions", "outcomes", "duplicate", "dead_letter", "elsewhere"))
    )
    assert (told["predictions"], told["compared"], told["labelled"], told["duplicate"], told["dead_letter"]) == (
        800, 800, 800, 32, 2
    )  # fmt: skip
    assert trained.json("ingest", str(folder), "--kind", "outcomes")["feedback"] == told
    assert "800 predictions, 800 outcomes" in trained("ingest", str(folder), "--kind", "outcomes", "-o", "table").out
    letters = trained.json("events", "dead-letters")["dead_letters"]
    assert [(each["kind"], each["trainer"]) for each in letters] == [("feedback", "main")] * 2

    trained.json("train", "main", "--once")
    windows = trained.counts()
    assert (windows["read"], windows["trained"], windows["unlabelled"], windows["late"]) == (2800, 2800, 0, 0)
    shown = trained.json("trainer", "show", "main")
    assert shown["feedback"] == told
    influence = shown["influence"]
    assert (influence["windows"], influence["acted"], influence["share"]) == (800, 600, 600 / 2800)
    assert influence["versions"] == [
        {"version": 2, "windows": 800, "acted": 600, "not_acted": 200, "unknown": 0, "share": 600 / 2800}
    ]
    report = trained.json("drift-report", "main")
    served = report["served"]
    assert (served["serving"], served["failing"], served["influence"], served["holdout"]) == ([2], 0, influence, None)
    assert sum(window["n"] for window in served["windows"]) == 800
    assert {(window["version"], window["serves"], window["verdict"]) for window in served["windows"]} == {
        (2, True, "pass")
    }
    assert sum(window["n"] for window in report["windows"]) == 2800
    ran = trained("drift-report", "main", "--by", "served", "-o", "table", "--fail-on", "breach")
    assert ran.code == 0
    assert "served v2: pass" in ran.err
    assert "a served model acted on 21.4 % of the windows learned" in ran.err
    assert ran.out.count("v2") == len(served["windows"])
    rows = trained("drift-report", "main", "--by", "served", "-o", "jsonl").out.splitlines()
    assert [json.loads(row)["drift_window_id"] for row in rows] == [
        each["drift_window_id"] for each in served["windows"]
    ]
    again = trained.json("drift-report", "main", "--window", "5m")["served"]["windows"]
    assert sum(window["n"] for window in again) == 800
    assert len(again) > len(served["windows"])
    for format_ in ("md", "html"):
        assert "served v2: pass" in trained("drift-report", "main", "--format", format_).out

    deltas = [
        json.loads(line) for line in trained("events", "--type", "ai.upm.shadow_delta", "-o", "jsonl").out.splitlines()
    ]
    marked = [each for each in deltas if each["source"] == "/trainers/main/served"]
    assert (len(deltas), len(marked)) == (2800 + 800, 800)
    assert all(("served" in each["data"]) == (each in marked) for each in deltas[::97])
    assert {each["data"]["served"]["version"] for each in marked} == {2}
    (row,) = trained.json("sql", "SELECT count(*) AS n, sum(acted::INT) AS acted, min(version) AS v FROM served")[
        "rows"
    ]
    assert row == {"n": 800, "acted": 600, "v": 2}
    (row,) = trained.json("sql", "SELECT count(*) AS n FROM shadow_delta")["rows"]
    assert row == {"n": 2800}


def test_harm_that_is_seen_at_agents_is_acted_on_even_if_the_model_looks_fine(trained: Any) -> None:
    for version in (1, 2):
        serve(trained, version)
    logs(trained, 2, 2000, 400, turned=True).rename(trained.folder / "logs")
    config = trained.folder / "upm.yaml"
    config.write_text(config.read_text().replace("[{name: main}]", "[{name: main, outcomes: [logs]}]"))
    trained.json("train", "main", "--once")
    shown = trained.json("trainer", "show", "main")
    assert (shown["windows"]["trained"], shown["feedback"]["compared"]) == (2400, 400)
    assert (shown["active"]["global"], shown["quarantined"]) == (1, [2])
    report = trained.json("drift-report", "main")
    assert [window["verdict"] for window in report["windows"]] == ["pass"] * len(report["windows"])
    assert {(each["version"], each["verdict"], each["status"]) for each in report["served"]["windows"]} == {
        (2, "fail", "resolved")
    }
    ran = trained("drift-report", "main", "--fail-on", "breach", "-o", "table")
    assert ran.code == 6
    assert "was rolled back by drift-monitor" in ran.err
    listed = trained.json("quarantine", "list")
    assert "main@2" in json.dumps(listed)
    actions = [entry["action"] for entry in trained.json("audit", "list")["entries"]]
    assert "drift.served" in actions
    assert "snapshot.rollback" in actions
    assert trained("audit", "verify", "--recompute").code == 0


def test_what_can_not_be_is_refused(trained: Any) -> None:
    trained.refused(2, "UPM-E029", "ingest", "x", "--kind", "labels")
    trained.refused(2, "UPM-E020", "ingest", "x", "--kind", "outcomes", "--format", "csv")
    trained.refused(2, "UPM-E029", "drift-report", "main", "--by", "agent")
    trained.refused(4, "UPM-E045", "ingest", str(trained.folder / "nowhere"), "--kind", "outcomes")
