"""The drift monitor's verb for what agents served: judge it version by version, and quarantine what failed.

As for shadow windows no state is kept besides the position and the rows of the windows: the rows of open windows say
where their comparisons begin, and reading them again gives the fold as it was.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from upm_cli.clock import Clock
from upm_cli.core.drift import DriftPolicy
from upm_cli.core.drift_record import record, window_id
from upm_cli.core.feedback.judging import ServedDrift, ServedWindow
from upm_cli.core.feedback.names import served_owner, trainer_of
from upm_cli.core.feedback.served import Served
from upm_cli.core.records import DriftStatus, DriftWindow, Monitor
from upm_cli.ops import quarantine, served
from upm_cli.ops.drift import ACTOR, KEEP_WINDOWS, ROWS_AT_ONCE, WINDOWS_AT_ONCE, Settings, policy_of
from upm_cli.store import drift, monitors
from upm_cli.store.session import Store
from upm_cli.store.unit import Reader, Tx
from upm_cli.telemetry.points import Recorder


@dataclass(slots=True)
class Memory:
    """The fold of a running monitor between two calls; good as long as nobody else moved the position."""

    trainer: str = ""
    position: int = -1
    state: ServedDrift | None = None

    def take(self, trainer: str, position: int, policy: DriftPolicy) -> ServedDrift | None:
        """Hand the fold out, if it is the right one. It is forgotten here until `keep`, as it moves on now."""
        state, fits = self.state, (self.trainer, self.position) == (trainer, position)
        self.state = None
        return state if fits and state is not None and state.policy == policy else None


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedServed:
    """What one call did."""

    closed: tuple[DriftWindow, ...]
    growing: tuple[DriftWindow, ...]  # the open window of each version
    quarantined: tuple[DriftWindow, ...]
    compared: int  # comparisons taken in
    more: bool  # there are comparisons left: call again


@dataclass(slots=True)
class _Found:
    """What the fold made of new comparisons, not committed yet."""

    monitor: Monitor  # as it was read
    state: ServedDrift
    closed: list[ServedWindow] = field(default_factory=list)
    compared: int = 0
    position: int = 0
    more: bool = False


def judge_served(
    store: Store,
    clock: Clock,
    settings: Settings,
    trainer: str,
    *,
    finish: bool = False,
    memory: Memory | None = None,
    recorder: Recorder | None = None,
    config_digest: str | None = None,
) -> JudgedServed:
    """Judge the served comparisons that came since the last call, in one commit; nothing new changes nothing.

    `finish` as in `ops.drift.judging`. Raises IntegrityError when a segment is damaged.
    """
    policy = policy_of(settings)
    memory = memory if memory is not None else Memory()
    while True:
        found = _advance(store, policy, trainer, memory)
        done = _commit(store, clock, found, recorder, config_digest, finish=finish and not found.more)
        if done is not None:
            memory.trainer, memory.position, memory.state = trainer, found.position, found.state
            return done  # otherwise somebody else judged these comparisons meanwhile: look again


def _advance(store: Store, policy: DriftPolicy, trainer: str, memory: Memory) -> _Found:
    with store.read() as reader:
        monitor = monitors.get(reader, served_owner(trainer))
        state, begins = memory.take(trainer, monitor.position, policy), dict[int, int]()
        if state is None:
            state, begins = _restart(reader, policy, monitor)
    found = _Found(monitor=monitor, state=state, position=monitor.position)
    start = min([monitor.position, *begins.values()])
    for table in _parted(served.follow(store, trainer, start), monitor.position):
        if int(table.table.seq[0]) < monitor.position:
            state.advance(_begun(table, begins))  # closes nothing: these are in open windows
            continue
        if found.compared >= ROWS_AT_ONCE or len(found.closed) >= WINDOWS_AT_ONCE:
            found.more = True
            break
        found.closed += state.advance(table)
        found.compared += len(table)
        found.position = int(table.table.seq[-1]) + 1
    return found


def _restart(reader: Reader, policy: DriftPolicy, monitor: Monitor) -> tuple[ServedDrift, dict[int, int]]:
    """Return the fold as it was when the open windows began, and where that was, by version."""
    begins: dict[int, int] = {}
    closed: dict[int, int] = {}
    for row in sorted(drift.list_for(reader, monitor.trainer), key=lambda row: row.first_seq):
        version = int(row.version or 0)
        if row.metadata["final"]:
            closed[version] = row.closed_at_ms
        else:
            begins[version] = row.first_seq
    return ServedDrift.resume(policy, closed), begins


def _begun(table: Served, begins: Mapping[int, int]) -> Served:
    """Return the comparisons that are in an open window, of those that were judged before."""
    keep = np.zeros(len(table), np.bool_)
    for version, first_seq in begins.items():
        keep |= (table.version == version) & (table.table.seq >= first_seq)
    return table.take(np.flatnonzero(keep))


def _parted(tables: Iterator[Served], position: int) -> Iterator[Served]:
    """Cut `tables` at `position`: what was judged before, what is new."""
    for table in tables:
        middle = int(table.table.seq.searchsorted(position))
        for low, high in ((0, middle), (middle, len(table))):
            if low < high:
                yield table.slice(low, high)


def _commit(
    store: Store, clock: Clock, found: _Found, recorder: Recorder | None, config_digest: str | None, *, finish: bool
) -> JudgedServed | None:
    """Write what was found; None when the monitor has moved since, so that it has to be found again."""
    growing = found.state.open_windows() if found.compared or finish else []
    if not found.compared and not growing:
        return JudgedServed(closed=(), growing=(), quarantined=(), compared=0, more=found.more)
    owner = found.monitor.trainer
    with store.write(actor=ACTOR) as tx:
        if monitors.get(tx, owner).position != found.monitor.position:
            return None
        rows = _records(tx, found, growing, finish=finish)
        before = {row.window_id: row for row in drift.find_all(tx, owner, [row.window_id for row in rows])}
        changed = [row for row in rows if before.get(row.window_id) != row]
        drift.put_all(tx, changed)
        failed = [row for row in changed if _begins_quarantine(row, before)]
        policy = found.state.policy
        told = [quarantine.begin_served(tx, clock, row, policy=policy, config_digest=config_digest) for row in failed]
        barred = [row for row in told if row.status is DriftStatus.QUARANTINED]
        if found.closed:
            drift.prune(tx, owner, KEEP_WINDOWS)
        if found.compared:
            monitors.put(tx, _moved(found, clock.now_ms()))
    if recorder is not None:
        _measure(recorder, changed, barred)
    final = {row.window_id: row for row in told}
    shown = [final.get(row.window_id, row) for row in rows]
    return JudgedServed(
        closed=tuple(shown[: len(found.closed)]),
        growing=tuple(shown[len(found.closed) :]),
        quarantined=tuple(barred),
        compared=found.compared,
        more=found.more,
    )


def _moved(found: _Found, now_ms: int) -> Monitor:
    compared = found.monitor.compared + found.compared
    return replace(found.monitor, position=found.position, compared=compared, updated_at_ms=now_ms)


def _records(tx: Tx, found: _Found, growing: Sequence[ServedWindow], *, finish: bool) -> list[DriftWindow]:
    """Return the records of the closed windows and then of the open ones."""
    owner = found.monitor.trainer
    each = [(window, True) for window in found.closed] + [(window, False) for window in growing]
    ids = [window_id(owner, window.judged.first_seq) for window, _ in each]
    known = {row.window_id: row for row in drift.find_all(tx, owner, ids)}
    return [
        record(
            owner,
            window.judged,
            found.state.policy,
            version=window.version,
            before=known.get(key),
            final=is_final,
            judged_now=is_final or finish,
        )
        for key, (window, is_final) in zip(ids, each, strict=True)
    ]


def _begins_quarantine(row: DriftWindow, known: Mapping[str, DriftWindow]) -> bool:
    before = known.get(row.window_id)
    return row.status is DriftStatus.QUARANTINED and (before is None or before.status is not row.status)


def _measure(recorder: Recorder, judged: Sequence[DriftWindow], quarantined: Sequence[DriftWindow]) -> None:
    """Record the telemetry of windows that were judged, and of quarantines, marked as served."""
    for row in judged:
        if row.verdict != "unknown":
            values = {"drift_p95": row.p95, "drift_mean": row.mean, "drift_max": row.max, "sample_count": row.n}
            recorder.record("upm.drift.score", values, _about(row) | {"verdict": row.verdict})
    for row in quarantined:
        about = _about(row) | {"recommendation": row.recommendation or ""}
        limits = {"trainer_id": about["trainer_id"], "drift_p95": row.p95, "threshold": row.threshold}
        recorder.record("upm.drift.quarantine", limits, about)


def _about(row: DriftWindow) -> dict[str, str]:
    trainer = trainer_of(row.trainer)
    return {"trainer_id": trainer, "drift_window_id": row.window_id, "served_version": str(row.version)}
