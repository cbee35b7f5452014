"""The drift monitor's verb: judge what was compared since the last time, and quarantine what failed.

For its windows a monitor needs no state besides its position and their rows: the open window's row says where its
comparisons begin, and reading them again gives the fold as it was. Its contests (ops/evidence.py) are kept as a blob.
Both are committed together. A worker that stays up hands in its `Memory` to save the reading.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from upm_cli.clock import Clock
from upm_cli.core.comparisons import Comparisons
from upm_cli.core.drift import DriftPolicy, DriftState, JudgedWindow
from upm_cli.core.drift_record import newest_version, record, window_id
from upm_cli.core.records import DriftStatus, DriftWindow, Evidence, Monitor
from upm_cli.ops import comparisons, evidence, evidence_record, quarantine
from upm_cli.store import collect, drift, monitors, snapshots, trainers
from upm_cli.store.session import Store
from upm_cli.store.together import Steps, Unit
from upm_cli.store.unit import Reader, Tx
from upm_cli.telemetry.points import Recorder

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings as AllSettings

ROWS_AT_ONCE = 1_000_000  # comparisons of one unit of work; the next call takes the next ones
WINDOWS_AT_ONCE = 200  # closed windows of one commit
KEEP_WINDOWS = 10_000  # more than a year of hours
ACTOR = "drift-monitor"


class Settings(Protocol):
    """The `drift_monitor` section."""

    @property
    def window_duration_ms(self) -> int: ...
    @property
    def drift_threshold(self) -> float: ...
    @property
    def sample_size(self) -> int: ...
    @property
    def quarantine_enabled(self) -> bool: ...
    @property
    def score(self) -> str: ...
    @property
    def rule(self) -> str: ...


def policy_of(settings: Settings) -> DriftPolicy:
    """Return the policy that the `drift_monitor` settings describe."""
    return DriftPolicy(
        window_duration_ms=settings.window_duration_ms,
        drift_threshold=settings.drift_threshold,
        sample_size=settings.sample_size,
        quarantine_enabled=settings.quarantine_enabled,
        score=settings.score,
        rule=settings.rule,
    )


@dataclass(slots=True)
class Memory:
    """The fold of a running monitor between two calls; good as long as nobody else moved the position."""

    trainer: str = ""
    position: int = -1
    state: DriftState | None = None
    contests: evidence.Memory = field(default_factory=evidence.Memory)

    def take(self, trainer: str, position: int, policy: DriftPolicy) -> DriftState | None:
        """Hand the fold out, if it is the right one. It is forgotten here until `keep`, as it moves on now."""
        state, fits = self.state, (self.trainer, self.position) == (trainer, position)
        self.state = None
        return state if fits and state is not None and state.policy == policy else None

    def keep(self, trainer: str, position: int, state: DriftState) -> None:
        self.trainer, self.position, self.state = trainer, position, state


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What one call did."""

    closed: tuple[DriftWindow, ...]  # oldest first
    growing: DriftWindow | None  # the open window
    quarantined: tuple[DriftWindow, ...]
    verdicts: tuple[Evidence, ...] = ()  # contests whose verdict is another one now
    compared: int  # comparisons taken in
    position: int  # next log position to read
    more: bool  # there are comparisons left: call again


def judging(
    store: Store,
    clock: Clock,
    settings: Settings,
    trainer: str,
    *,
    finish: bool = False,
    memory: Memory | None = None,
    recorder: Recorder | None = None,
    config_digest: str | None = None,
    contests: "AllSettings | None" = None,
) -> Steps[Judged]:
    """Judge the comparisons that came since the last call, in one unit of work; nothing new changes nothing.

    `finish` says that no more input is to be expected now: the open window is judged as it is, but stays open for
    what a later run brings. `config_digest` is that of all settings, for the record. With all settings as `contests`
    the contests are carried on too, up to what the trainer has learned. Raises NotFoundError for an
    unknown trainer, IntegrityError when a segment is damaged.
    """
    policy = policy_of(settings)
    memory = memory if memory is not None else Memory()
    while True:
        found = _advance(store, policy, trainer, memory)
        heard = None
        if contests is not None:
            heard = evidence.listen(store, contests, trainer, memory.contests, end_seq=found.end)
        final = finish and not found.more and not (heard and heard.more)
        look = _Look(found=found, heard=heard, settings=contests, finish=final, config=config_digest)
        done = yield from _committing(store, clock, look, recorder)
        if done is not None:
            memory.keep(trainer, done.position, found.state)
            if heard is not None:
                memory.contests.keep(trainer, heard.digest, heard.contests)
            return done  # otherwise somebody else judged these comparisons meanwhile: look again


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What the fold made of new comparisons, not committed yet."""

    monitor: Monitor  # as it was read
    state: DriftState
    closed: Sequence[JudgedWindow]
    compared: int
    position: int
    end: int  # all comparisons of log rows before this one have been taken in
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """Everything one commit is made of."""

    found: _Found
    heard: evidence.Heard | None
    settings: "AllSettings | None"  # given with `heard`
    finish: bool
    config: str | None

    @property
    def position(self) -> int:
        """The next log row that is to be judged."""
        return max(self.found.position, self.heard.contests.position if self.heard else 0)

    @property
    def more(self) -> bool:
        return self.found.more or (self.heard is not None and self.heard.more)


def _advance(store: Store, policy: DriftPolicy, trainer: str, memory: Memory) -> _Found:
    with store.read() as reader:
        learned = trainers.get(reader, trainer).log_position  # comparisons up to here are committed
        monitor = monitors.get(reader, trainer)
        state, start = memory.take(trainer, monitor.position, policy), monitor.position
        if state is None:
            state, start = _restart(reader, policy, monitor)
    closed: list[JudgedWindow] = []
    compared, position, more = 0, monitor.position, False
    for table in _parted(comparisons.follow(store, trainer, start), monitor.position):
        is_new = int(table.seq[0]) >= monitor.position
        if is_new and (compared >= ROWS_AT_ONCE or len(closed) >= WINDOWS_AT_ONCE):
            more = True
            break
        closed += state.advance(table)
        if is_new:
            compared, position = compared + len(table), int(table.seq[-1]) + 1
    return _Found(
        monitor=monitor,
        state=state,
        closed=closed,
        compared=compared,
        position=position,
        end=position if more else learned,
        more=more,
    )


def _restart(reader: Reader, policy: DriftPolicy, monitor: Monitor) -> tuple[DriftState, int]:
    """Return the fold as it was when the open window began, and the log position to read from."""
    newest = drift.newest(reader, monitor.trainer, 2)
    is_open = bool(newest) and not newest[0].metadata["final"]
    closed = newest[1:] if is_open else newest
    state = DriftState.resume(policy, closed[0].closed_at_ms if closed else None)
    return state, newest[0].first_seq if is_open else monitor.position


def _parted(tables: Iterable[Comparisons], position: int) -> Iterator[Comparisons]:
    """Cut `tables` at `position`: what was judged before, what is new."""
    for table in tables:
        middle = int(table.seq.searchsorted(position))
        for low, high in ((0, middle), (middle, len(table))):
            if low < high:
                yield table.slice(low, high)


def _committing(store: Store, clock: Clock, look: _Look, recorder: Recorder | None) -> Steps[Judged | None]:
    """Write what was found; None when the monitor has moved since, so that it has to be found again."""
    found, heard = look.found, look.heard
    growing = found.state.open_window() if found.compared or look.finish else None
    is_news = heard is not None and heard.is_news
    if not found.compared and growing is None and not is_news:
        return _judged(look, (), None, ())
    written: _Written | None = yield Unit(actor=ACTOR, work=lambda tx: _write(tx, clock, look, growing))
    if written is None:
        return None
    if heard is not None and heard.outdated and written.is_outdated:
        collect.discard(store.home, heard.outdated, clock.now_ms())
    if recorder is not None:
        _measure(recorder, [row for row in written.changed if row.verdict != "unknown"], written.quarantined)
        evidence_record.measure(recorder, written.evidence)
    final = {row.window_id: row for row in written.quarantined}
    shown = [final.get(row.window_id, row) for row in written.rows]
    judged = _judged(look, shown[: len(found.closed)], shown[-1] if growing else None, written.quarantined)
    return replace(judged, verdicts=written.evidence.changed)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Written:
    """What one commit has written."""

    rows: Sequence[DriftWindow]  # the closed windows and then the open one
    changed: Sequence[DriftWindow]  # those of them that are others than before
    quarantined: Sequence[DriftWindow]
    evidence: evidence_record.Written
    is_outdated: bool  # nothing needs the contests as they were before


def _write(tx: Tx, clock: Clock, look: _Look, growing: JudgedWindow | None) -> _Written | None:
    """Write the rows; None when the monitor has moved."""
    found, heard = look.found, look.heard
    is_news = heard is not None and heard.is_news
    monitor = monitors.get(tx, found.monitor.trainer)
    if (monitor.position, monitor.state_digest) != (found.monitor.position, found.monitor.state_digest):
        return None
    known = {row.window_id: row for row in drift.newest(tx, monitor.trainer, 1)}
    rows = _rows(tx, found, growing, known, finish=look.finish)
    changed = [row for row in rows if known.get(row.window_id) != row]
    drift.put_all(tx, changed)
    failed = [row for row in changed if _begins_quarantine(row, known)]
    quarantined = [
        quarantine.begin(tx, clock, row, _next_pass(row, rows), policy=found.state.policy, config_digest=look.config)
        for row in failed
    ]
    if changed:
        quarantine.extend(tx, clock, monitor.trainer, config_digest=look.config)
    if found.closed:
        drift.prune(tx, monitor.trainer, KEEP_WINDOWS)
    _tell_trainer(tx, clock, monitor.trainer, changed)
    written = evidence_record.Written()
    if heard is not None and is_news and look.settings is not None:
        written = evidence_record.write(tx, clock, look.settings, heard)
    if found.compared or is_news:
        monitors.put(tx, _moved(monitor, look, clock.now_ms()))
    outdated = heard.outdated if heard is not None and is_news else None
    is_outdated = bool(outdated) and not collect.referenced(tx, among=[str(outdated)])
    return _Written(rows=rows, changed=changed, quarantined=quarantined, evidence=written, is_outdated=is_outdated)


def _moved(monitor: Monitor, look: _Look, now_ms: int) -> Monitor:
    return replace(
        monitor,
        position=look.position,
        compared=monitor.compared + look.found.compared,
        state_digest=look.heard.digest if look.heard else monitor.state_digest,
        updated_at_ms=now_ms,
    )


def _judged(
    look: _Look, closed: Sequence[DriftWindow], growing: DriftWindow | None, quarantined: Sequence[DriftWindow]
) -> Judged:
    return Judged(
        closed=tuple(closed),
        growing=growing,
        quarantined=tuple(quarantined),
        compared=look.found.compared,
        position=look.position,
        more=look.more,
    )


def _rows(
    tx: Tx, found: _Found, growing: JudgedWindow | None, known: Mapping[str, DriftWindow], *, finish: bool
) -> list[DriftWindow]:
    """Return the records of the closed windows and then of the open one."""
    trainer, versions = found.monitor.trainer, snapshots.list_for(tx, found.monitor.trainer)
    each = [(window, True) for window in found.closed]
    each += [(growing, False)] if growing else []
    return [
        record(
            trainer,
            window,
            found.state.policy,
            version=newest_version(versions, window.last_seq),
            before=known.get(window_id(trainer, window.first_seq)),
            final=is_final,
            judged_now=is_final or finish,
        )
        for window, is_final in each
    ]


def _begins_quarantine(row: DriftWindow, known: Mapping[str, DriftWindow]) -> bool:
    before = known.get(row.window_id)
    return row.status is DriftStatus.QUARANTINED and (before is None or before.status is not row.status)


def _next_pass(window: DriftWindow, rows: Sequence[DriftWindow]) -> int | None:
    """Return where the first window after `window` that passed begins."""
    return next((row.first_seq for row in rows if row.first_seq > window.first_seq and row.verdict == "pass"), None)


def _tell_trainer(tx: Tx, clock: Clock, name: str, rows: Sequence[DriftWindow]) -> None:
    """Put the P95 of the newest judged window on the trainer's record."""
    scores = [row.p95 for row in rows if row.verdict != "unknown"]
    trainer = trainers.get(tx, name)
    if scores and trainer.drift_score != scores[-1]:
        trainers.put(tx, replace(trainer, drift_score=scores[-1], updated_at_ms=clock.now_ms()))


def _measure(recorder: Recorder, judged: Sequence[DriftWindow], quarantined: Sequence[DriftWindow]) -> None:
    for row in judged:
        about = {"trainer_id": row.trainer, "drift_window_id": row.window_id, "verdict": row.verdict}
        values = {"drift_p95": row.p95, "drift_mean": row.mean, "drift_max": row.max, "sample_count": row.n}
        recorder.record("upm.drift.score", values, about)
    for row in quarantined:
        about = {
            "trainer_id": row.trainer,
            "drift_window_id": row.window_id,
            "recommendation": row.recommendation or "",
        }
        limits: dict[str, Any] = {"trainer_id": row.trainer, "drift_p95": row.p95, "threshold": row.threshold}
        recorder.record("upm.drift.quarantine", limits, about)
