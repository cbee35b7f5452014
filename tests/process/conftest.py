"""A project whose training runs as real processes, watched from outside."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from upm_cli.clock import SystemClock
from upm_cli.ops.project import init_project
from upm_cli.ops.status import window_counts
from upm_cli.store import log as logs
from upm_cli.store import segments, streams, trainers
from upm_cli.store.session import Store

PATIENCE_S = 60.0
KINDS = ("ingest", "trainer", "drift", "adapter-sync")
CONFIG = """\
supervisor: {default_trainers: [{name: main}]}
trainer_worker: {snapshot_interval: 500}
replay_buffer: {release_delay_ms: 1000}
learner: {bits: 10, task: binary}
"""


def wait_until(holds: Callable[[], Any], what: str = "") -> Any:
    """Wait until `holds` gives something true, and return it."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found = holds()
        if found:
            return found
        time.sleep(0.01)
    pytest.fail(f"in {PATIENCE_S:g} s it never came true: {what or holds}")


def line(i: int) -> str:
    chance = np.random.default_rng(i)
    x, y = (round(float(value), 3) for value in chance.normal(size=2))
    start_ms = 1_767_225_600_000 + i * 1000
    features = {"x": x, "y": y, "kind": f"k{i % 3}"}
    window = {"window_id": f"w{i:06d}", "window_start": start_ms, "window_end": start_ms + 1000, "features": features}
    return json.dumps({**window, "label": int(x > y)}) + "\n"


def is_running(pid: int) -> bool:
    """Say whether the process is there and not only waiting to be reaped."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in ("Z", "X")


@dataclass
class Site:
    """One project folder and the processes that were started in it."""

    folder: Path
    started: list["subprocess.Popen[str]"] = field(default_factory=list)

    line = staticmethod(line)
    wait_until = staticmethod(wait_until)
    is_running = staticmethod(is_running)

    def write(self, name: str, first: int, stop: int) -> Path:
        """Append the windows first…stop to a file."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        with path.open("a") as file:
            file.write("".join(line(i) for i in range(first, stop)))
        return path

    def start(self, *words: str, **more: Any) -> "subprocess.Popen[str]":
        environ = {key: value for key, value in os.environ.items() if not key.startswith("UPM_")}
        process = subprocess.Popen(
            [sys.executable, "-m", "upm_cli", *words, "-C", str(self.folder)],
            env={**environ, **more.pop("env", {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **more,
        )
        self.started.append(process)
        return process

    def run(self, *words: str, **more: Any) -> tuple[int, str, str]:
        process = self.start(*words, **more)
        out, err = process.communicate(timeout=PATIENCE_S)
        return process.returncode, out, err

    def end(self, process: "subprocess.Popen[str]", number: int) -> tuple[int, str, str]:
        """Send a signal to the command (not to its workers) and wait for its end."""
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE_S)
        return process.returncode, out, err

    @property
    def home(self) -> Path:
        return self.folder / ".upm"

    def workers(self, process: "subprocess.Popen[str]") -> dict[str, int]:
        """Return the running workers of a command by kind: ingest, trainer, drift."""
        listed = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        found = {}
        for pid in listed.read_text().split() if listed.exists() else []:
            try:
                called = Path(f"/proc/{pid}/comm").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            found |= {kind: int(pid) for kind in KINDS if called.startswith(f"{kind}-")}
        return found

    def counts(self) -> dict[str, int]:
        """Return where every window is, as committed, and check that nothing is lost."""
        store = Store(self.home, SystemClock())
        with store.read() as reader:
            stream, trainer = streams.find(reader, "main"), trainers.find(reader, "main")
        store.close()
        if stream is None or trainer is None:
            return dict.fromkeys(("read", "trained", "duplicate", "pending"), 0)
        found = window_counts(trainer, stream)
        assert found["read"] == sum(count for place, count in found.items() if place != "read")
        return found

    def logged(self) -> list[str]:
        """Return the ids of the windows in the log, in its order."""
        store = Store(self.home, SystemClock())
        with store.read() as reader:
            files = segments.list_for(reader, "log", "main")
        found = [name for _, rows in logs.scan(store.home, files, 0) for name in rows.window_id.to_list() if name]
        store.close()
        return found

    def weights(self) -> str | None:
        store = Store(self.home, SystemClock())
        with store.read() as reader:
            found = trainers.get(reader, "main").weights_sha256
        store.close()
        return found


@pytest.fixture
def new_site(tmp_path: Path) -> Iterator[Callable[[str], Site]]:
    """Makes projects; whatever still runs in them at the end of the test is ended."""
    sites: list[Site] = []

    def make(name: str = "project") -> Site:
        folder = tmp_path / name
        init_project(folder, SystemClock())
        (folder / "upm.yaml").write_text(CONFIG)
        sites.append(Site(folder))
        return sites[-1]

    yield make
    for site in sites:
        for process in site.started:
            if process.poll() is None:
                process.kill()
            process.communicate()


@pytest.fixture
def site(new_site: Callable[[], Site]) -> Site:
    return new_site()
