"""The interface of an HTTP agent is what its OpenAPI document says, and what Prometheus can read."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from running import Site, running

from upm_cli.agent.server.endpoints import endpoints
from upm_cli.agent.server.meter import BUCKETS_S, Family, Histogram, exposition, histogram
from upm_cli.agent.server.openapi import document
from upm_cli.agent.server.options import Limits
from upm_cli.agent.server.reference import page
from upm_cli.safehttp.tokens import new_token

ROOT = Path(__file__).resolve().parents[2]
WINDOW = {"features": {"hour": 9, "sender": "bank.example"}}


@pytest.mark.slow
def test_schemathesis_finds_nothing_that_the_document_does_not_say(tmp_path: Path, site: Site) -> None:
    token_file = tmp_path / "token"
    token_file.touch(0o600)
    token_file.write_text(new_token().value)
    with running(tmp_path / "agent", token_file=token_file) as agent:
        assert agent.push(site.publisher(), site.trained.arrays, site.trained.manifest, version=1).status == 200
        command = [
            *(sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()"),
            *("--config-file", str(ROOT / "tests/agent/schemathesis.toml"), "run", f"{agent.url}/openapi.json"),
            *("--phases", "coverage,fuzzing", "--max-examples", "5", "--seed", "7", "--no-color"),
            *("-H", f"Authorization: Bearer {agent.token}"),
        ]
        env = {**os.environ, "HYPOTHESIS_STORAGE_DIRECTORY": str(tmp_path / "hypothesis")}
        ran = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
        assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr
        assert re.search(r"Tested: *11", ran.stdout), ran.stdout
        assert agent.get("/status").json["serving"][0]["version"] == 1


def test_the_document_is_valid_and_complete() -> None:
    made = document(Limits(), has_token=True)
    text = json.dumps(made)
    references = set(re.findall(r'"#/components/schemas/(\w+)"', text))
    assert references == set(made["components"]["schemas"])
    operations = [operation for path in made["paths"].values() for operation in path.values()]
    assert len(operations) == len(endpoints(Limits())) == len({each["operationId"] for each in operations}) == 12
    for operation in operations:
        assert {"200"} <= set(operation["responses"]) | ({"200"} if "202" in operation["responses"] else set())
        assert {"400", "403", "421", "429", "500"} <= set(operation["responses"])
        assert ("401" in operation["responses"]) == ("security" in operation)
    without = json.dumps(document(Limits(), has_token=False)["paths"])
    assert '"401"' not in without
    assert '"security"' not in without


def test_the_reference_page_is_made_from_the_same_table() -> None:
    assert (ROOT / "docs/reference/agent-http.md").read_text() == page(), "run .ci/write_reference.py"


def test_prometheus_can_read_the_metrics(tmp_path: Path, site: Site) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    tenant = 'a"b\\c\nd'
    with running(tmp_path / "agent") as agent:
        publisher = site.publisher(tenant='a"b\\c')
        agent.push(publisher, site.trained.arrays, site.trained.manifest, version=7, expires_at_ms=4_000_000_000_000)
        body = {"windows": [WINDOW] * 3, "tenant": publisher.tenant}
        agent.request("POST", "/predict", body)
        agent.request("POST", "/predict", {"windows": []})
        agent.get("/nothing")
        got = agent.get("/metrics")
    text = got.body.decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    values = {(s.name, tuple(sorted(s.labels.items()))): s.value for f in families.values() for s in f.samples}
    own = (("tenant", publisher.tenant), ("trainer", "main"))
    assert values["upm_agent_predictions_total", own] == 3
    assert values["upm_agent_serving_version", own] == 7
    assert values["upm_agent_serving_epoch", own] == 1
    assert values["upm_agent_stale", own] == 0
    assert values["upm_agent_expires_timestamp_seconds", own] == 4_000_000_000
    assert values["upm_agent_prediction_seconds_count", ()] == 1
    assert values["upm_agent_errors_total", (("code", "unfit"),)] == 1
    assert values["upm_agent_log_lines_total", ()] >= 0
    requests = (("method", "POST"), ("path", "/predict"), ("status", "422"))
    assert values["upm_agent_requests_total", requests] == 1
    assert values["upm_agent_requests_total", (("method", "GET"), ("path", "other"), ("status", "404"))] == 1
    assert all(family.documentation for family in families.values())
    hostile = exposition([Family("x", "gauge", "X.", [("", {"tenant": tenant}, 1)])])
    assert [s.labels for f in text_string_to_metric_families(hostile) for s in f.samples] == [{"tenant": tenant}]
    if promtool := shutil.which("promtool"):
        ran = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True)
        assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout + ran.stderr


def test_a_histogram_counts_each_time_once() -> None:
    found = Histogram()
    for seconds in (0.0, 0.0001, 0.00011, 2.5, 2.6, 100.0):
        found.add(seconds)
    samples = {(suffix, labels.get("le")): value for suffix, labels, value in histogram("x", "X.", found).samples}
    assert samples["_bucket", "0.0001"] == 2
    assert samples["_bucket", "0.00025"] == 3
    assert samples["_bucket", "2.5"] == 4
    assert samples["_bucket", "+Inf"] == samples["_count", None] == 6
    assert samples["_sum", None] == pytest.approx(105.10021)
    assert len(samples) == len(BUCKETS_S) + 3
