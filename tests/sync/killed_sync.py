"""Not a test: delivers to directories and is killed at seeded points. Run by test_sync_kills.py, in its own process.

`python killed_sync.py HOME DIRS ROUNDS SEED`. Each round decides something, forks a process that delivers it, and lets
it be killed (SIGKILL, by itself) at its n-th operation on the disk, n drawn up to what a whole delivery needs; after
it another look is taken at every directory. In the end one process delivers the rest. (No engine is made in the
parent: it must not be forked.) Prints what was found as JSON.
"""

import hashlib
import json
import os
import random
import signal
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

import duckdb  # noqa: F401 - imported once here, not again in every fork

from upm_cli.adapters.directory import Directory
from upm_cli.adapters.sums import Sums
from upm_cli.clock import SystemClock
from upm_cli.config.schema import Settings
from upm_cli.core.delivery import envelope, pointer
from upm_cli.core.delivery.machine import place
from upm_cli.core.records import AdapterStatus
from upm_cli.ops import made_up, sync_run, sync_verify
from upm_cli.store import adapters, fsio
from upm_cli.store.session import Store

MOST = 120  # operations that a killed delivery got to do


def forked(work: Callable[[], None]) -> int:
    """Do `work` in a process of its own; return its exit status."""
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    code = 1
    try:
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def decide(home: Path, version: int) -> None:
    store = Store(home, SystemClock())
    made_up.serve(store, SystemClock(), "main", version)
    store.close()


def deliver(home: Path, killed_at: int | None) -> None:
    left = killed_at

    def count(operation: str, path: Path) -> None:
        nonlocal left
        if left is not None:
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    fsio.faults.before = count
    store = Store(home, SystemClock())
    ran = sync_run.run_pass(store, SystemClock(), Settings(), command="killed")
    assert not ran.left, ran.left


def look(dirs: Path, versions: set[int]) -> dict[str, tuple[int, ...]]:
    """Return (version, epoch, serial) of what an agent finds in each directory, every byte of it proven."""
    found = {}
    for folder in sorted(dirs.iterdir()):
        path = folder / "pointers" / "main" / "_.json"
        if not path.exists():
            continue
        wanted = pointer.decode(envelope.decode(path.read_bytes(), pointer.PAYLOAD_TYPE).payload)
        (model,) = (folder / "models").glob(f"{wanted.digest}.*")
        assert hashlib.sha256(model.read_bytes()).hexdigest() == wanted.model.file_digest
        assert wanted.version in versions
        found[folder.name] = (wanted.version, wanted.place.epoch, wanted.place.serial)
    return found


def check(home: Path, dirs: Path, version: int) -> None:
    """Everything is confirmed, and is what the state says; nothing half-written is left where agents look."""
    store, clock = Store(home, SystemClock()), SystemClock()
    with store.read() as reader:
        rows = adapters.list_all(reader)
    for row in rows:
        assert (row.status, row.acked_version) == (AdapterStatus.SYNCED, version), row
        ack = Directory(Path(row.location), clock, Sums(clock)).report("main", "", deadline())
        assert ack is not None
        assert (ack.version, ack.place, ack.digest) == (version, place(row), row.acked_digest)
    assert {each.verdict for each in sync_verify.verify(store, clock, Settings())} == {"ok"}
    assert not [path for path in dirs.rglob("*.json") if path.stat().st_size == 0]


def deadline():  # type: ignore[no-untyped-def]
    from upm_cli.adapters.base import Deadline

    return Deadline.after(SystemClock(), 60)


def main(home: Path, dirs: Path, rounds: int, seed: int) -> None:
    chance = random.Random(seed)
    before: dict[str, tuple[int, ...]] = {}
    killed = between = 0
    version = 1
    for round_ in range(rounds):
        if round_ % 2 == 0:
            version = 3 - version  # every second round another process goes on where the one before was killed
            assert forked(partial(decide, home, version)) == 0
        status = forked(partial(deliver, home, chance.randrange(1, MOST)))
        assert status == 0 or os.WTERMSIG(status) == signal.SIGKILL, status
        killed += status != 0
        found = look(dirs, {1, 2})
        for name, seen in before.items():
            assert found[name][1:] >= seen[1:], "a directory went back"
        between += len({each[0] for each in found.values()}) == 2
        before = found
    assert forked(lambda: deliver(home, None)) == 0
    assert forked(lambda: check(home, dirs, version)) == 0
    print(json.dumps({"killed": killed, "between": between, "directories": len(before)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
