"""`upm up` with real workers: killed, stopped and stuck, it comes back by itself and learns everything once."""

import json
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from upm_cli.clock import SystemClock
from upm_cli.ops import trainers
from upm_cli.store.filelock import current_holder
from upm_cli.store.session import Store
from upm_cli.workers import ingest, trainer
from upm_cli.workers.context import Project, Worker
from upm_cli.workers.lifeline import Stop, Upstream

Site = Any
ROOT = Path(__file__).resolve().parents[2]
CONFIG = """\
supervisor:
  {{max_workers: {workers}, restart_backoff_ms: 20, restart_intensity: 50, stuck_ms: 6000, grace_ms: 500,
   default_trainers: [{{name: main, sources: [inbox]}}]}}
trainer_worker: {{snapshot_interval: 500}}
replay_buffer: {{release_delay_ms: 1000}}
learner: {{bits: 10, task: binary}}
"""
WINDOWS = 2048  # whole batches


def configure(site: Site, workers: int) -> None:
    (site.folder / "upm.yaml").write_text(CONFIG.format(workers=workers))


def processes(pid: int) -> dict[str, int]:
    """Return the worker processes of a supervisor by name."""
    found = {}
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    for child in listed.read_text().split() if listed.exists() else []:
        try:
            words = Path(f"/proc/{child}/cmdline").read_text().split("\0")
        except OSError:
            continue
        if "host" in words:
            found[words[words.index("host") + 1]] = int(child)
    return found


def ready(site: Site, process: Any, *names: str) -> dict[str, int]:
    """Wait until the workers of a supervisor are at work, and return them."""

    def found() -> dict[str, int] | None:
        assert process.poll() is None, process.stderr.read()
        note = site.home / "run" / "supervisor.beat"
        try:
            told = json.loads(note.read_text())
        except (OSError, ValueError):
            return None
        here = processes(process.pid)
        is_up = told["pid"] == process.pid and told["state"] == "running"
        return here if is_up and set(names) <= here.keys() else None

    return site.wait_until(found, "the workers are up")


def calm_weights(new_site: Callable[[str], Site], windows: int) -> str:
    """Return the weights of workers that run one after the other, in this process, and that nobody disturbs."""
    calm = new_site("calm")
    configure(calm, 1)
    source, clock, project = calm.write("inbox/in.jsonl", 0, windows), SystemClock(), Project(folder=calm.folder)
    store = Store(calm.home, clock)
    trainers.ensure(store, clock, project.settings(), "main", actor="me")
    store.close()
    reads = Worker.open("ingest-main", project, clock, Stop())
    assert ingest.run(reads, "main", [str(source)], "auto", follow=False) == 0
    learns = Worker.open("trainer-main", project, clock, Stop())
    nothing, end = os.pipe()
    os.close(end)
    assert trainer.run(learns, "main", Upstream(nothing)) == 0
    os.close(nothing)
    reads.store.close()
    learns.store.close()
    found: str = calm.weights()
    return found


def test_one_supervisor_runs_everything_and_ends_with_the_signal(site: Site) -> None:
    configure(site, 8)
    site.write("inbox/in.jsonl", 0, WINDOWS)
    process = site.start("up")
    workers = ready(site, process, "ingest-main", "trainer-main", "drift-main", "rollouts")
    assert len(set(workers.values())) == 4
    assert all(os.getpgid(pid) == pid for pid in workers.values()), "each in a group of its own"

    code, out, err = site.run("up")
    assert (code, out) == (7, "")
    assert f"pid {process.pid} (upm up" in err
    code, out, err = site.run("train", "main", "--once")
    assert (code, out) == (7, "")
    assert f"pid {process.pid}" in err

    site.wait_until(lambda: site.counts()["trained"] == WINDOWS)
    code, _, err = site.end(process, signal.SIGTERM)
    assert code == 143, err
    assert re.search(r"supervisor: ready: 1 trainers, 4 workers, 0 restarts", err)
    assert not any(site.is_running(pid) for pid in workers.values())
    assert site.counts()["duplicate"] == 0


def test_killed_stopped_and_stuck_it_learns_everything_exactly_once(
    site: Site, new_site: Callable[[str], Site]
) -> None:
    configure(site, 1)
    learned = [0]

    def more() -> None:
        """Let it learn a part of the stream."""
        learned[0] += WINDOWS // 8
        site.write("inbox/in.jsonl", learned[0] - WINDOWS // 8, learned[0])

    def up() -> tuple[Any, int]:
        process = site.start("up")
        return process, ready(site, process, "pool-1")["pool-1"]

    def caught_up() -> bool:
        return bool(site.counts()["trained"] >= learned[0] - 64)

    def another(than: int) -> bool:
        return processes(process.pid).get("pool-1", than) != than

    process, worker = up()
    more()
    os.kill(worker, signal.SIGKILL)  # 1: a worker is killed
    site.wait_until(lambda: another(worker))
    more()
    site.wait_until(caught_up)

    worker = ready(site, process, "pool-1")["pool-1"]
    os.kill(worker, signal.SIGSTOP)  # 2: a worker hangs while there is work
    more()
    began = time.monotonic()
    site.wait_until(lambda: another(worker))
    assert time.monotonic() - began < 6 + 0.5 + 5 + 5
    site.wait_until(caught_up)

    worker = ready(site, process, "pool-1")["pool-1"]
    os.kill(worker, signal.SIGSTOP)
    process.kill()  # 3: the supervisor is killed while its worker hangs
    killed = time.monotonic()
    site.wait_until(lambda: not site.is_running(worker), "no orphan is left")
    assert time.monotonic() - killed < 2
    process.communicate()
    more()

    process, worker = up()
    more()
    os.kill(worker, signal.SIGKILL)  # 4
    site.wait_until(lambda: another(worker))
    more()
    os.kill(ready(site, process, "pool-1")["pool-1"], signal.SIGKILL)  # 5: before it has come up again
    for _ in range(2):
        more()
    assert learned == [WINDOWS]
    site.wait_until(lambda: site.counts()["trained"] == WINDOWS)
    code, _, err = site.end(process, signal.SIGINT)
    assert code == 130, err
    assert site.counts()["duplicate"] == 0
    assert site.logged() == [f"w{i:06d}" for i in range(WINDOWS)]
    assert site.weights() == calm_weights(new_site, WINDOWS)


def test_in_the_background_it_drains_when_it_is_asked_to(site: Site) -> None:
    configure(site, 1)
    site.write("inbox/in.jsonl", 0, WINDOWS)
    code, out, err = site.run("up", "--detach", "--json")
    assert code == 0, err
    said = json.loads(out)
    documented = (
        (ROOT / "docs/reference/json.md").read_text().partition("## `upm up --detach`")[2].partition("\n## ")[0]
    )
    assert {"schema_version", *re.findall(r"^\| `([a-z]+)`", documented, re.MULTILINE)} == said.keys()
    assert said["workers"] == 1
    try:
        site.wait_until(lambda: site.counts()["read"] == WINDOWS)
        code, out, err = site.run("down", "--drain", "--wait", "60s", "--json")
        assert code == 0, err
        assert json.loads(out)["ended"] is True
    finally:
        if site.is_running(said["pid"]):
            os.kill(said["pid"], signal.SIGKILL)
    counts = site.counts()
    assert counts["trained"] + counts["pending"] == WINDOWS
    assert counts["pending"] < 32 + 2, "only what waits for its batch or for the release delay"
    code, out, _ = site.run("logs", "supervisor", "-n", "50", "--json")
    told = [line["text"] for line in json.loads(out)["lines"]]
    assert told[-1] == "ended"
    assert "stopping: every full batch has been learned and judged" in told


def test_a_trainer_that_was_stopped_and_wakes_up_later_is_fenced(site: Site) -> None:
    configure(site, 1)
    site.write("inbox/in.jsonl", 0, WINDOWS // 2)
    old = site.start("train", "main", "--follow")
    site.wait_until(lambda: site.counts()["trained"] >= 32)
    sleepers = [*site.workers(old).values(), old.pid]

    def asleep() -> bool:
        """Stop them, but not while one of them holds up everybody who writes."""
        for pid in sleepers:
            os.kill(pid, signal.SIGSTOP)
        if current_holder(site.home / "state.lock") is None:
            return True
        for pid in sleepers:
            os.kill(pid, signal.SIGCONT)
        return False

    site.wait_until(asleep)
    for lease in (site.home / "run").glob("*.lease"):
        lease.unlink()  # as somebody does who is sure that nothing runs any more
    process = site.start("up")
    ready(site, process, "pool-1")
    site.write("inbox/in.jsonl", WINDOWS // 2, WINDOWS)
    site.wait_until(lambda: site.counts()["trained"] == WINDOWS)
    for pid in sleepers:
        os.kill(pid, signal.SIGCONT)
    _, err = old.communicate(timeout=60)
    assert old.returncode == 7, err
    assert "UPM-E075" in err
    assert site.end(process, signal.SIGTERM)[0] == 143
    assert site.counts()["trained"] == WINDOWS
    assert site.logged() == [f"w{i:06d}" for i in range(WINDOWS)]


@pytest.mark.parametrize("number", [signal.SIGINT])
def test_a_second_signal_ends_it_at_once(site: Site, number: int) -> None:
    configure(site, 1)
    (site.folder / "upm.yaml").write_text(CONFIG.format(workers=1).replace("grace_ms: 500", "grace_ms: 60000"))
    process = site.start("up")
    worker = ready(site, process, "pool-1")["pool-1"]
    os.kill(worker, signal.SIGSTOP)  # it does not hear that it should end
    process.send_signal(number)
    site.wait_until(lambda: "stopping: signal" in (site.home / "run/logs/supervisor.log").read_text())
    assert process.poll() is None
    process.send_signal(number)
    assert process.wait(timeout=10) == 128 + number
    assert not site.is_running(worker)
