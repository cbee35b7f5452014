"""Not a test: eight writers and a reader at once. Run by test_store_crashes.py, in a process of its own.

`python many_writers.py HOME WRITERS COMMITS`. Each writer moves two trainers on together, COMMITS times; the reader
checks that it never sees one without the other. Prints how often the reader looked, or what it saw.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb  # noqa: F401 - imported once here, not again in every fork

from upm_cli.clock import SystemClock
from upm_cli.core.records import Trainer
from upm_cli.store import trainers
from upm_cli.store.session import Store


def write(home: Path, commits: int) -> None:
    store = Store(home, SystemClock(), lock_timeout_s=60, command="writer")
    for _ in range(commits):
        with store.write(actor=str(os.getpid())) as tx:
            n = trainers.get(tx, "left").trained + 1
            for name in ("left", "right"):
                trainers.put(tx, Trainer(name=name, stream="main", trained=n))
            tx.ledger("count", "main", n=n)


def read(home: Path, total: int, report: int) -> None:
    store = Store(home, SystemClock())
    looks, last = 0, -1
    while last < total:
        with store.read() as r:
            left, right = trainers.get(r, "left").trained, trainers.get(r, "right").trained
        if left != right or left < last:
            os.write(report, f"saw {left} and {right} after {last}\n".encode())
            return
        looks, last = looks + 1, left
    os.write(report, f"{looks}\n".encode())


def forked(job: Callable[[], None]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        job()
    finally:
        os._exit(0)


def main(home: Path, writers: int, commits: int) -> None:
    reading, writing = os.pipe()
    pids = [forked(lambda: read(home, writers * commits, writing))]
    pids += [forked(lambda: write(home, commits)) for _ in range(writers)]
    os.close(writing)
    print(json.dumps({"reader": os.read(reading, 4096).decode().strip()}))
    for pid in pids:
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
