"""A fleet of real agents, each a process of its own: activate, expose a canary, roll back, and see what each serves."""

import contextlib
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Shell

EXCEPT = ("--override", "--expires", "1h", "--reason", "a test")
HERE = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
DIRECTORY_AGENT = """\
import json, sys
from pathlib import Path
from upm_cli.agent import Agent
folder, tenant, trust, home = sys.argv[1:]
options = {"trust": Path(trust), "cache": Path(home), "poll_s": 0.02, "name": f"library-{tenant}"}
with Agent.open(folder, tenant=tenant, **options) as agent:
    print(json.dumps({"version": agent.serving.version}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        while asked.get("version") not in (None, agent.serving.version):
            agent.refresh()
        made = agent.predict_many(asked["features"])
        print(json.dumps([{"version": one.version, "probability": one.probability} for one in made]), flush=True)
"""


@dataclass
class Fleet:
    """Three HTTP agents and two that read a shared directory."""

    folder: Path
    shell: Shell
    urls: dict[str, str] = field(default_factory=dict)
    readers: dict[str, subprocess.Popen[str]] = field(default_factory=dict)
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def token(self) -> str:
        return (self.folder / "token").read_text().strip()

    def start(self, *words: str, **more: Any) -> subprocess.Popen[str]:
        process = self.stack.enter_context(
            subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, text=True, env=HERE, **more)
        )
        self.stack.callback(process.terminate)
        return process

    def start_http(self, name: str, tenant: str) -> None:
        options = ["--dir", str(self.folder / name), "--port", "0", "--name", name, "-o", "jsonl"]
        secrets = ["--token-file", str(self.folder / "token"), "--trust", str(self.folder / "trust.json")]
        process = self.start("-m", "upm_cli", "agent", "serve", *options, *secrets)
        assert process.stdout is not None
        self.urls[name] = json.loads(process.stdout.readline())["url"]
        added = ("adapter", "add", name, "--url", self.urls[name], "--tenant", tenant)
        self.shell.json(*added, "--token-file", str(self.folder / "token"))

    def start_reader(self, tenant: str) -> None:
        where = (
            str(self.folder / "shared"),
            tenant,
            str(self.folder / "trust.json"),
            str(self.folder / f"home-{tenant}"),
        )
        self.readers[tenant] = self.start("-c", DIRECTORY_AGENT, *where, stdin=subprocess.PIPE)
        assert json.loads(self._line(tenant))["version"]

    def _line(self, tenant: str) -> str:
        out = self.readers[tenant].stdout
        assert out is not None
        return out.readline()

    def read(self, tenant: str, features: list[Any], version: int | None = None) -> list[dict[str, Any]]:
        """Return what the directory agent of `tenant` predicts, once it serves `version`."""
        into = self.readers[tenant].stdin
        assert into is not None
        into.write(json.dumps({"features": features, "version": version}) + "\n")
        into.flush()
        found: list[dict[str, Any]] = json.loads(self._line(tenant))
        return found

    def ask(self, name: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            self.urls[name] + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as reply:
            return json.load(reply)

    def serving(self) -> dict[str, int]:
        """Return the version that every agent says it serves."""
        found = {name: self.ask(name, "/status")["serving"][0]["version"] for name in self.urls}
        return found | {f"reader of {tenant}": self.read(tenant, [{}])[0]["version"] for tenant in self.readers}


@pytest.fixture
def fleet(trained: Shell, tmp_path: Path) -> Iterator[Fleet]:
    config = trained.folder / "upm.yaml"
    more = "policy: {canary_tenants: ['*']}\nsnapshot_manager: {require_signature: true}\n"
    config.write_text(config.read_text() + more)
    made = Fleet(tmp_path / "fleet", trained)
    made.folder.mkdir()
    trained.json("keys", "init", "--yes")
    trained.json("keys", "export", str(made.folder / "trust.json"))
    trained.json("agent", "token", str(made.folder / "token"))
    with made.stack:
        yield made


def synced(fleet: Fleet) -> dict[str, Any]:
    fleet.shell.json("sync", "run", "--timeout", "60s")
    status = fleet.shell.json("sync", "status")
    assert status["by_status"] == {"pending": 0, "syncing": 0, "synced": 5, "errored": 0}, status
    return status


@pytest.mark.slow
def test_every_agent_serves_what_its_tenant_is_to_get_and_goes_back_when_told(fleet: Fleet) -> None:
    upm = fleet.shell
    for number in (1, 2, 3):
        fleet.start_http(f"edge-{number}", f"t{number}")
    shared = ("adapter", "add", "shared", "--path", str(fleet.folder / "shared"))
    upm.json(*shared, "--tenant", "t0", "--tenant", "t4")
    upm.json("activate", "main", "1", "--to-stage", "global", *EXCEPT)
    assert synced(fleet)["success_rate"]["value"] == 1.0
    for tenant in ("t0", "t4"):
        fleet.start_reader(tenant)
    assert set(fleet.serving().values()) == {1}

    upm.json(
        "activate", "main", "2", "--to-stage", "canary", "--percent", "1", "--tenant", "t2", "--tenant", "t4", *EXCEPT
    )
    routed = {f"t{n}": upm.json("tenant", "route", f"t{n}", "main")["version"] for n in range(5)}
    assert (routed["t2"], routed["t4"]) == (2, 2)
    synced(fleet)
    features = [upm.event(5000 + n)["features"] for n in range(20)]
    asked = "\n".join(json.dumps({"features": each}) for each in features)
    lines = fleet.folder / "asked.jsonl"
    lines.write_text(asked)
    expected = {
        version: upm.json("predict", str(lines), "--version", str(version))["predictions"] for version in (1, 2)
    }
    for tenant, version in routed.items():
        if tenant in fleet.readers:
            found = fleet.read(tenant, features, version)
        else:
            name = f"edge-{tenant[1:]}"
            body = {"windows": [{"features": each} for each in features], "tenant": tenant}
            found = fleet.ask(name, "/predict", body)["predictions"]
        assert {each["version"] for each in found} == {version}
        probabilities = [each["probability"] for each in found]
        assert probabilities == [each["probability"] for each in expected[version]], f"{tenant}: not the same bits"

    before = upm.json("trainer", "show", "main")["epoch"]
    back = upm.json("rollback", "main", "--reason", "it was worse", "--yes")
    assert back["to_version"] == 1
    assert back["epoch"] > before
    synced(fleet)
    for tenant in fleet.readers:
        fleet.read(tenant, features, 1)
    assert set(fleet.serving().values()) == {1}
    assert fleet.ask("edge-2", "/status")["serving"][0]["epoch"] == back["epoch"]
