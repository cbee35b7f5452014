"""All contests of a trainer as one fold over the rows of its log.

Up to three run at once: the lineage's, a retrial of it once it failed, and the candidate's. A candidate is frozen, so
when it failed it stays failed. A lineage goes on learning, so the same contest is begun anew behind the windows it
failed on, and takes its place when it passes: until then the verdict is fail. That is looked at every `REVIEW` rows of
the log and nowhere else, so the state depends on the rows alone, not on how they were read.

The whole state is one blob (`dump`); the same rows and matches give the same bytes.
"""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

import numpy as np

from upm_cli.core import snapshot as codec
from upm_cli.core.canonical import canonical_json
from upm_cli.core.comparisons import Comparisons
from upm_cli.core.evidence import EvidencePolicy
from upm_cli.core.judging.coverage import BoolArray
from upm_cli.core.judging.matches import LINEAGE, Wanted
from upm_cli.core.judging.ruling import Rules, Ruling, rule
from upm_cli.core.judging.tenants_seen import TenantsSeen
from upm_cli.core.judging.trial import Arrays, Rows, Trial, same_rules
from upm_cli.core.verdict import Verdict
from upm_cli.core.window import F64Array

REVIEW: Final = 2048  # rows of the log
FORMAT: Final = 1
_PLACES: Final = ("lineage", "retrial", "candidate")
PolicyOf = Callable[[Wanted], EvidencePolicy]


@dataclass(slots=True)
class Losses:
    """Losses (n,) on n rows of the log, NaN where there is none.

    `lineage` and `baseline` come from the comparisons, `compared` (n,) bool says which rows have one; `versions` are
    those of snapshots, `broken` says why some could not be scored.
    """

    lineage: F64Array
    baseline: F64Array
    compared: BoolArray
    versions: Mapping[int, F64Array] = field(default_factory=dict)
    broken: Mapping[int, str] = field(default_factory=dict)

    def slice(self, start: int, stop: int) -> "Losses":
        cut = slice(start, stop)
        versions = {version: losses[cut] for version, losses in self.versions.items()}
        return Losses(self.lineage[cut], self.baseline[cut], self.compared[cut], versions, self.broken)


class Contests:
    """The contests of one trainer. `position`: the next log row to take."""

    def __init__(self) -> None:
        self.position = 0
        self.newest_ms: int | None = None  # greatest start of a window so far
        self.seen = TenantsSeen()
        self.lineage: Trial | None = None
        self.retrial: Trial | None = None
        self.candidate: Trial | None = None

    def arrange(
        self, wanted: list[Wanted], policy_of: PolicyOf, *, from_seq: int = 0, again: Collection[str] = ()
    ) -> None:
        """Open the contests that are wanted, end the others, begin stages.

        A new one begins at log row `from_seq` or at the position, if that is later. Contests whose id is in `again` are
        begun anew: somebody decided that what they found no longer counts.
        """
        by_kind = {each.match.kind: each for each in wanted}
        for kind in ("lineage", "candidate"):
            one, trial = by_kind.get(kind), getattr(self, kind)
            if one is None:
                setattr(self, kind, None)
                continue
            policy = policy_of(one)
            is_same = trial is not None and trial.match == one.match and same_rules(trial.policy, policy)
            if not is_same or trial.contest_id in again:
                setattr(self, kind, self._open(one, policy, from_seq))
                if kind == LINEAGE:
                    self.retrial = None
            elif one.stage != trial.stage or one.since_seq > trial.fresh_from:
                trial.begin_stage(one.stage, max(self.position, one.since_seq), self.newest_ms)
            getattr(self, kind).held = one.held

    def _open(self, one: Wanted, policy: EvidencePolicy, from_seq: int) -> Trial:
        start = 0 if one.match.champion is None and one.match.kind == LINEAGE else from_seq
        start = max(self.position, start, one.since_seq)
        return Trial(one.match, policy, from_seq=start, floor_ms=self.newest_ms, stage=one.stage)

    @property
    def versions(self) -> set[int]:
        """The snapshots that have to be scored."""
        return {version for trial in self._running() for version in trial.match.versions}

    def _running(self) -> list[Trial]:
        lineage = self.retrial or self.lineage
        return [trial for trial in (lineage, self.candidate) if trial is not None]

    def scored_from(self, version: int) -> int:
        """Return the first log row for which the losses of a snapshot are needed."""
        return min(trial.from_seq for trial in self._running() if version in trial.match.versions)

    def advance(self, rows: Rows, end_seq: int, losses: Losses, comparisons: Comparisons, rules: Rules) -> None:
        """Take the log rows up to `end_seq` (exclusive): those that are windows or labels, and their comparisons."""
        start, compared = 0, 0
        while self.position < end_seq:
            stop_seq = min(end_seq, (self.position // REVIEW + 1) * REVIEW)
            stop, until = int(rows.seq.searchsorted(stop_seq)), int(comparisons.seq.searchsorted(stop_seq))
            self._take(rows.slice(start, stop), losses.slice(start, stop), comparisons.slice(compared, until), rules)
            self.position, start, compared = stop_seq, stop, until
            if stop_seq % REVIEW == 0:
                self._review(rules)

    def _take(self, rows: Rows, losses: Losses, comparisons: Comparisons, rules: Rules) -> None:
        if not len(rows):
            return
        starts = rows.start_ms[rows.is_window]
        newest = int(starts.max(initial=-(2**62)))
        self.newest_ms = newest if self.newest_ms is None else max(self.newest_ms, newest)
        self.seen.advance(rows)
        for trial in self._running():
            broken = [losses.broken[version] for version in trial.match.versions if version in losses.broken]
            if broken and int(rows.seq[-1]) >= trial.from_seq:
                trial.broken = broken[0]
            if trial.broken:
                continue
            challenger, champion, usable = _pair(trial, losses)
            usable &= rows.labelled
            trial.advance(rows, challenger, champion, usable, rules.label_horizon_ms, self.newest_ms)
            if trial.misses is not None:
                new = comparisons.slice(int(comparisons.seq.searchsorted(trial.from_seq)), len(comparisons))
                trial.misses.advance(new, rules.drift_threshold, rules.false_alarms, by_regret=rules.by_regret)

    def _review(self, rules: Rules) -> None:
        """Begin a lineage's contest anew where it failed; let the new one stand for it once it passed."""
        running = self.retrial or self.lineage
        if running is None:
            return
        if running.has_failed:
            self.retrial = Trial(
                running.match,
                running.policy,
                from_seq=self.position,
                floor_ms=self.newest_ms,
                stage=running.stage,
            )
        elif self.retrial is not None and rule(self.retrial, rules).verdict is Verdict.PASS:
            self.lineage, self.retrial = self.retrial, None

    def rulings(self, rules: Rules) -> dict[str, Ruling]:
        """Judge the contests as they stand, by kind."""
        shown = {"lineage": self.lineage, "candidate": self.candidate}
        return {kind: rule(trial, rules) for kind, trial in shown.items() if trial is not None}

    def dump(self) -> bytes:
        """Return the whole state as canonical bytes."""
        arrays: Arrays = {}
        parts: dict[str, Any] = {}
        for place in _PLACES:
            trial: Trial | None = getattr(self, place)
            if trial is None:
                continue
            columns, parts[place] = trial.dump()
            arrays |= {f"{place}.{name}": values for name, values in columns.items()}
        meta = {
            "format": FORMAT,
            "position": self.position,
            "newest_ms": self.newest_ms,
            "parts": parts,
            "tenants_past": self.seen.past,
        }
        arrays |= {f"seen.{name}": values for name, values in self.seen.dump().items()}
        arrays["meta"] = np.frombuffer(canonical_json(meta).encode(), np.uint8)
        return codec.encode(arrays, {"schema_version": codec.SCHEMA_VERSION})

    @classmethod
    def load(cls, data: bytes) -> Self:
        """Return the contests that were dumped. Raises ValueError when the bytes are not those of contests."""
        arrays, _ = codec.decode(data)
        try:
            meta = json.loads(arrays["meta"].tobytes())
            if meta["format"] != FORMAT:
                raise ValueError(f"format {meta['format']} of contests is not known")
            found = cls()
            found.position, found.newest_ms = int(meta["position"]), meta["newest_ms"]
            found.seen = TenantsSeen.load(_below(arrays, "seen."), int(meta["tenants_past"]))
            for place, part in meta["parts"].items():
                setattr(found, place, Trial.load(_below(arrays, f"{place}."), part))
        except (KeyError, TypeError) as exc:
            raise ValueError(f"a part of the contests is missing: {exc!r}") from exc
        return found


def _below(arrays: Arrays, prefix: str) -> Arrays:
    return {name.removeprefix(prefix): values for name, values in arrays.items() if name.startswith(prefix)}


def _pair(trial: Trial, losses: Losses) -> tuple[F64Array, F64Array, BoolArray]:
    """Return the losses of challenger and champion, and which rows both can be held to."""
    match = trial.match
    challenger = losses.lineage if match.challenger is None else losses.versions[match.challenger]
    champion = losses.baseline if match.champion is None else losses.versions[match.champion]
    usable = np.ones(challenger.size, np.bool_)
    if match.challenger is None or match.champion is None:
        usable &= losses.compared
    for version in match.versions:
        usable &= np.isfinite(losses.versions[version])
    return challenger, champion, usable
