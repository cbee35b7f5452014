"""A drift monitor that is killed again and again comes to the same evidence as one that is left alone."""

import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from upm_cli.clock import SystemClock
from upm_cli.core.records import Activation, Ring
from upm_cli.ops.evidence import current
from upm_cli.store import activations, monitors, trainers
from upm_cli.store.session import Store

KILLS = 6


def activate(site: Any, version: int, ring: Ring, percent: int) -> None:
    store = Store(site.home, SystemClock())
    with store.write() as tx:
        trainer = trainers.get(tx, "main")
        epoch = trainer.epoch + 1
        activations.append(
            tx,
            Activation(
                trainer="main", ring=ring, epoch=epoch, version=version, previous_version=None, percent=percent,
                kind="activate", decision_id=f"d{epoch}", actor="me", reason="", at_ms=0,
            ),
        )  # fmt: skip
        trainers.put(tx, replace(trainer, epoch=epoch))
    store.close()


def found(site: Any) -> dict[str, Any]:
    """Everything the monitor knows, without the times at which it learned it."""
    store = Store(site.home, SystemClock())
    with store.read() as reader:
        monitor = monitors.get(reader, "main")
        rows = {
            kind: replace(row, updated_at_ms=0, findings={**row.findings, "judged_at_ms": 0})
            for kind, row in current(reader, "main").items()
        }
    store.close()
    return {"rows": rows, "state": monitor.state_digest, "position": monitor.position, "compared": monitor.compared}


def prepare(site: Any) -> tuple[str, ...]:
    """Learn two versions, expose them, and return the command that learns the rest."""
    for name, first, stop in (("a.jsonl", 0, 700), ("b.jsonl", 700, 1300)):
        path = site.write(name, first, stop)
        code, _, err = site.run("train", "--source", str(path), "--once")
        assert code == 0, err
    activate(site, 1, Ring.GLOBAL, 100)
    activate(site, 2, Ring.CANARY, 10)
    rest = site.write("c.jsonl", 1300, 9000)
    return ("train", "--source", str(rest), "--once", "--set", "ingest.chunk_bytes=16384",
            "--set", "ingest.commit_bytes=65536")  # fmt: skip


def test_kills_at_random_moments_change_nothing_in_the_evidence(new_site: Callable[[str], Any]) -> None:
    calm = new_site("calm")
    code, _, err = calm.run(*prepare(calm))
    assert code == 0, err
    expected = found(calm)
    assert set(expected["rows"]) == {"lineage", "candidate"}
    assert expected["rows"]["candidate"].findings["windows"] == 7700
    assert expected["rows"]["lineage"].champion == 1

    chance, kills = random.Random(5), 0
    stormy = new_site("stormy")
    command = prepare(stormy)
    for _ in range(60):
        process = stormy.start(*command)
        time_to_live = chance.uniform(0.3, 1.5) if kills < KILLS else 60.0
        deadline = time.monotonic() + time_to_live
        while process.poll() is None and time.monotonic() < deadline:
            workers = stormy.workers(process)
            if kills < KILLS and "drift" in workers and chance.random() < 0.05:
                _kill(workers["drift"])  # the tree starts it again
                kills += 1
            time.sleep(0.02)
        if process.poll() is None:
            for pid in [process.pid, *stormy.workers(process).values()]:
                _kill(pid)
            kills += 1
            process.communicate()
            continue
        _, err = process.communicate()
        assert process.returncode == 0, err
        break
    assert kills >= 3
    assert found(stormy) == expected


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
