"""A real Prometheus scrapes a real `upm metrics serve` of a demo project, and is asked every query there is."""

import json
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from upm_cli.app import main
from upm_cli.clock import SystemClock
from upm_cli.store import lease, runfiles, telemetry
from upm_cli.store.session import Store
from upm_cli.telemetry.metrics import documents
from upm_cli.telemetry.metrics.rules import ALERTS, RECORDINGS
from upm_cli.telemetry.points import Point, encode
from upm_cli.testing import prove

ROOT = Path(__file__).resolve().parents[2]
CONFIG = """\
global: {scrape_interval: 500ms, evaluation_interval: 500ms}
rule_files: [upm-alerts.yaml]
scrape_configs:
  - job_name: upm
    static_configs: [{targets: ["%s"]}]
"""
ADAPTERS = {
    "success_rate": {"value": 0.99, "ok": 99, "attempts": 100, "slo": 0.995, "since_ms": 0},
    "adapters": [
        {"trainer": "triage", "status": "synced", "lag_versions": 0},
        {"trainer": "triage", "status": "errored", "lag_versions": 4},
    ],
}
#: `upm metrics serve`, with adapters as ops.adapter_view.overview tells of them.
SERVE = f"""\
import sys
from upm_cli.app import main
from upm_cli.ops import adapter_view
adapter_view.overview = lambda *_: {ADAPTERS!r}
sys.exit(main(sys.argv[1:]))
"""


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None and os.environ.get("CI") == "true":
        pytest.fail(f"{name} is missing in CI: .ci/run installs it (Debian: apt-get install prometheus)")
    if found is None:
        pytest.skip(f"{name} is missing (Debian: apt-get install prometheus): the queries were not asked")
    return found


def until(holds: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = holds()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"it never came to pass: {what}")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


@contextmanager
def process(*command: str, stdout: int = subprocess.DEVNULL) -> "Iterator[subprocess.Popen[str]]":
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=env, stdout=stdout, stderr=subprocess.DEVNULL, text=True) as started:
        try:
            yield started
        finally:
            if started.poll() is None:
                started.terminate()
                started.wait(30)


class Prometheus:
    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}"

    def get(self, path: str, **params: str) -> Any:
        url = f"{self._base}{path}?{urllib.parse.urlencode(params)}"
        try:
            with urllib.request.urlopen(url, timeout=20) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as exc:
            with exc:
                raise AssertionError(f"{params}: {exc.read().decode()}") from exc

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._base}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def ask(self, expr: str) -> list[float]:
        """Return the numbers that an expression comes to now."""
        data = self.get("/api/v1/query", query=expr)
        return [float(each["value"][1]) for each in data["result"]]


@pytest.fixture
def project(told: tuple[Path, dict[str, Any]], tmp_path: Path) -> Iterator[Path]:
    """A copy of the demo project, with workers that run and agents that were synced."""
    folder = tmp_path / "project"
    shutil.copytree(told[0], folder)
    home, now_ms = folder / ".upm", time.time_ns() // 1_000_000
    measured = {"adapter_id": "edge", "snapshot_id": "triage@5", "duration_ms": 250.0}
    failed = {"adapter_id": "edge", "snapshot_id": "triage@5", "reason": "down", "retry_count": 1}
    points = [
        Point(name="upm.adapter.sync.success", at_ms=now_ms, measurements=measured),
        Point(name="upm.adapter.sync.failure", at_ms=now_ms, measurements=failed, count=2),
    ]
    telemetry.append(home, "adapter-sync-sync", now_ms, encode(points))
    with closing(Store(home, SystemClock())) as store:
        prove(store, SystemClock(), "triage", verdict="unknown")  # how far the demo's own contest got is up to chance
    with ExitStack() as held:
        for name in ("supervisor", "trainer-triage", "ingest-triage"):
            status = {"lease": name, "state": "training", "at_ms": now_ms, "rate": 12.0, "restarts": 1}
            runfiles.write_status(home, name, {**status, "trainer": "triage", "stream": "triage", "buffer": 3})
            held.enter_context(lease.acquire(home, name, "test"))
        yield folder


def fill_in(expr: str) -> str:
    """Return a query of the dashboard as Grafana sends it when everything is chosen."""
    expr = re.sub(r"\$(job|instance|trainer)", ".*", expr)
    return expr.replace("$__rate_interval", "1m")


@pytest.mark.slow
def test_every_query_of_the_dashboard_has_data_and_every_rule_works(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prometheus_program = program("prometheus")
    assert main(["metrics", "alerts"]) == 0
    (tmp_path / "upm-alerts.yaml").write_text(capsys.readouterr().out)
    port = free_port()
    serve = [sys.executable, "-c", SERVE, "metrics", "serve", "--port", "0", "--json", "-C", str(project)]
    with process(*serve, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        url = json.loads(server.stdout.readline())["url"]
        (tmp_path / "prometheus.yaml").write_text(CONFIG % urllib.parse.urlsplit(url).netloc)
        arguments = [
            f"--config.file={tmp_path / 'prometheus.yaml'}",
            f"--storage.tsdb.path={tmp_path / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        with process(prometheus_program, *arguments) as running:
            prometheus = Prometheus(port)
            until(lambda: running.poll() is None and prometheus.is_ready(), "Prometheus is ready")
            until(lambda: [n for n in prometheus.ask("count_over_time(upm_build_info[1m])") if n >= 3], "three scrapes")
            check_dashboard(prometheus)
            check_rules(prometheus)
        check_text(url)
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 143
        assert server.stdout.read() == ""


def check_dashboard(prometheus: Prometheus) -> None:
    silent = []
    for panel, expr in documents.queries():
        numbers = prometheus.ask(fill_in(expr))
        if not any(map(math.isfinite, numbers)):
            silent.append((panel, expr, numbers))
    assert silent == []
    for name, query in documents.VARIABLES.items():
        asked = re.fullmatch(r"label_values\((.*), (\w+)\)", query)
        assert asked is not None, name
        values = prometheus.get(f"/api/v1/label/{asked[2]}/values", **{"match[]": fill_in(asked[1])})
        assert values, name
    (marks,) = documents.dashboard()["annotations"]["list"]
    assert prometheus.ask(marks["expr"]) == []


def check_rules(prometheus: Prometheus) -> None:
    def evaluated() -> list[Any]:
        groups = prometheus.get("/api/v1/rules")["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        return rules if all(rule["health"] != "unknown" for rule in rules) else []

    rules = until(evaluated, "every rule was evaluated")
    names = [each.name for each in RECORDINGS] + [alert.name for group in ALERTS.values() for alert in group]
    assert {rule["name"]: rule["health"] for rule in rules} == dict.fromkeys(names, "ok")
    for group in ALERTS.values():
        for alert in group:
            prometheus.ask(alert.expr)
    for recording in RECORDINGS:
        assert prometheus.ask(recording.name), recording.name
    states = {rule["name"]: rule.get("state") for rule in rules}
    assert states["UpmDriftP95"] == "firing", "the hour that the demo quarantined"
    assert states["UpmDriftP95Day"] == states["UpmLedgerBroken"] == states["UpmMetricsAbsent"] == "inactive"
    for soon in ("UpmAdapterSyncSuccess", "UpmWorkerDown"):
        assert states[soon] in ("pending", "firing"), soon


def check_text(url: str) -> None:
    """Let promtool look at the text itself."""
    with urllib.request.urlopen(url, timeout=20) as answer:
        text = answer.read()
    checked = subprocess.run([program("promtool"), "check", "metrics"], input=text, capture_output=True)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")
