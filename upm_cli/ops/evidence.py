"""The drift monitor's contests: read the log on, score who has to be scored, judge, and write down what was found.

The contests (core/judging/contests.py) are a fold over the log, the comparisons and the recorded decisions; their
state is one blob, committed with the monitor's position. So a monitor that was killed goes on to the same findings.

Which snapshots a failure casts doubt on, and which not:
- candidate: the challenger alone. It is frozen, and it alone was scored against the champion.
- lineage: the snapshots of the lineage whose own part of the log lies behind the point where its predictions were last
  as good as they should be, up to where the harm was shown. Never the champion: it was made before the contest began.
- no contest ever speaks against its champion.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from upm_cli.core.comparisons import Comparisons
from upm_cli.core.evidence import EvidencePolicy
from upm_cli.core.judging import matches, paired
from upm_cli.core.judging.contests import Contests, Losses
from upm_cli.core.judging.false_alarms import FalseAlarmBudget
from upm_cli.core.judging.misses import SHARE
from upm_cli.core.judging.ruling import Rules, Ruling
from upm_cli.core.judging.trial import Rows
from upm_cli.core.records import Evidence, Monitor, Snapshot, Trainer
from upm_cli.core.snapshot import SnapshotFormatError
from upm_cli.core.versions import snapshot_id
from upm_cli.core.window import LabelKind, RowKind, WindowBatch
from upm_cli.errors import IntegrityError, NotFoundError
from upm_cli.ops import comparisons
from upm_cli.ops.scoring import Scorers
from upm_cli.store import activations, blobs, evidence, log, monitors, rollouts, snapshots, trainers

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.store.session import Reader, Store

ROWS_AT_ONCE: Final = 500_000  # log rows of one unit of work
PIECE: Final = 65_536  # rows scored at once: bounds memory, changes nothing else
SCALE: Final = 5.0  # the error that counts as a loss of 1, in drift thresholds, unless evidence.loss_scale says


def current(reader: "Reader", trainer: str) -> dict[str, Evidence]:
    """Return what the contests of a trainer last found, by kind: lineage, candidate.

    `findings` is core/judging/findings.py with what core/judging/ruling.py adds: verdict and reasons with all that
    bears on them, `gate` (the number a gate goes by), `labels`, `exceedance`, `fresh_first_seq`, `tenant_names`.
    `windows`, `first_seq` and `last_seq` of the row are those of its stage.
    """
    return evidence.of(reader, trainer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the contests of a trainer go by: the settings, for its task."""

    task: str
    loss_scale: float
    base: EvidencePolicy
    rules: Rules

    @classmethod
    def of(cls, settings: "Settings", trainer: Trainer) -> "Terms":
        """Return the terms that the settings describe; before the task is known those of numbers."""
        found, monitor = settings.evidence, settings.drift_monitor
        task = str(trainer.learner.get("task", "regression"))
        scale = found.loss_scale or SCALE * monitor.drift_threshold
        by_score = monitor.score == "seed"
        base = EvidencePolicy(
            margin=found.margin,
            harm_margin=found.harm_margin,
            tail_margin=found.harm_margin,
            tail_threshold=paired.bad_miss(task, monitor.drift_threshold, scale, by_score=by_score),
            alpha_harm=found.alpha_harm,
            alpha_promote=found.alpha_promote,
            stages=len(settings.rollout.stages),
            clip=found.clip,
            block_size=found.block_size,
            tenant_block_size=found.tenant_block_size,
            max_tenants=found.max_tenants,
            harmed_share=settings.rollout.max_held_share,
        )
        rules = Rules(
            label_horizon_ms=found.label_horizon_ms,
            min_label_coverage=found.min_label_coverage,
            false_alarms=FalseAlarmBudget.parse(found.false_alarms).share(SHARE),
            drift_threshold=monitor.drift_threshold,
            by_regret=task in paired.CLASSES and not by_score,
        )
        return cls(task=task, loss_scale=scale, base=base, rules=rules)

    def policy_of(self, wanted: matches.Wanted) -> EvidencePolicy:
        stages = max(self.base.stages, wanted.stage + 1)
        return replace(self.base, stages=stages, candidate=wanted.candidate, promoted=wanted.promoted)


@dataclass(slots=True)
class Memory:
    """The contests of a running monitor between two looks, good as long as nobody else moved them, and the models."""

    trainer: str = ""
    digest: str | None = None
    contests: Contests | None = None
    scorers: Scorers = field(default_factory=Scorers)

    def take(self, trainer: str, digest: str | None) -> Contests | None:
        """Hand the contests out, if they are the right ones. They are forgotten here until `keep`."""
        contests, self.contests = self.contests, None
        return contests if (self.trainer, self.digest) == (trainer, digest) and digest is not None else None

    def keep(self, trainer: str, digest: str, contests: Contests) -> None:
        self.trainer, self.digest, self.contests = trainer, digest, contests


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What one look found, not committed yet. `blob` holds the state, written already."""

    trainer: str
    contests: Contests
    rulings: Mapping[str, Ruling]
    digest: str
    outdated: str | None  # digest of the state before
    lost: str = ""  # why the state before could not be used
    more: bool = False

    @property
    def is_news(self) -> bool:
        return self.digest != self.outdated


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """One state of the trainer, as far as contests depend on it. `rows`: the snapshots that matter."""

    trainer: Trainer
    monitor: Monitor
    rows: Mapping[int, Snapshot]
    wanted: Sequence[matches.Wanted]
    before: Mapping[str, Evidence]

    @classmethod
    def read(cls, reader: "Reader", name: str) -> "_Seen":
        trainer, before = trainers.get(reader, name), evidence.of(reader, name)
        live, past = activations.live(reader, name), rollouts.list_for(reader, name)
        versions = {version for move in live.values() for version in (move.version, move.rest_version)}
        versions |= {version for row in past[-1:] for version in (row.version, row.champion)}
        versions |= {version for row in before.values() for version in row.findings.get("barred", ())}
        rows = {version: row for version in versions if version and (row := _find(reader, name, version))}
        return cls(
            trainer=trainer,
            monitor=monitors.get(reader, name),
            rows=rows,
            wanted=matches.wanted(trainer, live, past, rows.values()),
            before=before,
        )


def _find(reader: "Reader", name: str, version: int) -> Snapshot | None:
    try:
        return snapshots.get(reader, name, version)
    except NotFoundError:
        return None


def listen(store: "Store", settings: "Settings", name: str, memory: Memory, *, end_seq: int) -> Heard:
    """Read the log on up to `end_seq`, and judge. Nothing but a blob is written.

    The trainer has learned from all rows before `end_seq` (exclusive), and its comparisons of them are committed.

    A state that is gone or damaged is no reason to stop: the contests begin anew, which is recorded, and until they
    have judged enough their verdict is unknown. Raises IntegrityError when the log or the comparisons are damaged.
    """
    with store.read() as reader:
        seen = _Seen.read(reader, name)
    terms = Terms.of(settings, seen.trainer)
    contests, lost = _state(store, seen.monitor, memory)
    broken = _broken(store, memory.scorers, seen)
    contests.arrange(
        list(seen.wanted), terms.policy_of, from_seq=seen.monitor.position, again=_again(contests, seen, broken)
    )
    stop = min(end_seq, contests.position + ROWS_AT_ONCE)
    for first, batch, table in _pieces(store, seen.trainer, contests.position, stop):
        _take(store, memory.scorers, seen, terms, contests, broken, first, batch, table)
    data = contests.dump()
    digest = hashlib.sha256(data).hexdigest()
    if digest != seen.monitor.state_digest:
        blobs.put(store.home, data)
    return Heard(
        trainer=name,
        contests=contests,
        rulings=contests.rulings(terms.rules),
        digest=digest,
        outdated=seen.monitor.state_digest,
        lost=lost,
        more=stop < end_seq,
    )


def _state(store: "Store", monitor: Monitor, memory: Memory) -> tuple[Contests, str]:
    """Return the contests as they were committed, or new ones and why."""
    found = memory.take(monitor.trainer, monitor.state_digest)
    if found is not None:
        return found, ""
    if monitor.state_digest is None:
        return Contests(), ""
    try:
        return Contests.load(blobs.get(store.home, monitor.state_digest)), ""
    except (IntegrityError, NotFoundError) as exc:
        return Contests(), exc.message
    except (SnapshotFormatError, ValueError) as exc:
        return Contests(), f"the state of the contests can't be read: {exc}"


def _again(contests: Contests, seen: _Seen, broken: Mapping[int, str]) -> set[str]:
    """Return the contests to begin anew: those whose snapshots can be scored again, or were released by somebody."""
    found = set()
    for kind in (matches.LINEAGE, matches.CANDIDATE):
        trial = getattr(contests, kind)
        if trial is None:
            continue
        if trial.broken and not any(version in broken for version in trial.match.versions):
            found.add(trial.contest_id)
        row = seen.before.get(kind)
        if row is not None and row.contest_id == trial.contest_id:
            barred = [seen.rows[version] for version in row.findings.get("barred", ()) if version in seen.rows]
            if any(not shot.quarantined for shot in barred):
                found.add(trial.contest_id)
    return found


def _broken(store: "Store", scorers: Scorers, seen: _Seen) -> dict[int, str]:
    """Return the versions that are needed and can't be scored, and why."""
    found = {}
    for version in sorted({version for each in seen.wanted for version in each.match.versions}):
        row = seen.rows.get(version)
        if row is None:
            found[version] = f"{snapshot_id(seen.trainer.name, version)} is gone, so it can't be scored"
            continue
        try:
            scorers.get(store.home, row)
        except IntegrityError as exc:
            found[version] = f"it can't be scored: {exc.message}"
    return found


def _pieces(store: "Store", trainer: Trainer, start: int, stop: int) -> Iterator[tuple[int, WindowBatch, Comparisons]]:
    """Yield the log rows from `start` to `stop`, with the first seq and the comparisons of each piece."""
    if start >= stop:
        return
    tables = comparisons.follow(store, trainer.name, start)
    held = Comparisons.empty()
    for first, batch in log.follow(store, trainer.stream, start):
        for at in range(0, min(len(batch), stop - first), PIECE):
            until = min(at + PIECE, len(batch), stop - first)
            parts = [held]
            while not len(parts[-1]) or int(parts[-1].seq[-1]) < first + until - 1:
                table = next(tables, None)
                if table is None:
                    break
                parts.append(table)
            held = Comparisons.concat([part for part in parts if len(part)])
            cut = int(held.seq.searchsorted(first + until))
            yield first + at, batch.slice(at, until), held.slice(0, cut)
            held = held.slice(cut, len(held))
        if first + len(batch) >= stop:
            return


def _take(
    store: "Store",
    scorers: Scorers,
    seen: _Seen,
    terms: Terms,
    contests: Contests,
    broken: Mapping[int, str],
    first: int,
    batch: WindowBatch,
    table: Comparisons,
) -> None:
    """Score one piece of the log and hand it to the contests."""
    end = first + len(batch)
    at = np.flatnonzero(batch.kind <= RowKind.LABEL)
    if at.size < len(batch):
        batch = batch.take(at)
    labelled = batch.label_kind != LabelKind.NONE
    rows = Rows(at + first, batch.start_ms, batch.kind == RowKind.WINDOW, labelled, batch.tenant)
    challenger, baseline = paired.of_comparisons(table, terms.task, terms.loss_scale)
    where = rows.seq.searchsorted(table.seq)
    columns = [np.full(len(rows), np.nan), np.full(len(rows), np.nan)]
    compared = np.zeros(len(rows), np.bool_)
    columns[0][where], columns[1][where], compared[where] = challenger, baseline, True
    losses = {}
    for version in contests.versions:
        due = np.flatnonzero(labelled & (rows.seq >= contests.scored_from(version)))
        if version in broken:
            losses[version] = np.full(len(rows), np.nan)
        else:
            scorer = scorers.get(store.home, seen.rows[version])
            losses[version] = scorer.losses(batch, due, terms.loss_scale)
    contests.advance(rows, end, Losses(columns[0], columns[1], compared, losses, broken), table, terms.rules)
