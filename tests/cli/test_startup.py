"""What the commands that people run all day load and start: nothing that takes long and is not needed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from upm_cli.app import main
from upm_cli.clock import SystemClock
from upm_cli.config.load import load
from upm_cli.ops import status
from upm_cli.store.engine import Engine
from upm_cli.store.session import Store

SLOW = ("upm_cli.core.records", "upm_cli.config.schema", "upm_cli.store", "upm_cli.ops.status", "upm_cli.workers")
#: Milliseconds of CPU: NumPy 60, Arrow 150, Textual 250, pydantic 100, asyncio 40; and what only changes need.
NOT_FOR_LOOKING = (
    *("numpy", "pyarrow", "zstandard", "safetensors", "textual", "rich", "pydantic", "asyncio", "ssl"),
    *("upm_cli.ops.authority", "upm_cli.core.gates", "upm_cli.ops.training"),
)
LOOKING = (["status"], ["ps"], ["sync", "status"], ["snapshot", "list"], ["trainer", "list"], ["adapter", "list"])


def run(program: str, *words: str, **environ: str) -> list[str]:
    """Run a program in a process of its own, with the project's own environment; return the lines it printed last."""
    kept = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    environ = {**kept, "PYTHONPATH": str(Path(__file__).parents[2]), **environ}
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, env=environ, check=True, timeout=60
    )
    return done.stdout.splitlines()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    assert main(["init", str(tmp_path), "-q"]) == 0
    return tmp_path


def test_help_loads_neither_records_nor_settings_nor_the_store() -> None:
    program = (
        "import sys, io, contextlib\n"
        "from upm_cli.app import main\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        "    assert main(['--help']) == 0\n"
        f"print([name for name in {(*SLOW, *NOT_FOR_LOOKING, 'importlib.metadata')} if name in sys.modules])\n"
    )
    assert run(program) == ["[]"]


def test_looking_at_the_state_loads_no_numpy_and_nothing_that_changes_it(project: Path) -> None:
    """One process for all of them: what a command loads stays for the next one."""
    program = (
        "import sys, io, contextlib\n"
        "from upm_cli.app import main\n"
        f"for words in {LOOKING}:\n"
        "    with contextlib.redirect_stdout(io.StringIO()):\n"
        "        assert main(['-C', sys.argv[1], *words]) == 0, words\n"
        f"    found = [name for name in {NOT_FOR_LOOKING} if name in sys.modules]\n"
        "    assert not found, (words, found)\n"
        "print('done')\n"
    )
    assert run(program, str(project)) == ["done"]


def test_following_events_loads_neither_numpy_nor_arrow(project: Path) -> None:
    program = (
        "import sys, io, contextlib\n"
        "from upm_cli.app import main\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        "    assert main(['-C', sys.argv[1], 'events']) == 0\n"
        "print([name for name in ('numpy', 'pyarrow') if name in sys.modules])\n"
    )
    assert run(program, str(project)) == ["[]"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="threads are counted in /proc")
@pytest.mark.parametrize("words", [["status"], ["validate"]])
def test_a_command_starts_no_threads_of_its_libraries(project: Path, words: list[str]) -> None:
    """`validate` loads NumPy, whose OpenBLAS would start a thread for each core but one; DuckDB would start some too.

    A machine with one core can't fail this. What is left at the end is not looked through for cycles.
    """
    program = (
        "import contextlib, gc, io, os, sys\n"
        "from upm_cli.app import entry_point\n"
        "try:\n"
        "    with contextlib.redirect_stdout(io.StringIO()):\n"
        "        entry_point()\n"
        "except SystemExit:\n"
        "    print('numpy' in sys.modules, len(os.listdir('/proc/self/task')), gc.get_freeze_count() > 0)\n"
    )
    assert run(program, "-C", str(project), *words) == [f"{words == ['validate']} 1 True"]


def test_status_asks_the_state_each_thing_once(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    original = Engine.run

    def counted(self: Engine, cursor: object, name: str, params: object = None) -> object:
        asked.append(name)
        return original(self, cursor, name, params)  # type: ignore[arg-type]

    monkeypatch.setattr(Engine, "run", counted)
    clock = SystemClock()
    store = Store(project / ".upm", clock)
    settings = load(project / "upm.yaml", overrides=["supervisor.default_trainers=[{name: one}]"], environ={}).settings
    found = status.overview(store, clock, settings)
    store.close()
    assert [row["name"] for row in found["trainers"]] == ["one"]
    assert sorted(asked) == sorted(set(asked))
    assert len(asked) <= 12
