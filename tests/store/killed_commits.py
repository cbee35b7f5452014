"""Not a test: kills committing processes at random moments. Run by test_store_crashes.py, in a process of its own.

`python killed_commits.py HOME ROUNDS SEED`. Each round forks a process that looks at what the one before it left,
then commits without end, and is killed at a random moment after its first acknowledged commit. (No engine is ever
made in the parent: it must not be forked.) Prints the commits acknowledged and found as JSON.
"""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import duckdb  # noqa: F401 - imported once here, not again in every fork

from upm_cli.clock import SystemClock
from upm_cli.core.records import Trainer
from upm_cli.store import history, layout, ledger, outbox, trainers
from upm_cli.store.session import Store


def look_and_commit(home: Path, acknowledged: int, report: int) -> None:
    store = Store(home, SystemClock(), command="killed")
    os.write(report, f"{look(store, acknowledged)}\n".encode())
    while True:
        with store.write(actor="killed") as tx:
            n = trainers.get(tx, "main").trained + 1
            trainers.put(tx, Trainer(name="main", stream="main", trained=n, epoch=n))
            tx.event("counted", "/trainers/main", n=n)
            tx.ledger("count", "main", n=n)
        os.write(report, b".")


def look(store: Store, acknowledged: int) -> int:
    """Check everything that is on disk; `acknowledged` commits must be there, one more may be."""
    if acknowledged % 4 == 0:  # reading every block takes longest
        assert history.problem(store.home / layout.STATE) is None
    with store.read() as r:
        trainer = trainers.get(r, "main")
        newest = outbox.after(r, max(0, trainer.trained - 1))
        head, generation = r.meta.ledger, r.meta.generation
    assert trainer.trained in (acknowledged, acknowledged + 1), (trainer.trained, acknowledged)
    assert trainer.epoch == trainer.trained == head.count == generation - 1
    assert [event.data["n"] for event in newest] == ([trainer.trained] if trainer.trained else [])
    checked = ledger.verify(store.home, head)
    assert checked.entries == trainer.trained
    assert checked.uncommitted <= 1
    entries = ledger.read(store.home, head)
    assert [entry["details"]["n"] for entry in entries] == list(range(1, trainer.trained + 1))
    return trainer.trained


def forked(work: Callable[[], None]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
    except BaseException as exc:
        print(f"failed: {exc!r}", file=sys.stderr, flush=True)
    finally:
        os._exit(1)


def main(home: Path, rounds: int, seed: int) -> None:
    chance = random.Random(seed)
    found = acknowledged = total = killed_inside = 0
    for _ in range(rounds):
        reading, writing = os.pipe()
        pid = forked(lambda end=writing, count=found + acknowledged: look_and_commit(home, count, end))
        os.close(writing)
        with os.fdopen(reading, "rb", buffering=0) as reports:
            first = reports.readline()
            if not first or not reports.read(1):
                sys.exit(f"wrong or dead after {found} + {acknowledged} commits")
            time.sleep(chance.uniform(0, 0.03))
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            found, acknowledged = int(first), 1 + len(reports.read())
        total += acknowledged
        killed_inside += (home / layout.NEXT).exists()
    found = look_in_a_fork(home, found + acknowledged)
    print(json.dumps({"found": found, "acknowledged": total, "killed_inside": killed_inside}))


def look_in_a_fork(home: Path, acknowledged: int) -> int:
    reading, writing = os.pipe()
    pid = forked(lambda: os.write(writing, str(look(Store(home, SystemClock()), acknowledged)).encode()) and None)
    os.close(writing)
    os.waitpid(pid, 0)
    return int(os.read(reading, 100))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
