"""An agent among processes: what it imports, how long that takes, forks, acks, and the end of a program."""

import json
import os
import random
import stat
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from upm_cli.adapters.acks import read_ack
from upm_cli.adapters.base import Ack
from upm_cli.agent.poller import Poller
from upm_cli.clock import SystemClock
from upm_cli.core.delivery.pointer import Place
from upm_cli.testing import key_of, trust_file

Site = Any
FORBIDDEN = ("duckdb", "typer", "pydantic", "textual", "pyarrow", "msgspec", "yaml", "cryptography", "rich")


def run(script: str, *words: str | Path, **environ: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, words)],
        capture_output=True,
        text=True,
        env={**os.environ, **environ},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_an_agent_imports_and_needs_nothing_heavy(site: Site) -> None:
    site.publish(site.publisher())
    said = run(
        f"""
        import sys
        for name in {FORBIDDEN}:
            sys.modules[name] = None
        from upm_cli.agent import Agent
        agent = Agent.open(sys.argv[1], cache=sys.argv[2])
        print(agent.predict({{"hour": 9}}).version)
        agent.close()
        print([name for name in {FORBIDDEN} if sys.modules.get(name)], "ssl" in sys.modules)
        """,
        site.root,
        site.folder / "state",
    )
    assert said.split("\n")[:2] == ["1", "[] False"]


def import_s(module: str, compiled: Path) -> float:
    """Return the processor time that importing `module` takes: the least of a few, as the machine has more to do."""
    script = f"import time; before = time.process_time(); import {module}; print(time.process_time() - before)"
    environ = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(compiled)}
    return min(float(run(script, **environ)) for _ in range(4))


def test_importing_an_agent_takes_a_quarter_of_a_second_at_most(tmp_path: Path) -> None:
    took = import_s("upm_cli.agent", tmp_path)
    assert took < 0.25 or took < 2.5 * import_s("numpy", tmp_path), "a machine that is slow for NumPy may be for us"


def test_the_package_says_that_it_is_typed() -> None:
    import upm_cli

    assert (Path(upm_cli.__file__).parent / "py.typed").exists()


def test_a_program_that_just_ends_has_logged_everything(site: Site) -> None:
    site.publish(site.publisher())
    run(
        """
        import sys
        from upm_cli.agent import Agent
        agent = Agent.open(sys.argv[1], cache=sys.argv[2], log_dir=sys.argv[3], name="edge-1")
        for _ in range(100):
            agent.predict({"hour": 9})
        """,
        site.root,
        site.folder / "state",
        site.folder / "log",
    )
    (file,) = (site.folder / "log").iterdir()
    assert file.name == "predictions-edge-1-000001.jsonl"
    assert file.read_bytes().count(b"\n") == 100


def test_a_child_process_goes_on_by_itself(site: Site) -> None:
    publisher = site.publisher()
    site.publish(publisher)
    later = publisher.sealed(site.prepare(publisher, 1))
    (site.folder / "later.json").write_bytes(later)
    said = run(
        """
        import os, sys, time
        from pathlib import Path
        from upm_cli.agent import Agent
        root, state, log, later = map(Path, sys.argv[1:])
        agent = Agent.open(root, cache=state, log_dir=log, name="edge-1", poll_s=0.01)
        made = agent.predict({"hour": 9})
        import warnings
        warnings.simplefilter("ignore")
        child = os.fork()
        if not child:
            agent.report(made.id, 1)
            until = time.monotonic() + 30
            while agent.predict({"hour": 9}).version != 2 and time.monotonic() < until:
                time.sleep(0.002)
            print("child", made.version, agent.serving.version, flush=True)
            agent.close()
            os._exit(0)
        (root / "pointers/main/_.json").write_bytes(later.read_bytes())
        _, status = os.waitpid(child, 0)
        print("parent", status, agent.predict({"hour": 9}).id != made.id)
        """,
        site.root,
        site.folder / "state",
        site.folder / "log",
        site.folder / "later.json",
    )
    assert said.splitlines() == ["child 1 2", "parent 0 True"]
    files = {path.name: path.read_text().splitlines() for path in sorted((site.folder / "log").iterdir())}
    assert len(files) == 2
    lines = [json.loads(line) for lines in files.values() for line in lines]
    predictions = [line["prediction_id"] for line in lines if line["type"] == "ai.upm.prediction"]
    assert len(predictions) == len(set(predictions)), "nothing was written twice"
    assert next(line for line in lines if line["type"] == "ai.upm.outcome")["served"]["version"] == 1


def test_agents_in_many_processes_share_a_state(site: Site) -> None:
    publisher = site.publisher()
    for number in range(3):
        site.publish(publisher, number)
    script = """
        import sys
        from upm_cli.agent import Agent
        with Agent.open(sys.argv[1], cache=sys.argv[2]) as agent:
            print(agent.serving.version, agent.health().is_ok)
        """
    command = [sys.executable, "-c", textwrap.dedent(script), str(site.root), str(site.folder / "state")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [process.communicate()[0] for process in running] == ["3 True\n"] * 4


# Acks


def ack_file(site: Site) -> Path:
    return Path(site.root / "acks/main/_/edge-1.json")


def test_what_is_served_is_acknowledged_after_each_swap_and_every_minute(site: Site) -> None:
    publisher = site.publisher()
    pointer = site.publish(publisher)
    agent = site.open()
    said = json.loads(ack_file(site).read_bytes())
    assert read_ack(said) == Ack(
        agent="edge-1",
        trainer="main",
        tenant="",
        version=1,
        digest=pointer.digest,
        place=Place(1, 1),
        loaded_at_ms=site.clock.now_ms(),
    )
    assert (said["alive_at"], said["predictions"]) == ("2025-11-24T16:00:00.000Z", 0)
    agent.predict({})
    site.clock.advance(59)
    agent.refresh()
    assert json.loads(ack_file(site).read_bytes()) == said
    site.clock.advance(1)
    agent.refresh()
    later = json.loads(ack_file(site).read_bytes())
    assert later == {**said, "alive_at": "2025-11-24T16:01:00.000Z", "predictions": 1}
    site.publish(publisher, 1)
    agent.refresh()
    assert json.loads(ack_file(site).read_bytes())["version"] == 2


def test_an_ack_is_as_open_as_the_directory_is(site: Site) -> None:
    site.publish(site.publisher())
    for mode, file_mode in ((0o755, 0o644), (0o700, 0o600)):
        site.root.chmod(mode)
        site.open()
        assert stat.S_IMODE(ack_file(site).stat().st_mode) == file_mode & ~_umask()
        ack_file(site).unlink()


def _umask() -> int:
    before = os.umask(0)
    os.umask(before)
    return before


def test_an_agent_that_may_only_read_leaves_the_ack_out(site: Site) -> None:
    site.publish(site.publisher())
    (site.root / "acks").touch()
    agent = site.open()
    assert agent.health().is_ok


def test_a_failure_nobody_thought_of_does_not_end_the_thread(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    publisher = site.publisher()
    site.publish(publisher)
    agent = site.open()
    monkeypatch.setattr(agent._follower, "look", lambda: 1 / 0)
    agent._tick()
    assert agent.health().last_error.code == "UPM-E001"
    assert "ZeroDivisionError" in agent.health().last_error.message
    monkeypatch.undo()
    agent._tick()
    assert agent.health().is_ok


def test_looks_are_spread_by_chance_around_their_interval() -> None:
    asked = []

    class Recorded(random.Random):
        def uniform(self, a: float, b: float) -> float:
            asked.append((a, b))
            return super().uniform(a, b)

    class Owner:
        pass

    owner, ticked = Owner(), threading.Event()
    poller = Poller(owner, lambda each: ticked.set(), 0.001, Recorded(1))
    assert ticked.wait(10)
    poller.stop()
    assert set(asked) == {(0.75, 1.25)}


def test_a_look_at_a_directory_that_has_not_changed_reads_no_file(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.publish(site.publisher(seeds=(key_of("a"),)))
    agent = site.open(trust=trust_file(site.folder / "trust.json", key_of("a")), clock=SystemClock())

    def no(*args: Any, **more: Any) -> int:
        raise AssertionError("a file was opened")

    monkeypatch.setattr(os, "open", no)
    started = time.monotonic()
    for _ in range(100):
        assert not agent._follower.look()
    assert agent.health().is_ok
    assert time.monotonic() - started < 5
