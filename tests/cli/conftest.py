"""A project that has learned, made once and copied for each test, and a way to run commands in it."""

import contextlib
import ctypes
import fcntl
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import warm
from upm_cli.app import main
from upm_cli.clock import ManualClock, SystemClock
from upm_cli.config.load import load
from upm_cli.config.schema import Settings
from upm_cli.ops import made_up, rollout
from upm_cli.store import ledger, rollouts
from upm_cli.store.session import Store
from upm_cli.testing import prove
from upm_cli.workers import spawn

CONFIG = """\
supervisor: {default_trainers: [{name: main}]}
trainer_worker: {snapshot_interval: 300}
drift_monitor: {window_duration_ms: 600000, sample_size: 200}
ingest: {chunk_bytes: 65536, commit_bytes: 131072}
learner: {bits: 10}
"""
PACED = """\
supervisor: {default_trainers: [{name: main}]}
policy: {canary_tenants: ['*']}
"""
WINDOWS = 2000
ROOT = Path(__file__).resolve().parents[2]
_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 24, 1, 2


def event(i: int, label: Any = None, **more: Any) -> dict[str, Any]:
    """Return window number `i`, a second after the one before; its label is what its features say."""
    chance = np.random.default_rng(i)
    x, y = (round(float(value), 4) for value in chance.normal(size=2))
    start_ms = 1_767_225_600_000 + i * 1000
    return {
        "window_id": f"w{i:06d}",
        "window_start": start_ms,
        "window_end": start_ms + 1000,
        "tenant_id": f"t{i % 5}",
        "features": {"x": x, "y": y, "kind": f"k{i % 3}"},
        "label": int(x > y) if label is None else label,
        **more,
    }


def lines(*events: dict[str, Any] | str) -> str:
    return "".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in events)


@dataclass
class Ran:
    """What one command said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        assert self.code == 0, self.err
        found: dict[str, Any] = json.loads(self.out)
        assert found["schema_version"] == 1
        return found


@dataclass
class Shell:
    """Runs commands of a project in this process; workers are real processes of their own."""

    folder: Path
    capsys: pytest.CaptureFixture[str]
    event = staticmethod(event)

    @property
    def home(self) -> Path:
        return self.folder / ".upm"

    @property
    def store(self) -> Store:
        return Store(self.home, SystemClock())

    def __call__(self, *words: str) -> Ran:
        self.capsys.readouterr()
        code = main([*words, "-C", str(self.folder)])
        out, err = self.capsys.readouterr()
        return Ran(code, out, err)

    def json(self, *words: str) -> dict[str, Any]:
        return self(*words, "--json").json

    def refused(self, code: int, error: str, *words: str) -> Ran:
        """Run a command that must fail with this exit code and error; check the form of what it says."""
        ran = self(*words)
        assert (ran.code, ran.out) == (code, ""), ran
        first, *rest = ran.err.splitlines()
        assert first.startswith(f"error[{error}]: "), ran.err
        assert all(line.startswith("hint: ") for line in rest), ran.err
        assert len(rest) <= 1, ran.err
        assert "Traceback" not in ran.err
        return ran

    def write(self, name: str, *events: dict[str, Any] | str) -> str:
        path = self.folder / name
        path.write_text(lines(*events))
        return str(path)

    def counts(self) -> dict[str, int]:
        """Return where every window is, and check that nothing is lost."""
        windows: dict[str, int] = self.json("trainer", "show", "main")["windows"]
        assert windows["read"] == sum(count for place, count in windows.items() if place != "read")
        return windows


@pytest.fixture(scope="session")
def clean_environment() -> Iterator[None]:
    """No setting from outside."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [*os.environ]:
            if name.startswith(("UPM_", "TL_FEATURES")) or name in ("NO_COLOR", "FORCE_COLOR"):
                patch.delenv(name)
        yield


def start(address: str, elsewhere: Callable[..., Any], *given: Any, **more: Any) -> Any:
    """Start a worker quickly for tests of this folder; the same process may run those of others before and after."""
    is_here = os.environ["PYTEST_CURRENT_TEST"].startswith("tests/cli/")
    return warm.Forked(address, *given, **more) if is_here else elsewhere(*given, **more)


@pytest.fixture(scope="session", autouse=True)
def programs(tmp_path_factory: pytest.TempPathFactory, clean_environment: None) -> Iterator[Path]:
    """A folder with the programs `upm` and `python`; `upm`, and the workers of all tests here, start quickly."""
    folder = tmp_path_factory.mktemp("bin")
    python = f'#!/bin/sh\nexec {sys.executable} "$@"\n'
    texts = {"python": python, "upm": python.replace('"$@"', '-m upm_cli "$@"')}
    with contextlib.ExitStack() as running:
        if warm.IS_POSSIBLE:
            address = running.enter_context(warm.running())
            patch = running.enter_context(pytest.MonkeyPatch.context())
            patch.setattr(spawn, "start", partial(start, address, spawn.start))
            texts["upm"] = warm.program(address)
        for name, text in texts.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        yield folder


@pytest.fixture
def on_path(tmp_path: Path, programs: Path) -> dict[str, str]:
    """An environment for a shell that finds `upm` and `python`, and prints tables as on a terminal."""
    path = f"{programs}:{os.environ['PATH']}"
    more = {"PYTHONPATH": str(ROOT), "UPM_OUTPUT": "table", "XDG_STATE_HOME": str(tmp_path / "agents")}
    return {**os.environ, "PATH": path, **more}


@pytest.fixture(scope="session")
def trained_project(tmp_path_factory: pytest.TempPathFactory, programs: Path) -> Path:
    """A project of which trainer main has learned 2,000 windows; not to be changed: take `trained`."""
    folder = tmp_path_factory.mktemp("trained") / "project"
    assert main(["init", str(folder), "-q"]) == 0
    (folder / "upm.yaml").write_text(CONFIG)
    source = folder.parent / "events.jsonl"
    source.write_text(lines(*(event(i) for i in range(WINDOWS))))
    assert main(["train", "main", "--source", str(source), "--once", "-q", "-C", str(folder)]) == 0
    return folder


@pytest.fixture
def new_shell(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, clean_environment: None
) -> Callable[[Path], Shell]:
    monkeypatch.setattr("sys.stdin", io.StringIO())  # no terminal: nobody can be asked
    return lambda folder: Shell(folder, capsys)


@pytest.fixture
def trained(tmp_path: Path, trained_project: Path, new_shell: Callable[[Path], Shell]) -> Shell:
    """A copy of the trained project, for this test alone."""
    shutil.copytree(trained_project, tmp_path / "project")
    return new_shell(tmp_path / "project")


@pytest.fixture
def fresh(tmp_path: Path, new_shell: Callable[[Path], Shell]) -> Shell:
    """A project that has learned nothing."""
    shell = new_shell(tmp_path / "fresh")
    assert main(["init", str(shell.folder), "-q"]) == 0
    (shell.folder / "upm.yaml").write_text(CONFIG)
    return shell


def _without_privileges() -> None:
    """In a child: let file permissions count for root as well, by dropping what overrides them (Linux)."""
    libc = ctypes.CDLL(None)
    for capability in (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH):
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)  # of no effect, and not needed, for anybody but root


@pytest.fixture
def as_user(clean_environment: None) -> Callable[..., tuple[int, str, str]]:
    """Runs a command in a process for which file permissions count, whoever runs the tests."""

    def run(folder: Path, *words: str, **more: Any) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "upm_cli", "-C", str(folder), *words],
            preexec_fn=_without_privileges,
            capture_output=True,
            text=True,
            check=False,
            **more,
        )
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture
def mount_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mounts a disk of so many MiB, where the machine lets us mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(mib: int) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(folder)]
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
        if mounted.returncode:
            pytest.skip(f"no disk of our own can be mounted here: {mounted.stderr.strip()}")
        return folder

    yield mount
    if folder.is_mount():
        subprocess.run(["umount", "-l", str(folder)], check=True)


@dataclass
class Paced:
    """A project on a clock that is moved: a trainer whose learning and whose contests are made up."""

    folder: Path
    capsys: pytest.CaptureFixture[str]
    clock: ManualClock
    config: str = PACED

    def __post_init__(self) -> None:
        assert main(["init", str(self.folder), "-q"], clock=self.clock) == 0
        self.write(self.config)
        with self.store as store:
            for _ in range(2):
                made_up.learn(store, self.clock, self.settings, "main")
            made_up.quiet_window(store, self.clock, "main", 0.2)

    def write(self, config: str) -> None:
        (self.folder / "upm.yaml").write_text(config)

    @property
    def settings(self) -> Settings:
        return load(self.folder / "upm.yaml", overrides=(), environ={}).settings

    @property
    def store(self) -> contextlib.closing[Store]:
        return contextlib.closing(Store(self.folder / ".upm", self.clock))

    def __call__(self, *words: str) -> Ran:
        self.capsys.readouterr()
        code = main([*words, "-C", str(self.folder)], clock=self.clock)
        out, err = self.capsys.readouterr()
        return Ran(code, out, err)

    def json(self, *words: str) -> dict[str, Any]:
        return self(*words, "--json").json

    def error(self, *words: str) -> tuple[int, dict[str, Any]]:
        """Run a command that must fail; return its exit code and the error object."""
        ran = self(*words, "--json")
        found: dict[str, Any] = json.loads(ran.out)["error"]
        assert found["exit_code"] == ran.code
        return ran.code, found

    def learn(self) -> int:
        with self.store as store:
            return made_up.learn(store, self.clock, self.settings, "main")

    def serve(self, version: int) -> None:
        """Let ring global serve `version` to everybody, without asking the gates."""
        with self.store as store:
            made_up.serve(store, self.clock, "main", version)

    def prove(self, verdict: str = "pass", **more: Any) -> None:
        """Let the drift monitor have judged the contest that counts now."""
        with self.store as store:
            self._prove(store, verdict, **more)

    def _prove(self, store: Store, verdict: str = "pass", **more: Any) -> int:
        with store.read() as reader:
            row = rollouts.newest(reader, "main")
        stage, version = (row.stage, row.version) if row is not None and row.ended_at_ms is None else (0, None)
        prove(store, self.clock, "main", version, stage=stage, verdict=verdict, **more)
        return stage

    def go(self, stage: int, **more: Any) -> None:
        """Let days pass, judging and looking each day (in shadow: after all of them), until it is in `stage`."""
        settings = self.settings
        with self.store as store:
            for _ in range(20):
                if (now := self._prove(store, **more)) == stage:
                    return
                rollout.tick(store, self.clock, settings, "main")
                self.clock.advance(86_400 if now else 14 * 86_400)
                self._prove(store, **more)
                rollout.tick(store, self.clock, settings, "main")
        raise AssertionError(self.json("rollout", "status"))

    def ledger(self) -> list[dict[str, Any]]:
        return ledger.read(self.folder / ".upm")


@pytest.fixture
def paced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, clean_environment: None
) -> Paced:
    monkeypatch.setattr("sys.stdin", io.StringIO())  # no terminal: nobody can be asked
    return Paced(tmp_path / "paced", capsys, ManualClock(1_800_000_000_000))


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory, programs: Path) -> tuple[Path, dict[str, Any]]:
    """A demo project, not to be changed, and what `upm demo --json` said of it; made once for all test processes."""
    base = tmp_path_factory.getbasetemp()
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, said = root / "told" / "project", root / "told.json"
    with (root / "told.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not said.exists():
            folder.parent.mkdir()
            env = {**os.environ, "PYTHONPATH": str(ROOT)}
            command = [str(programs / "upm"), "demo", str(folder), "--json"]
            done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            said.write_text(done.stdout)
    found: dict[str, Any] = json.loads(said.read_text())
    return folder, found
