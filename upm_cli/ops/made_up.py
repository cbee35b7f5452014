"""A made-up trainer for rehearsals: snapshots without learning, served without gates. Only for temporary stores."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from upm_cli import ids
from upm_cli.clock import Clock
from upm_cli.core.activation import plan_activation
from upm_cli.core.changes import Decision, activation_changes
from upm_cli.core.records import DriftStatus, DriftWindow, Ring, Trainer
from upm_cli.ops import snapshots as snapshot_ops
from upm_cli.ops.decisions import View, write
from upm_cli.store import blobs, drift, trainers

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.store.session import Store

ACTOR = "drill"
WINDOWS = 1000  # learned between two snapshots


def learn(store: "Store", clock: Clock, settings: "Settings", name: str) -> int:
    """Let trainer `name` have learned some more, made on first use; return the version of its new snapshot."""
    with store.read() as reader:
        trainer = trainers.find(reader, name) or Trainer(name=name, stream=name, created_at_ms=clock.now_ms())
    end = trainer.log_position + WINDOWS
    checkpoint = blobs.put(store.home, f"made up: {name} at {end}".encode())
    weights = {"weights": np.arange(8, dtype=np.float32) + np.float32(end)}
    fields = {"log": {"first_seq": 0, "last_seq": end - 1}, "windows": end, "metrics": {}}
    prepared = snapshot_ops.prepare(
        store.home, clock, settings, trainer, weights, fields, checkpoint_digest=checkpoint.digest
    )
    with store.write(actor=ACTOR) as tx:
        moved = replace(trainer, log_position=end, checkpoint_digest=checkpoint.digest)
        row, moved = snapshot_ops.register(tx, store.home, moved, prepared)
        trainers.put(tx, moved)
    return row.version


def serve(store: "Store", clock: Clock, name: str, version: int) -> None:
    """Let ring global serve `version` to everybody."""
    with store.write(actor=ACTOR) as tx:
        view = View.read(tx, name)
        plan = plan_activation(view.trainer, view.live, view.pins, version, Ring.GLOBAL, 100)
        signature = Decision(decision_id=ids.uuid7(clock), actor=ACTOR, reason="made up", at_ms=clock.now_ms())
        write(tx, activation_changes(plan, view.trainer, view.rows, signature))
        tx.ledger("drill.serve", name, version=version, decision_id=signature.decision_id, reason="made up")


def quiet_window(store: "Store", clock: Clock, name: str, threshold: float) -> None:
    """Let the drift monitor have judged one window of `name` that passed."""
    window = DriftWindow(
        trainer=name,
        window_id=f"{name}/0",
        version=None,
        started_at_ms=clock.now_ms() - 3_600_000,
        closed_at_ms=clock.now_ms(),
        status=DriftStatus.CLOSED,
        verdict="pass",
        threshold=threshold,
        n=WINDOWS,
        mean=threshold / 4,
        p95=threshold / 2,
        max=threshold,
        last_seq=WINDOWS - 1,
    )
    with store.write(actor=ACTOR) as tx:
        drift.put(tx, window)
