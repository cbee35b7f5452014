"""Predictions and outcomes, in the order in which they were read → those that belong together, each of them once.

Defined for one line at a time, so that nothing depends on how lines are cut into batches. Time is the greatest
instant that a line has told (`newest_ms`); nothing looks at a clock. A line that comes

1. as a prediction whose id has come as one, or as an outcome whose id has come as one, is a duplicate and dropped (but
   if the first outcome waits and the second brings the prediction along, the first meets that);
2. as an outcome whose prediction is known, or that brings it along, meets it, unless that prediction was made before
   the floor: then it is late, for the late ledger, as a repeat of it could not be told from it any more;
3. as an outcome of an unknown prediction waits for `horizon_ms`, and is late then;
4. as a prediction meets the outcome that waits for it, or else waits for one for `horizon_ms`; then it is forgotten.

The floor is `newest_ms - horizon_ms`, or higher where more than `max_known` predictions that were answered are to be
remembered. At most `max_waiting` predictions wait, and as many outcomes: the one that waits longest gives way.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Self

import numpy as np

from upm_cli.core.feedback.lines import Label, Outcome, Prediction
from upm_cli.core.seen import SeenIds
from upm_cli.core.window import I64Array, LabelKind, Strings

NEVER: Final = -(1 << 62)
BUCKET_MS: Final = 60_000  # ids that were answered are counted, and forgotten when there are too many, by the minute


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinPolicy:
    """How long predictions and outcomes wait for each other. Names are those of the `feedback` section."""

    horizon_ms: int = 7 * 86_400_000
    max_waiting: int = 100_000
    max_known: int = 1_000_000

    def __post_init__(self) -> None:
        for name in ("horizon_ms", "max_waiting", "max_known"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


class Match(NamedTuple):
    """A prediction and its outcome; `line` is the number of the line that brought them together."""

    line: int
    prediction: Prediction
    outcome: Outcome


@dataclass(slots=True)
class Joined:
    """What became of some lines, by their numbers."""

    fresh: list[int] = field(default_factory=list)  # predictions that came for the first time
    matched: list[Match] = field(default_factory=list)  # in the order in which they met
    late: list[Outcome] = field(default_factory=list)
    expired: list[Outcome] = field(
        default_factory=list
    )  # waited in vain: late as well, and had been counted as waiting
    duplicate: int = 0
    forgotten: int = 0  # predictions that waited in vain
    known: dict[str, int] = field(default_factory=dict)  # id of each line → when its prediction was made, if answered


class Join:
    """The state of the join: what waits, and which predictions were answered."""

    def __init__(self, policy: JoinPolicy) -> None:
        self.policy = policy
        self.newest_ms = NEVER
        self._least_ms = NEVER  # the floor is not below it
        self._open: dict[str, tuple[Prediction, int]] = {}  # with the time it waits until; the longest wait first
        self._waiting: dict[str, tuple[Outcome, int]] = {}
        self._unheard: dict[str, int] = {}  # answered by an outcome that brought its prediction: that may still come
        self._answered = SeenIds()
        self._counts: dict[int, int] = {}  # answered predictions of each bucket of time
        self._known = 0

    @property
    def open(self) -> int:
        """How many predictions wait for an outcome."""
        return len(self._open)

    @property
    def waiting(self) -> int:
        """How many outcomes wait for their prediction."""
        return len(self._waiting)

    @property
    def floor_ms(self) -> int:
        """An outcome of a prediction made before it is late."""
        return max(self.newest_ms - self.policy.horizon_ms, self._least_ms, NEVER + 1)

    def take(self, lines: Sequence[Prediction | Outcome]) -> Joined:
        """Take lines in the order in which they came. Call `settle` with the result before the next lines."""
        done = self._begin(lines)
        for number, line in enumerate(lines):
            if isinstance(line, Prediction):
                self._take_prediction(number, line, done)
            else:
                self._take_outcome(number, line, done, self.floor_ms)
            if line.time_ms > self.newest_ms:
                self.newest_ms = line.time_ms
                self._expire(done)
        return done

    def readmit(self, outcomes: Sequence[Outcome]) -> Joined:
        """Take outcomes that had been late: they are wanted after all, whenever their prediction was made.

        A repeat of one that was ever answered is only found if all of them were recalled.
        """
        done = self._begin(outcomes)
        for number, outcome in enumerate(outcomes):
            self._take_outcome(number, outcome, done, NEVER + 1)
        return done

    def settle(self, done: Joined, refused: Collection[int] = ()) -> None:
        """Remember what was answered, but for the matches at the places `refused`, which were of no use."""
        kept = [match for place, match in enumerate(done.matched) if place not in refused]
        for place in refused:
            self._count(done.matched[place].prediction.predicted_at_ms, -1)
        ids = Strings.of(match.outcome.prediction_id for match in kept)
        times = np.array([match.prediction.predicted_at_ms for match in kept], np.int64)
        self._answered.admit(ids, times, np.full(times.size, NEVER), min([self.floor_ms, *times.tolist()]))
        while self._counts and (oldest := min(self._counts)) * BUCKET_MS + BUCKET_MS <= self.floor_ms:
            self._drop_bucket(oldest)

    def recall(self, ids: Strings, times_ms: I64Array) -> None:
        """Remember predictions as answered, (n,) each, when the state was restored; see `recall_from_ms`."""
        buckets, counts = np.unique(times_ms // BUCKET_MS, return_counts=True)
        for bucket, count in zip(buckets.tolist(), counts.tolist(), strict=True):
            self._count(bucket * BUCKET_MS, count)
        self._answered.admit(ids, times_ms, np.full(times_ms.size, NEVER), NEVER)

    @property
    def recall_from_ms(self) -> int:
        """Answered predictions made at or after it have to be recalled when the state is restored."""
        return self.floor_ms // BUCKET_MS * BUCKET_MS

    def _begin(self, lines: Sequence[Prediction | Outcome]) -> Joined:
        known = self._answered.starts_of(Strings.of(line.prediction_id for line in lines))
        return Joined(known={line.prediction_id: ms for line, ms in zip(lines, known.tolist(), strict=True)})

    def _take_prediction(self, number: int, line: Prediction, done: Joined) -> None:
        key = line.prediction_id
        if key in self._unheard:
            del self._unheard[key]
            done.fresh.append(number)
        elif done.known[key] >= self.floor_ms or key in self._open:
            done.duplicate += 1
        elif key in self._waiting:
            done.fresh.append(number)
            outcome, _ = self._waiting.pop(key)
            self._meet(Match(number, line, outcome), done, self.floor_ms)
        else:
            done.fresh.append(number)
            self._open[key] = line, self._until(line)
            if len(self._open) > self.policy.max_waiting:
                del self._open[next(iter(self._open))]
                done.forgotten += 1

    def _take_outcome(self, number: int, line: Outcome, done: Joined, floor_ms: int) -> None:
        key = line.prediction_id
        if done.known[key] >= floor_ms:
            done.duplicate += 1
        elif key in self._waiting:
            done.duplicate += 1
            if line.served is not None:
                self._meet_brought(Match(number, line.served, self._waiting.pop(key)[0]), done, floor_ms)
        elif key in self._open:
            prediction, _ = self._open.pop(key)
            self._meet(Match(number, prediction, line), done, floor_ms)
        elif line.served is not None:
            self._meet_brought(Match(number, line.served, line), done, floor_ms)
        else:
            self._waiting[key] = line, self._until(line)
            if len(self._waiting) > self.policy.max_waiting:
                done.expired.append(self._waiting.pop(next(iter(self._waiting)))[0])

    def _meet_brought(self, match: Match, done: Joined, floor_ms: int) -> None:
        """Let an outcome meet a prediction whose own line may still come."""
        if self._meet(match, done, floor_ms):
            self._unheard[match.outcome.prediction_id] = self._until(match.outcome)
            if len(self._unheard) > self.policy.max_waiting:
                del self._unheard[next(iter(self._unheard))]

    def _meet(self, match: Match, done: Joined, floor_ms: int) -> bool:
        """Let a prediction and its outcome meet, unless that comes too late; say whether they did."""
        made_ms = match.prediction.predicted_at_ms
        if made_ms < floor_ms:
            done.late.append(match.outcome._replace(served=match.prediction))
            return False
        done.matched.append(match)
        done.known[match.outcome.prediction_id] = made_ms
        self._count(made_ms, 1)
        while self._known > self.policy.max_known:
            self._drop_bucket(min(self._counts))
        return True

    def _count(self, made_ms: int, count: int) -> None:
        """Count an answered prediction, or one that is none after all, if its minute is still known of."""
        bucket = made_ms // BUCKET_MS
        if count > 0 or bucket in self._counts:
            self._counts[bucket] = self._counts.get(bucket, 0) + count
            self._known += count

    def _until(self, line: Prediction | Outcome) -> int:
        return max(self.newest_ms, line.time_ms) + self.policy.horizon_ms

    def _expire(self, done: Joined) -> None:
        """Let go of what has waited long enough."""
        while self._open and next(iter(self._open.values()))[1] < self.newest_ms:
            del self._open[next(iter(self._open))]
            done.forgotten += 1
        while self._waiting and next(iter(self._waiting.values()))[1] < self.newest_ms:
            done.expired.append(self._waiting.pop(next(iter(self._waiting)))[0])
        while self._unheard and next(iter(self._unheard.values())) < self.newest_ms:
            del self._unheard[next(iter(self._unheard))]

    def _drop_bucket(self, bucket: int) -> None:
        """Forget the answered predictions of one minute: from now on what is that old is late."""
        self._known -= self._counts.pop(bucket)
        self._least_ms = max(self._least_ms, (bucket + 1) * BUCKET_MS)

    def to_plain(self) -> dict[str, Any]:
        """Return the state as what JSON knows, but for the answered predictions: see `recall`."""
        return {
            "newest_ms": self.newest_ms,
            "least_ms": self._least_ms,
            "open": [[*prediction, until] for prediction, until in self._open.values()],
            "waiting": [[*_plain(outcome), until] for outcome, until in self._waiting.values()],
            "unheard": [*self._unheard.items()],
        }

    @classmethod
    def from_plain(cls, policy: JoinPolicy, plain: dict[str, Any]) -> Self:
        """Return the join that `to_plain` was called on; `policy` may be another one."""
        self = cls(policy)
        self.newest_ms, self._least_ms = plain["newest_ms"], plain["least_ms"]
        self._open = {row[0]: (Prediction(*row[:-1]), row[-1]) for row in plain["open"]}
        self._waiting = {row[0]: (_outcome(row[:-1]), row[-1]) for row in plain["waiting"]}
        self._unheard = dict(plain["unheard"])
        return self


def _plain(outcome: Outcome) -> list[Any]:
    """Return an outcome that waits (it has no prediction with it) as a row."""
    label = outcome.label
    told = [outcome.acted, outcome.observed_at_ms, outcome.agent]
    return [outcome.prediction_id, int(label.kind), label.plain_value, label.text, *told]


def _outcome(row: Sequence[Any]) -> Outcome:
    key, kind, value, text, acted, observed_at_ms, agent = row
    label = Label(LabelKind(kind), float("nan") if value is None else value, text)
    return Outcome(key, label, acted, observed_at_ms, agent)
