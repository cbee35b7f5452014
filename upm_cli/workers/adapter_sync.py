"""The adapter sync worker: hand what is live to all adapters, as soon as it is, until asked to stop."""

import random
from collections.abc import Sequence

from upm_cli.core.records import Adapter, AdapterStatus
from upm_cli.errors import BusyError, StorageError
from upm_cli.ops.sync import Syncer
from upm_cli.ops.sync_lease import LEASE
from upm_cli.store import lease
from upm_cli.workers.context import Worker
from upm_cli.workers.lifeline import Upstream

STANDBY_S = 0.5  # between two tries to get the lease
FINISH_S = 10.0  # after a signal: what is under way may take so long; what takes longer is sent again another time
DRAIN_S = 30.0  # after the end of the upstream: so long it goes on until everything is delivered or given up


def run(worker: Worker, upstream: Upstream | None = None) -> int:
    """Deliver until asked to stop or, with an `upstream`, until that has ended; return the exit code.

    Only one process of a project does it. Another one stands by and takes over when the first is gone.
    """
    held = _stand_by(worker, upstream)
    if held is None:
        return worker.stop.exit_code() if worker.stop else 0
    with held:
        chance = random.Random()  # noqa: S311 - spreads retries, keeps no secrets
        syncer = Syncer(worker.store, worker.clock, worker.settings, recorder=worker.recorder, chance=chance)
        try:
            _deliver(worker, upstream, syncer)
            _finish(worker, syncer)
        finally:
            syncer.close()
    return worker.stop.exit_code() if worker.stop else 0


def _stand_by(worker: Worker, upstream: Upstream | None) -> lease.Lease | None:
    """Return the lease as soon as nobody else has it; None: there is nothing left to wait for."""
    while not worker.stop:
        try:
            return lease.acquire(worker.store.home, LEASE, "upm worker adapter-sync")
        except BusyError:
            if upstream is not None and upstream.closed():
                return None
        worker.clock.sleep(STANDBY_S)
    return None


def _deliver(worker: Worker, upstream: Upstream | None, syncer: Syncer) -> None:
    poll_s = worker.settings.adapter_sync.poll_ms / 1000
    end_s: float | None = None
    while not worker.stop:
        trouble = _step(worker, syncer, poll_s)
        _tell(worker, syncer.rows, trouble)
        worker.flush()
        if end_s is None and upstream is not None and upstream.closed():
            end_s = worker.clock.monotonic_s() + DRAIN_S
        if end_s is not None and (syncer.is_settled() or worker.clock.monotonic_s() >= end_s):
            return
        if not syncer.busy or trouble:
            worker.clock.sleep(poll_s)


def _step(worker: Worker, syncer: Syncer, wait_s: float) -> str:
    """Take one step; return what kept the state from being written, if anything did: the next one tries again."""
    try:
        syncer.step(wait_s, looks=True)
    except (BusyError, StorageError) as exc:
        return exc.message
    return ""


def _finish(worker: Worker, syncer: Syncer) -> None:
    try:
        syncer.finish(FINISH_S)
    finally:
        _tell(worker, syncer.rows, "", ended="stopped")
        worker.flush(force=True)


def _tell(worker: Worker, rows: Sequence[Adapter], trouble: str, *, ended: str = "") -> None:
    counts = {status.value: 0 for status in AdapterStatus}
    for row in rows:
        counts[row.status.value] += 1
    state = "waiting for the state" if trouble else "syncing" if counts["pending"] + counts["syncing"] else "in sync"
    told = {"adapters": len(rows), "by_status": counts, "trouble": trouble or None}
    worker.tell(ended or state, counts["synced"], force=bool(ended), **told)
