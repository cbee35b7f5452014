"""`upm notify` and `upm events -f`, from the shell."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.cli.conftest import Shell

WEBHOOK = "notify: {webhooks: [{name: ops, url: 'http://127.0.0.1:9/hook', secret_file: ops.secret}]}\n"


def test_a_webhook_is_set_up_tested_and_listed(trained: Shell) -> None:
    assert trained.json("notify", "list")["webhooks"] == []
    trained.refused(4, "UPM-E160", "notify", "test")
    config = trained.folder / "upm.yaml"
    config.write_text(config.read_text() + WEBHOOK)
    secret = trained.folder / "ops.secret"
    assert trained.json("notify", "secret", str(secret), "--dry-run")["created"]
    assert not secret.exists()
    assert trained.json("notify", "secret", str(secret))["created"]
    kept = secret.read_text()
    assert kept.startswith("whsec_")
    assert secret.stat().st_mode & 0o777 == 0o600
    again = trained("notify", "secret", str(secret))
    assert kept.strip() not in again.out + again.err
    assert secret.read_text() == kept

    ran = trained("notify", "test", "ops", "--json")
    assert ran.code == 8
    (row,) = json.loads(ran.out)["webhooks"]
    assert not row["taken"]
    assert "127.0.0.1:9" in row["error"]
    assert trained("notify", "run").code == 0
    (listed,) = trained.json("notify", "list")["webhooks"]
    assert (listed["name"], listed["signed"], listed["waiting"]) == ("ops", True, 0)


def test_a_webhook_without_address_or_with_an_unknown_topic_is_refused_with_its_name(trained: Shell) -> None:
    config = trained.folder / "upm.yaml"
    config.write_text(config.read_text() + "notify: {webhooks: [{name: ops, topics: [quarantin]}]}\n")
    ran = trained("notify", "list")
    assert ran.code == 3
    assert "webhook ops has no url" in ran.err
    assert "asks for 'quarantin', which is no topic" in ran.err


def test_events_are_followed_as_they_happen_each_once(trained: Shell) -> None:
    command = [sys.executable, "-m", "upm_cli", "events", "-f", "--since", "1d", "--type", "ai.upm.*"]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        [*command, "-C", str(trained.folder)], stdout=subprocess.PIPE, text=True, env=environ
    ) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        trained.json("trainer", "add", "other")
        told = [first]
        while told[-1]["data"].get("subject") != "other":
            told.append(json.loads(process.stdout.readline()))
        trained.json("pause", "other", "--reason", "to see it")
        while told[-1]["data"].get("action") != "trainer.pause":
            told.append(json.loads(process.stdout.readline()))
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
    assert len({each["id"] for each in told}) == len(told)
    assert [each["time"] for each in told] == sorted(each["time"] for each in told)


def test_telemetry_is_not_followed(trained: Shell) -> None:
    ran = trained("events", "-f", "--type", "upm.trainer.*")
    assert ran.code == 2
    assert "'upm.trainer.*' is telemetry, which is not followed" in ran.err
