"""One contest as the drift monitor runs it: paired losses, how many windows have labels, and when it went wrong.

Around `evidence.Contest` it keeps what only the log knows: windows wait until their labels had their time
(`coverage`), a stage counts only windows that were logged after it began, and the lineage's own share of bad scores is
watched (`misses`). Everything is a fold over log rows, in their order and however they are cut.
"""

from dataclasses import dataclass, replace
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from upm_cli.core.evidence import Contest, EvidencePolicy
from upm_cli.core.judging.coverage import BoolArray, Coverage, due_ms
from upm_cli.core.judging.matches import Match
from upm_cli.core.judging.misses import Misses
from upm_cli.core.window import F64Array, I64Array, Strings

Arrays = dict[str, npt.NDArray[Any]]
_QUEUE: Final = ("due", "seq", "challenger", "champion")


@dataclass(slots=True)
class Rows:
    """n rows of the log, windows and late labels, in columns.

    `seq` (n,) · `start_ms` (n,) of the window · `is_window` (n,) bool, else a label that came later · `labelled` (n,)
    bool, whether the row has a label · `tenant` Strings.
    """

    seq: I64Array
    start_ms: I64Array
    is_window: BoolArray
    labelled: BoolArray
    tenant: Strings

    def __len__(self) -> int:
        return self.seq.size

    def slice(self, start: int, stop: int) -> "Rows":
        cut = slice(start, stop)
        return Rows(
            self.seq[cut], self.start_ms[cut], self.is_window[cut], self.labelled[cut], self.tenant.slice(start, stop)
        )

    def take(self, at: I64Array) -> "Rows":
        return Rows(self.seq[at], self.start_ms[at], self.is_window[at], self.labelled[at], self.tenant.take(at))


@dataclass(slots=True)
class _Queue:
    """Labelled windows that are too young to be judged, in log order. A window also waits for those before it."""

    due: I64Array
    seq: I64Array
    challenger: F64Array
    champion: F64Array
    tenant: Strings

    @classmethod
    def empty(cls) -> "_Queue":
        none = np.zeros(0, np.int64)
        return cls(none, none, np.zeros(0), np.zeros(0), Strings.empty(0))

    def __len__(self) -> int:
        return self.seq.size

    def push(self, more: "_Queue") -> None:
        if not len(self):
            self.due, self.seq, self.challenger, self.champion = more.due, more.seq, more.challenger, more.champion
            self.tenant = more.tenant
            return
        for name in _QUEUE:
            setattr(self, name, np.concatenate([getattr(self, name), getattr(more, name)]))
        self.tenant = Strings.concat([self.tenant, more.tenant])

    def part(self, start: int, stop: int) -> "_Queue":
        cut = slice(start, stop)
        return _Queue(
            self.due[cut], self.seq[cut], self.challenger[cut], self.champion[cut], self.tenant.slice(start, stop)
        )


class Trial:
    """One contest from log row `from_seq` on."""

    def __init__(
        self,
        match: Match,
        policy: EvidencePolicy,
        *,
        from_seq: int,
        floor_ms: int | None,
        stage: int = 0,
    ) -> None:
        self.match = match
        self.from_seq = max(from_seq, match.min_seq)
        self.contest = Contest(policy, stage)
        self.coverage = Coverage(self.from_seq, floor_ms)
        self.misses: Misses | None = Misses() if match.challenger is None else None
        self.floor_ms = floor_ms  # windows that began by then were there before the contest
        self.broken = ""  # why windows could not be scored; such a contest never passes
        self.held: frozenset[str] = frozenset()  # tenants that don't see the challenger any more: they don't count
        self.fresh_from = self.from_seq  # windows of this stage have at least this seq
        self.fresh_first_seq: int | None = None
        self._next_stage: tuple[int, int] | None = None  # stage and its first seq, until older windows are judged
        self._queue = _Queue.empty()
        self._excess = 0.0  # running sum of excess loss beyond the harm margin, and its lowest value so far
        self._lowest = 0.0
        self._is_calm = True  # the last window was where it was lowest
        self._doubt_from = self.from_seq  # the first window after that: harm that was found began there

    @property
    def contest_id(self) -> str:
        return f"{self.match.label}/{self.from_seq}"

    @property
    def policy(self) -> EvidencePolicy:
        return self.contest.policy

    def begin_stage(self, stage: int, from_seq: int, newest_ms: int | None) -> None:
        """Let only windows from log row `from_seq` on count for `stage`."""
        self._next_stage = (stage, from_seq)
        self.coverage = Coverage(from_seq, newest_ms)
        self.fresh_from = from_seq
        self._settle()

    @property
    def stage(self) -> int:
        return self._next_stage[0] if self._next_stage else self.contest.stage

    def advance(
        self, rows: Rows, challenger: F64Array, champion: F64Array, usable: BoolArray, horizon_ms: int, newest_ms: int
    ) -> None:
        """Take the next rows of the log with both losses (n,), NaN where there is none.

        `usable` (n,) says which rows bring a label that both can be held to. `newest_ms` is the greatest start of a
        window up to the last of `rows`.
        """
        rows, losses = self._since(rows, [challenger, champion, usable])
        rows, losses = self._without_held(rows, losses)
        if not len(rows):
            self._release(newest_ms)
            return
        challenger, champion, usable = losses
        fresh = rows.seq >= self.coverage.from_seq
        if self.coverage.floor_ms is not None:
            fresh &= rows.start_ms > self.coverage.floor_ms
        self.coverage.advance(rows.start_ms[fresh], rows.is_window[fresh], usable[fresh], horizon_ms, newest_ms)
        own = rows.labelled if self.floor_ms is None else rows.labelled & (rows.start_ms > self.floor_ms)
        at = np.flatnonzero(own)
        if at.size:
            due = due_ms(rows.start_ms[at], horizon_ms)
            self._queue.push(_Queue(due, rows.seq[at], challenger[at], champion[at], rows.tenant.take(at)))
        self._release(newest_ms)

    def _since(self, rows: Rows, columns: list[Any]) -> tuple[Rows, list[Any]]:
        """Leave out what was logged before the contest began, remembering how far its windows had come."""
        early = int(rows.seq.searchsorted(self.from_seq))
        if not early:
            return rows, columns
        before = rows.start_ms[:early][rows.is_window[:early]]
        if before.size:
            newest = int(before.max())
            self.floor_ms = newest if self.floor_ms is None else max(self.floor_ms, newest)
            self.coverage.floor_ms = self.floor_ms
        return rows.slice(early, len(rows)), [column[early:] for column in columns]

    def _without_held(self, rows: Rows, columns: list[Any]) -> tuple[Rows, list[Any]]:
        """Leave out the windows of tenants that are held back: what harmed them harms them no more."""
        if not self.held or not len(rows):
            return rows, columns
        held = Strings.of(sorted(self.held)).hashes()
        at = np.flatnonzero(~np.isin(rows.tenant.hashes(), held))
        return rows.take(at), [column[at] for column in columns]

    def _release(self, newest_ms: int) -> None:
        """Judge the windows that are old enough, up to the first that is not."""
        young = np.flatnonzero(self._queue.due > newest_ms)
        count = int(young[0]) if young.size else len(self._queue)
        if count:
            ready, self._queue = self._queue.part(0, count), self._queue.part(count, len(self._queue))
            split = int(ready.seq.searchsorted(self._next_stage[1])) if self._next_stage else count
            self._judge(ready.part(0, split))
            if split < count:
                self._settle(force=True)
                self._judge(ready.part(split, count))
        self._settle()

    def _settle(self, *, force: bool = False) -> None:
        """Begin the next stage once no window from before it is waiting."""
        if self._next_stage is None:
            return
        stage, from_seq = self._next_stage
        if force or not len(self._queue) or int(self._queue.seq[0]) >= from_seq:
            self.contest.restart_promote(stage)
            self.fresh_first_seq = None
            self._next_stage = None

    def _judge(self, ready: _Queue) -> None:
        if not len(ready):
            return
        if self.fresh_first_seq is None:
            self.fresh_first_seq = int(ready.seq[0])
        self.contest.advance(ready.seq, ready.tenant, ready.challenger, ready.champion)
        with np.errstate(invalid="ignore"):
            excess = ready.challenger - ready.champion - self.policy.harm_margin
        known = np.isfinite(excess)
        seq = ready.seq[known]
        if not seq.size:
            return
        path = np.add.accumulate(np.concatenate([[self._excess], excess[known]]))
        lows = np.minimum.accumulate(np.concatenate([[self._lowest], path[1:]]))
        calm = np.concatenate([[self._is_calm], path[1:] <= lows[:-1]])
        after = np.flatnonzero(calm[:-1])
        if after.size:
            self._doubt_from = int(seq[after[-1]])
        self._is_calm, self._excess, self._lowest = bool(calm[-1]), float(path[-1]), float(lows[-1])

    @property
    def has_failed(self) -> bool:
        """Whether harm or an alarm was shown: it is judged fail, whatever else is to be said."""
        return (self.misses is not None and self.misses.alarm_seq is not None) or self.contest.has_failed

    @property
    def waiting(self) -> int:
        """Labelled windows that are not judged yet."""
        return len(self._queue)

    def doubt_from(self) -> int:
        """Return the first log row to be doubted after a failure: where what failed was last as it should be."""
        if self.misses is None or self.misses.alarm_seq is None:
            return self._doubt_from
        if self.contest.has_failed:
            return min(self._doubt_from, self.misses.doubt_from)
        return self.misses.doubt_from

    def dump(self) -> tuple[Arrays, dict[str, Any]]:
        """Return the whole state as arrays and JSON values; `load` makes the same trial of them, exactly."""
        arrays, contest = self.contest.dump()
        found = {f"contest.{name}": values for name, values in arrays.items()}
        for name in _QUEUE:
            found[f"queue.{name}"] = np.nan_to_num(getattr(self._queue, name), nan=-1.0)
        found |= {"queue.tenant_at": self._queue.tenant.offsets, "queue.tenants": self._queue.tenant.data}
        meta = {
            "match": self.match.to_json(),
            "contest": contest,
            "coverage": self.coverage.dump(),
            "misses": None if self.misses is None else self.misses.dump(),
            "from_seq": self.from_seq,
            "floor_ms": self.floor_ms,
            "broken": self.broken,
            "fresh_from": self.fresh_from,
            "fresh_first_seq": self.fresh_first_seq,
            "next_stage": self._next_stage,
            "excess": [self._excess, self._lowest],
            "doubt_from": self._doubt_from,
            "is_calm": self._is_calm,
        }
        return found, meta

    @classmethod
    def load(cls, arrays: Arrays, meta: dict[str, Any]) -> Self:
        """Return the trial that was dumped. Raises KeyError or ValueError when the parts are not one's."""
        match = Match.from_json(meta["match"])
        inner = {name.removeprefix("contest."): each for name, each in arrays.items() if name.startswith("contest.")}
        contest = Contest.load(inner, meta["contest"])
        found = cls(match, contest.policy, from_seq=meta["from_seq"], floor_ms=meta["floor_ms"])
        found.contest = contest
        found.coverage = Coverage.load(meta["coverage"])
        found.misses = None if meta["misses"] is None else Misses.load(meta["misses"])
        found.broken, found.fresh_from = meta["broken"], meta["fresh_from"]
        found.fresh_first_seq = meta["fresh_first_seq"]
        found._next_stage = None if meta["next_stage"] is None else (meta["next_stage"][0], meta["next_stage"][1])
        found._excess, found._lowest = meta["excess"]
        found._doubt_from, found._is_calm = meta["doubt_from"], meta["is_calm"]
        tenant = Strings(arrays["queue.tenant_at"], arrays["queue.tenants"])
        due, seq, challenger, champion = (arrays[f"queue.{name}"] for name in _QUEUE)
        found._queue = _Queue(due, seq, _with_nan(challenger), _with_nan(champion), tenant)
        return found


def _with_nan(losses: F64Array) -> F64Array:
    return np.where(losses < 0, np.nan, losses)


def same_rules(one: EvidencePolicy, other: EvidencePolicy) -> bool:
    """Say whether two policies judge alike, whichever candidate they are for."""
    return replace(one, candidate=1, promoted=0) == replace(other, candidate=1, promoted=0)
