"""`upm metrics`: what it prints, writes and serves, and what it refuses."""

import gzip
import json
import os
import signal
import socket
import stat
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from upm_cli.app import main
from upm_cli.store import layout
from upm_cli.telemetry.metrics.table import FAMILIES
from upm_cli.workers import metrics_server

Shell = Any
TOKEN = "0123456789abcdef0123456789abcdef"


def numbers(text: str) -> dict[str, float]:
    """Return the samples in a text for Prometheus, by name and labels."""
    return {
        f"{sample.name} {' '.join(sample.labels.values())}".strip(): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_show_prints_what_is_asked_for(trained: Shell) -> None:
    rows = trained.json("metrics", "show", "upm_windows*")["metrics"]
    assert {row["name"] for row in rows} == {"upm_windows_read_total", "upm_windows_total", "upm_windows_pending"}
    (read,) = [row for row in rows if row["name"] == "upm_windows_read_total"]
    assert read == {"name": "upm_windows_read_total", "kind": "counter", "labels": {"trainer": "main"}, "value": 2000}
    shown = trained("metrics", "show", "upm_windows_total", "-o", "table").out
    assert "trainer=main fate=trained" in shown
    assert "2,000" in shown
    empty = trained("metrics", "show", "nothing", "-o", "table")
    assert (empty.code, empty.out) == (0, "")
    assert "no metric is called like 'nothing'" in empty.err


def test_a_trained_project_tells_of_nearly_everything(trained: Shell) -> None:
    told = {row["name"] for row in trained.json("metrics", "show")["metrics"]}
    untold = {name for name in FAMILIES if not any(one.startswith(name) for one in told)}
    assert untold == {
        "upm_active_version",
        "upm_active_tenants_ratio",
        "upm_features_judged_timestamp_seconds",
        "upm_rollout_phase",
        "upm_rollout_stage",
        "upm_rollout_tenants_ratio",
        "upm_rollout_candidate_version",
        "upm_trainer_windows_per_second",
        "upm_worker_restarts_total",
        "upm_worker_resident_memory_bytes",
    } | {name for name in FAMILIES if name.startswith("upm_adapter")}


def test_write_makes_a_file_that_others_may_read_whatever_the_umask(trained: Shell, tmp_path: Path) -> None:
    file = tmp_path / "upm.prom"
    before = os.umask(0o077)
    try:
        written = trained.json("metrics", "write", str(file), "--label", "project=shop")
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    text = file.read_text()
    assert written == {
        "schema_version": 1,
        "path": str(file),
        "samples": len(numbers(text)),
        "size_bytes": len(text.encode()),
    }
    assert numbers(text)["upm_windows_read_total main shop"] == 2000
    assert numbers(text)["upm_ledger_verified shop"] == 1
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_write_can_go_to_standard_output(trained: Shell) -> None:
    out = trained("metrics", "write", "-").out
    assert numbers(out)["upm_windows_read_total main"] == 2000


def test_write_says_when_nobody_will_read_the_file(trained: Shell, tmp_path: Path) -> None:
    ran = trained("metrics", "write", str(tmp_path / "upm.txt"))
    assert (ran.code, "only reads files whose name ends in .prom" in ran.err) == (0, True)
    trained.refused(1, "UPM-E013", "metrics", "write", str(tmp_path / "none" / "upm.prom"))


@pytest.mark.parametrize("label", ["project", "1x=y", "__name=x", "trainer=x", "job=x", "le=x", "=x"])
def test_labels_that_can_not_be_are_refused(trained: Shell, label: str) -> None:
    trained.refused(2, "UPM-E029", "metrics", "write", "-", "--label", label)


def test_what_can_not_be_read_is_said_and_the_rest_is_there(trained: Shell) -> None:
    ledger = trained.home / layout.LEDGER
    ledger.write_bytes(ledger.read_bytes().replace(b'"action":"trainer.add"', b'"action":"trainer.odd"'))
    assert numbers(trained("metrics", "write", "-").out)["upm_ledger_verified"] == 0
    (trained.home / layout.STATE).write_bytes(b"nonsense")
    ran = trained("metrics", "write", "-")
    assert ran.code == 8
    assert trained("metrics", "show").code == 8
    assert "warning: no metrics of state: " in ran.err
    found = numbers(ran.out)
    assert found["upm_metrics_collect_success state"] == 0
    assert found["upm_worker_up trainer-main trainer"] == 0
    assert "upm_windows_read_total main" not in found


def test_the_dashboard_and_the_rules_need_no_project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["metrics", "dashboard", "-C", str(tmp_path)]) == 0
    board = json.loads(capsys.readouterr().out)
    assert board["uid"] == "upm-001"
    assert main(["metrics", "dashboard", "-o", "jsonl"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == board
    assert main(["metrics", "alerts"]) == 0
    rules = yaml.safe_load(capsys.readouterr().out)
    assert main(["metrics", "alerts", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"schema_version": 1, **rules}


def test_runbooks_are_linked_where_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("dashboard", "alerts"):
        assert main(["metrics", command, "--runbook-url", "https://wiki.example/{code}"]) == 0
        assert "https://wiki.example/UPM-A001" in capsys.readouterr().out
        assert main(["metrics", command, "--runbook-url", "https://wiki.example/"]) == 2
        assert "has no {code}" in capsys.readouterr().err


def test_others_may_only_ask_with_a_token(trained: Shell, tmp_path: Path) -> None:
    ran = trained.refused(2, "UPM-E029", "metrics", "serve", "--host", "0.0.0.0")
    assert "--token-file" in ran.err
    token = tmp_path / "token"
    trained.refused(4, "UPM-E046", "metrics", "serve", "--token-file", str(token))
    token.write_text(TOKEN)
    token.chmod(0o644)
    trained.refused(3, "UPM-E030", "metrics", "serve", "--host", "0.0.0.0", "--token-file", str(token))


def test_a_port_that_is_taken_is_said(trained: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        trained.refused(7, "UPM-E070", "metrics", "serve", "--port", port)


def get(url: str, **headers: str) -> tuple[int, bytes]:
    request = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, exc.read()


def test_it_serves_until_it_is_told_to_stop(trained: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server, "is_loopback", lambda _: False)  # as if others could reach it
    token = tmp_path / "token"
    token.write_text(TOKEN + "\n")
    token.chmod(0o600)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    base, answers = f"http://127.0.0.1:{port}", {}

    def client() -> None:
        try:
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline and "health" not in answers:
                try:
                    answers["health"] = get(f"{base}/healthz")
                except urllib.error.URLError:
                    time.sleep(0.02)
            bearer = {"Authorization": f"Bearer {TOKEN}"}
            answers["stranger"] = get(f"{base}/metrics")
            answers["first"] = get(f"{base}/metrics", **bearer, Accept_Encoding="gzip")
            (trained.folder / "upm.yaml").write_text("nonsense: 1\n")
            answers["broken"] = get(f"{base}/metrics", **bearer)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    asking = threading.Thread(target=client)
    asking.start()
    words = ("--host", "127.0.0.1", "--port", str(port), "--token-file", str(token), "--label", "site=x")
    ran = trained("metrics", "serve", *words, "-v", "--json")
    asking.join()
    assert ran.code == 143
    assert json.loads(ran.out) == {"schema_version": 1, "url": f"{base}/metrics", "project": str(trained.folder)}
    assert answers["health"][0] == 200
    assert answers["stranger"][0] == 401
    found = numbers(gzip.decompress(answers["first"][1]).decode())
    assert found["upm_windows_read_total main x"] == 2000
    broken = numbers(answers["broken"][1].decode())
    assert broken["upm_metrics_collect_success settings x"] == 0
    assert broken["upm_windows_read_total main x"] == 2000
    assert "debug: settings: " in ran.err
    assert "let something that speaks TLS stand in front" in ran.err
    assert TOKEN not in ran.err + ran.out
    assert "Traceback" not in ran.err
