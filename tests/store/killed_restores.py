"""Not a test: kills a restore before each of its file operations. Run by test_restore_again.py, in its own process.

`python killed_restores.py HOME`. HOME is a project whose state does not open. For each operation a copy of it is
restored in a forked process that is killed right before that operation; what it left is looked at, and restored again.
Prints what was found, one JSON object for each kill. (No engine is ever made in the parent: it must not be forked.)
"""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb  # noqa: F401 - imported once here, not again in every fork

from upm_cli.clock import SystemClock
from upm_cli.ops import audit, restore
from upm_cli.store import activations, fsio, history, layout, snapshots
from upm_cli.store.session import Store


def forked(work: Callable[[], Any]) -> Any:
    """Return what `work` returns in a process of its own, None when that was killed."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.write(writing, json.dumps(work()).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) in (0, -signal.SIGKILL), status
    return json.loads(said) if said else None


def go_back(home: Path, kill_at: int | None = None) -> str:
    """Restore; be killed before file operation `kill_at`, counted from 0."""
    left = kill_at

    def count(operation: str, path: Path) -> None:
        nonlocal left
        if left == 0:
            (home.parent / "killed").write_text(f"{operation} {path.relative_to(home).as_posix()}")
            os.kill(os.getpid(), signal.SIGKILL)
        left = None if left is None else left - 1

    fsio.faults.before = count
    done = restore.go_back(home, SystemClock(), actor="ada")
    return "nothing to do" if done is None else "restored"


def found(home: Path) -> dict[str, Any]:
    """Tell how the project is: what is live, as far as the state opens, and what lies beside it."""
    beside = sorted(path.name.partition(".corrupt-")[0] for path in home.glob("*.corrupt-*"))
    if history.problem(home / layout.STATE) is not None:
        return {"state": "damaged", "beside": beside}
    store = Store(home, SystemClock())
    with store.read() as reader:
        live = [(move.ring.value, move.version) for move in activations.live(reader, "main").values()]
        barred = [row.version for row in snapshots.list_for(reader, "main") if row.quarantined]
    audit.verify(store, recomputing=True)
    return {"state": "whole", "live": live, "barred": barred, "beside": beside}


def main(home: Path) -> None:
    for number in range(200):
        copied = home.parent / f"copy-{number}" / ".upm"
        shutil.copytree(home, copied)
        done = forked(lambda copied=copied, number=number: go_back(copied, number))
        after = forked(lambda copied=copied: found(copied))
        again, end = forked(lambda copied=copied: (go_back(copied), found(copied)))
        killed = copied.parent / "killed"
        step = killed.read_text() if killed.exists() else None
        print(json.dumps({"step": step, "done": done, "after": after, "again": again, "end": end}))
        shutil.rmtree(copied.parent)
        if done is not None:
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]))
