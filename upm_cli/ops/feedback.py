"""Feedback as units of work: predictions and outcomes are joined, compared, and learned from through the stream.

A `FeedbackSession` goes along with the session of an ingest worker and commits with it: source positions, served
comparisons, what waits and the counts are one commit with the windows and labels that were handed to the stream. So
after a crash at any moment lines are read again from where the last commit ended, and count once.
"""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from upm_cli.clock import Clock
from upm_cli.core.feedback.join import NEVER, Join, Joined, JoinPolicy, Match
from upm_cli.core.feedback.lines import Outcome, Prediction
from upm_cli.core.feedback.names import positions_key
from upm_cli.core.feedback.parked import Parked, ParkedLabel
from upm_cli.core.feedback.scoring import ServedScorer, label_columns, label_rows
from upm_cli.core.feedback.served import Served
from upm_cli.core.records import Feedback, Segment, SourcePosition
from upm_cli.core.window import Acted, Influence, Strings, WindowBatch
from upm_cli.errors import IntegrityError, NotFoundError
from upm_cli.ops import feedback_rows, served
from upm_cli.ops.feedback_models import Models
from upm_cli.ops.ingest import IngestSession
from upm_cli.ops.ingest_state import SavedStates
from upm_cli.sources.base import Reject
from upm_cli.sources.feedback import Line, Part
from upm_cli.store import blobs, feedback, log, seen, sources

if TYPE_CHECKING:
    from upm_cli.config.schema import FeedbackSettings
    from upm_cli.store.session import Store, Tx

EVERYTHING: Final = -(1 << 63)  # before every instant


def policy_of(settings: "FeedbackSettings") -> JoinPolicy:
    """Return the policy that the `feedback` settings describe."""
    return JoinPolicy(
        horizon_ms=settings.horizon_ms,
        max_waiting=settings.max_waiting,
        max_known=settings.max_known,
        late_windows=settings.late_windows,
    )


@dataclass(slots=True)
class _Uncommitted:
    """What has been done in memory since the last commit."""

    served: list[Served] = field(default_factory=list)
    positions: dict[str, SourcePosition] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    changed: bool = False


class FeedbackSession:
    """One worker's hold on the feedback of one trainer, beside its hold on the trainer's stream.

    `take` lines, then commit the session of the stream. After any error both are void: open others.
    """

    def __init__(self, store: "Store", clock: Clock, ingest: IngestSession, row: Feedback, state: "_State") -> None:
        self._store, self._clock, self._ingest = store, clock, ingest
        self.row = row  # as committed
        self._state = state
        self._models = Models(store, row.trainer)
        self._work = _Uncommitted()
        self._saved = SavedStates(store.home)
        self._next_seq = row.next_seq
        self._written: tuple[blobs.Blob, Feedback] | None = None  # by a commit on its way
        ingest.companions.append(self)

    @classmethod
    def open(
        cls,
        store: "Store",
        clock: Clock,
        policy: JoinPolicy,
        ingest: IngestSession,
        trainer: str,
        *,
        recall_all: bool = False,
    ) -> "FeedbackSession":
        """Go on with the feedback of `trainer`; the caller holds the session of its stream.

        `recall_all` remembers every prediction that was ever answered. Raises IntegrityError when what was saved is
        damaged, NotFoundError for an unknown trainer.
        """
        with store.read() as reader:
            row = feedback.get(reader, trainer)
        state = _State.load(store, policy, row)
        state.join.recall(*served.answered(store, trainer, EVERYTHING if recall_all else state.join.recall_from_ms))
        self = cls(store, clock, ingest, row, state)
        self.place_labels()
        return self

    @property
    def dirty(self) -> bool:
        """Whether there is anything to commit."""
        return self._work.changed

    @property
    def lines_read(self) -> int:
        """How many lines were ever read, taken ones included."""
        return self.row.read + self._work.counts["read"]

    @property
    def state_bytes(self) -> int:
        """How large the state was that was committed last."""
        return self._saved.newest_bytes

    def positions(self) -> list[SourcePosition]:
        """Return how far each source has been read, taken lines included."""
        with self._store.read() as reader:
            known = {each.key: each for each in sources.list_for(reader, positions_key(self.row.trainer))}
        return list((known | self._work.positions).values())

    def take(self, parts: Sequence[Part], order: Sequence[tuple[int, int]] | None = None) -> None:
        """Take lines. `order`: (part, line) of each in the order in which they count; None: one after the other."""
        if order is None:
            order = [(p, n) for p, part in enumerate(parts) for n in range(len(part.lines))]
        now_ms = self._clock.now_ms()
        for part in parts:
            self._ingest.tell_names(part.decoded)
            if part.position is not None:
                self._work.positions[part.position.key] = replace(part.position, updated_at_ms=now_ms)
        refused = self._take(parts, order)
        self._bury([(parts[p], parts[p].lines[n], reason) for (p, n), reason in refused])

    def retry(self, parts: Sequence[Part]) -> list[str | None]:
        """Take lines, one of each part, that were counted as dead letters.

        Returns why each stays one; None: it does not.
        """
        reasons: list[str | None] = [None] * len(parts)
        order = [(p, 0) for p in range(len(parts))]
        self._work.counts.update(read=-len(parts), dead_letter=-len(parts))
        for (p, _), reason in self._take(parts, order):
            reasons[p] = reason
        left = sum(reason is not None for reason in reasons)
        self._work.counts.update(dead_letter=left)
        return reasons

    def readmit(self, outcomes: Sequence[Outcome]) -> None:
        """Take outcomes of the late ledger; those that find no prediction now either wait for it again."""
        self._work.counts["late"] -= len(outcomes)
        done = self._state.join.readmit(outcomes)
        refused = self._settle(done, {}, [])
        buried = [
            feedback_rows.of_outcome(_whole(match), "late ledger", reason, self.row.trainer, self._clock.now_ms())
            for match, reason in refused
        ]
        self._work.counts.update(dead_letter=len(buried))
        self._ingest.keep(dead=buried)

    def place_labels(self) -> None:
        """Hand the labels to the stream whose window has come meanwhile."""
        self._unpark(self._state.parked.window_ids)

    def _take(self, parts: Sequence[Part], order: Sequence[tuple[int, int]]) -> list[tuple[tuple[int, int], str]]:
        """Take lines in `order`; return those that are of no use, and why. The caller counts these as dead letters."""
        self._work.changed = True
        self._work.counts.update(read=len(order))
        refused: list[tuple[tuple[int, int], str]] = []
        lines: list[Prediction | Outcome] = []
        places: list[tuple[int, int]] = []
        for place in order:
            item = parts[place[0]].lines[place[1]].item
            if isinstance(item, Reject):
                refused.append((place, item.reason))
            elif self._is_elsewhere(item):
                self._work.counts["elsewhere"] += 1
            elif reason := self._models.why_not(item):
                refused.append((place, reason))
            else:
                lines.append(item)
                places.append(place)
        done = self._state.join.take(lines)
        rows = {n: places[n] for n in done.fresh if parts[places[n][0]].lines[places[n][1]].row >= 0}
        for match, reason in self._settle(done, rows, parts):
            refused.append((places[match.line], reason))
        return refused

    def _is_elsewhere(self, item: Prediction | Outcome) -> bool:
        """Say whether a line is for another trainer; an outcome is where its prediction was."""
        made = item if isinstance(item, Prediction) else item.served
        if made is None:
            return item.prediction_id in self._state.elsewhere
        if made.trainer == self.row.trainer:
            return False
        if isinstance(item, Prediction):
            self._state.note_elsewhere(item.prediction_id)
        return True

    def _settle(self, done: Joined, rows: dict[int, tuple[int, int]], parts: Sequence[Part]) -> list[tuple[Match, str]]:
        """Compare what met, hand windows (`rows`: line → place) and labels to the stream, and count it all."""
        work, state = self._work, self._state
        work.changed = True
        labels = label_rows(done.matched)
        table, incomparable = state.scorer.score(done.matched, labels, self._next_seq)
        refused = {each.place: each.reason for each in incomparable}
        state.join.settle(done, refused)
        kept = np.array([place for place in range(len(done.matched)) if place not in refused], np.int64)
        good = [done.matched[place] for place in kept.tolist()]
        if len(table):
            work.served.append(table)
            self._next_seq += len(table)
        late = [*done.late, *done.expired]
        self._ingest.keep(late=[feedback_rows.late_row(outcome, self.row.trainer) for outcome in late])
        work.counts.update(
            predictions=len(done.fresh),
            duplicate=done.duplicate,
            compared=len(good),
            late=len(late),
            forgotten=done.forgotten,
        )
        self._hand_over(rows, parts, good, labels.take(kept))
        work.counts["unused"] += state.parked.expire(state.join.newest_ms)
        return [(done.matched[place], reason) for place, reason in refused.items()]

    def _hand_over(
        self, rows: dict[int, tuple[int, int]], parts: Sequence[Part], good: Sequence[Match], told: WindowBatch
    ) -> None:
        """Push windows and labels (`told`, of `good`) into the stream in the order of their lines; park the others."""
        batch, lines = self._windows(rows, parts)
        labels = replace(told, influence=_acted([(m.prediction.version, m.outcome.acted) for m in good]))
        window_ids = batch.window_id.to_list()
        every = np.concatenate([np.array(lines, np.int64) * 2, np.array([m.line for m in good], np.int64) * 2 + 1])
        arrival = np.argsort(every, kind="stable")
        if every.size:
            done = self._ingest.push(WindowBatch.concat([batch, labels]).take(arrival), keep_late=False)
            self._settle_late(done.late, rows, parts)
            orphans = [good[int(arrival[row]) - len(window_ids)] for row in done.orphan_rows.tolist()]
            self._work.counts.update(labelled=done.labels_joined, unused=done.labels_duplicate)
            self._ingest.retract(orphans=len(orphans))
            self._park(orphans)
        self._unpark(window_ids)

    def _settle_late(self, late: WindowBatch, rows: dict[int, tuple[int, int]], parts: Sequence[Part]) -> None:
        """Append windows that came too late for their place, if repeats of their predictions can be told."""
        if not len(late):
            return
        join = self._state.join
        floor_ms = join.floor_ms if join.policy.late_windows == "append" else sys.maxsize
        made = [parts[p].lines[n].item for p, n in rows.values()]
        young = {each.window_id for each in made if isinstance(each, Prediction) and each.predicted_at_ms >= floor_ms}
        fits = np.array([window_id in young for window_id in late.window_id.to_list()], np.bool_)
        self._ingest.append(late.take(np.flatnonzero(fits)))
        self._ingest.keep_late(late.take(np.flatnonzero(~fits)))

    def _windows(self, rows: dict[int, tuple[int, int]], parts: Sequence[Part]) -> tuple[WindowBatch, list[int]]:
        """Return the windows of predictions that the stream does not have yet, and the numbers of their lines."""
        by_part: dict[int, list[tuple[int, Line]]] = {}
        for number, (p, n) in rows.items():
            by_part.setdefault(p, []).append((number, parts[p].lines[n]))
        batches, lines, versions = [WindowBatch.empty()], [], []
        for p, asked in by_part.items():
            batch = parts[p].decoded.windows.take(np.array([line.row for _, line in asked], np.int64))
            there = np.array(self._ingest.holds(batch.window_id.to_list()), np.bool_)
            self._work.counts["windows"] += len(batch)
            self._ingest.count_duplicates(int(there.sum()))
            kept = np.flatnonzero(~there)
            batches.append(batch.take(kept))
            lines += [asked[row][0] for row in kept.tolist()]
            versions += [getattr(asked[row][1].item, "version", 0) for row in kept.tolist()]
        influence = Influence(np.array(versions, np.int32), np.full(len(versions), Acted.UNKNOWN, np.uint8))
        return replace(WindowBatch.concat(batches), influence=influence), lines

    def _park(self, orphans: Sequence[Match]) -> None:
        """Keep labels whose window has not come."""
        until_ms = self._state.join.newest_ms + self._state.join.policy.horizon_ms
        for match in orphans:
            made, outcome = match.prediction, match.outcome
            label = ParkedLabel(made.window_id, outcome.label, made.version, outcome.acted)
            self._work.counts["unused"] += self._state.parked.add(label, until_ms)

    def _unpark(self, window_ids: Sequence[str]) -> None:
        """Hand labels to the stream whose window it has now."""
        if not len(self._state.parked):
            return
        there = [key for key, held in zip(window_ids, self._ingest.holds(window_ids), strict=True) if held]
        labels = self._state.parked.take(there)
        if not labels:
            return
        batch = label_columns([each.label for each in labels])
        asked = _acted([(each.version, each.acted) for each in labels])
        ids = Strings.of(each.window_id for each in labels)
        done = self._ingest.push(replace(batch, window_id=ids, influence=asked))
        self._work.changed = True
        self._work.counts.update(labelled=done.labels_joined, unused=done.labels_duplicate)

    def _bury(self, refused: Sequence[tuple[Part, Line, str]]) -> None:
        now_ms, trainer = self._clock.now_ms(), self.row.trainer
        self._work.counts["dead_letter"] += len(refused)
        rows = [feedback_rows.of_line(line, part.chunk, reason, trainer, now_ms) for part, line, reason in refused]
        self._ingest.keep(dead=rows)

    def write_files(self, now_ms: int) -> list[Segment]:
        """Write the served comparisons and the state."""
        blob = blobs.put(self._store.home, self._state.encode(self.row.trainer))
        self._written = blob, self._row(blob.digest, now_ms)
        if not self._work.served:
            return []
        table = Served.concat(self._work.served)
        return [log.write_served(self._store.home, self.row.trainer, table, now_ms)]

    def register(self, tx: "Tx", now_ms: int) -> None:
        """Write the row and the positions."""
        assert self._written is not None
        for position in self._work.positions.values():
            sources.put(tx, position)
        feedback.put(tx, self._written[1])
        seen.feedback_changed(tx, self.row, self._written[1])

    def _row(self, state_digest: str, now_ms: int) -> Feedback:
        join, counts = self._state.join, self._work.counts
        row = replace(self.row, **{name: getattr(self.row, name) + count for name, count in counts.items()})
        return replace(
            row,
            outcomes=row.compared + row.late + join.waiting,
            waiting=join.waiting,
            open=join.open,
            parked=len(self._state.parked),
            next_seq=self._next_seq,
            newest_ms=None if join.newest_ms == NEVER else join.newest_ms,
            state_digest=state_digest,
            updated_at_ms=now_ms,
        )

    def committed(self) -> None:
        """Go on from what is durable now."""
        assert self._written is not None
        blob, self.row = self._written
        self._work = _Uncommitted()
        self._saved.add(blob)


@dataclass(slots=True)
class _State:
    """Everything a session has to know to go on, but for the predictions that were answered."""

    join: Join
    parked: Parked
    scorer: ServedScorer = field(default_factory=ServedScorer)
    elsewhere: dict[str, None] = field(default_factory=dict)  # predictions for other trainers

    def note_elsewhere(self, prediction_id: str) -> None:
        self.elsewhere[prediction_id] = None
        if len(self.elsewhere) > self.join.policy.max_waiting:
            del self.elsewhere[next(iter(self.elsewhere))]

    def encode(self, trainer: str) -> bytes:
        """Return the state as JSON. The trainer is part of it, so that no two share a blob."""
        plain = {
            "trainer": trainer,
            "join": self.join.to_plain(),
            "parked": self.parked.to_plain(),
            "scorer": self.scorer.to_plain(),
            "elsewhere": list(self.elsewhere),
        }
        return msgspec.json.encode(plain)

    @classmethod
    def load(cls, store: "Store", policy: JoinPolicy, row: Feedback) -> "_State":
        if row.state_digest is None:
            return cls(Join(policy), Parked(policy.max_waiting))
        try:
            plain: dict[str, Any] = msgspec.json.decode(blobs.get(store.home, row.state_digest))
            return cls(
                Join.from_plain(policy, plain["join"]),
                Parked.from_plain(policy.max_waiting, plain["parked"]),
                ServedScorer.from_plain(plain["scorer"]),
                dict.fromkeys(plain["elsewhere"]),
            )
        except (msgspec.DecodeError, KeyError, ValueError, TypeError, NotFoundError) as exc:
            raise IntegrityError(
                f"what waits of the feedback of trainer {row.trainer} can't be used: {exc}",
                hint="restore .upm/blobs from a backup",
                code="UPM-E098",
                context={"trainer": row.trainer, "digest": row.state_digest},
            ) from exc


def _acted(pairs: Sequence[tuple[int, bool]]) -> Influence:
    version = np.array([version for version, _ in pairs], np.int32)
    return Influence(version, np.array([Acted.YES if acted else Acted.NO for _, acted in pairs], np.uint8))


def _whole(match: Match) -> Outcome:
    """Return an outcome with the prediction it is about."""
    return match.outcome._replace(served=match.prediction)
