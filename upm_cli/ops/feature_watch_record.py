"""What a watch over features writes down: its row, the event that other features drift, and what was lost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from upm_cli import ids
from upm_cli.clock import Clock
from upm_cli.core.features.drift import FeatureDrift, Look
from upm_cli.core.features.gate import names
from upm_cli.core.features.tests import Finding
from upm_cli.core.records import FeatureWatch, Trainer
from upm_cli.ops import feature_drift
from upm_cli.ops.feature_drift import ReferenceRows
from upm_cli.store import collect, feature_watches, log, trainers

if TYPE_CHECKING:
    from upm_cli.store.session import Store, Tx

ACTOR: Final = "drift-monitor"
ROWS_AT_ONCE: Final = 500_000  # log rows of one unit of work
NAMED: Final = 100  # drifting features that are written down


@dataclass(slots=True, kw_only=True)
class Going:
    """A watch on its way from one commit to the next."""

    trainer: Trainer
    before: FeatureWatch | None  # as committed
    wanted: ReferenceRows
    terms: str
    reference_digest: str | None = None
    fold: FeatureDrift | None = None  # None: the reference has no windows
    position: int = 0
    is_new: bool = False  # learned just now
    lost: str = ""  # why what was kept could not be used
    look: Look | None = None  # the last one that was closed
    more: bool = False

    def read(self, store: "Store", end: int) -> None:
        """Fold the log up to `end`, or a good part of it."""
        stop = min(end, self.position + ROWS_AT_ONCE)
        self.more = stop < end and self.fold is not None
        if self.fold is None or self.position >= stop:
            return
        for first, batch in log.follow(store, self.trainer.stream, self.position):
            rows = batch if first + len(batch) <= stop else batch.slice(0, stop - first)
            found = self.fold.fold(first, rows)
            self.look = found[-1] if found else self.look
            self.position = first + len(rows)
            if self.position >= stop:
                return


def commit(store: "Store", clock: Clock, going: Going, row: FeatureWatch) -> bool:
    """Write `row` in place of what was there before; False when somebody else has written it meanwhile."""
    before = going.before
    with store.write(actor=ACTOR) as tx:
        trainers.get(tx, row.trainer)  # it may have been removed
        if feature_watches.find(tx, row.trainer) != before:
            return False
        if going.lost:
            tx.ledger("features.restart", row.trainer, reason=going.lost, position=row.position)
        if set(names(before)) != set(names(row)):
            _tell(tx, row, names(before))
        feature_watches.put(tx, row)
        kept = collect.referenced(tx)
    for digest in (before.reference_digest, before.state_digest) if before else ():
        if digest is not None and digest not in kept:
            collect.discard(store.home, digest, clock.now_ms())
    return True


def _tell(tx: "Tx", row: FeatureWatch, before: Sequence[str]) -> None:
    """Send the event that other features drift now than before."""
    worst: Mapping[str, Any] = row.drifting[0] if row.drifting else {}
    tx.event(
        "ai.upm.feature.drift",
        f"/trainers/{row.trainer}",
        trainer_id=row.trainer,
        features=names(row),
        window_start=None if row.look_start_ms is None else ids.iso(row.look_start_ms),
        p=min((one["p"] for one in row.drifting), default=None),
        effect=worst.get("effect"),
        before=list(before),
        version=row.version,
        sample_count=row.windows,
    )


def verdict_of(going: Going) -> tuple[str, str]:
    """Return the verdict but for the names, and why it is unknown. What drifted before counts until the next look."""
    if going.fold is None:
        return "unknown", "there is no window in the reference"
    if going.more:
        return "unknown", "the log is still being read"
    if not going.fold.looks:
        return "unknown", f"fewer than {going.fold.policy.limits.min_windows} windows came since the reference"
    before = going.before
    if going.look is None and before is not None:
        return "fail" if before.drifting else "pass", ""
    return "fail" if going.look is not None and _findings(going.fold, going.look) else "pass", ""


def says(row: FeatureWatch) -> tuple[str, set[str]]:
    """Return what others go by."""
    return row.verdict, set(names(row))


def row_of(store: "Store", clock: Clock, going: Going) -> FeatureWatch:
    """Return the row to commit, without the digest of the fold."""
    verdict, reason = verdict_of(going)
    look, fold, before = going.look, going.fold, going.before
    kept = None if going.is_new else before  # the newest look of the same reference
    drifting = () if kept is None else kept.drifting
    start, end, windows = (None, None, 0) if kept is None else (kept.look_start_ms, kept.look_end_ms, kept.windows)
    looked_at = None if kept is None else kept.looked_at_ms
    if look is not None and fold is not None:
        drifting = _told(store, going.trainer.stream, _findings(fold, look))
        start, end, windows, looked_at = look.span.start_ms, look.span.end_ms, look.windows, clock.now_ms()
        if before is not None and (before.look_start_ms, before.look_end_ms) == (start, end):
            looked_at = before.looked_at_ms  # a look that was judged before, and is judged again
    return FeatureWatch(
        trainer=going.trainer.name,
        version=going.wanted.version,
        first_seq=going.wanted.first_seq,
        last_seq=going.wanted.last_seq,
        terms=going.terms,
        position=going.position,
        reference_digest=going.reference_digest,
        state_digest=None,
        verdict=verdict,
        reason=reason,
        drifting=drifting,
        looks=0 if fold is None else fold.looks,
        windows=windows,
        look_start_ms=start,
        look_end_ms=end,
        looked_at_ms=looked_at,
        updated_at_ms=clock.now_ms(),
    )


def _findings(fold: FeatureDrift, look: Look) -> list[Finding]:
    """Return what the newest look says of the features that drift now, worst first."""
    now = set(fold.drifting().tolist())
    found = [one for one in look.findings if one.feature in now or (one.is_new and one.drifted)]
    return sorted(found, key=lambda one: (-_effect(one), one.feature))


def _effect(one: Finding) -> float:
    return max(one.psi, one.w1 or 0.0)


def _told(store: "Store", stream: str, found: Sequence[Finding]) -> tuple[Mapping[str, Any], ...]:
    shown = found[:NAMED]
    known = feature_drift.names_of(store, stream, {one.feature for one in shown}) if shown else {}
    return tuple(
        {
            "feature": known.get(one.feature, f"#{one.feature:08x}"),
            "p": one.p_adjusted,
            "effect": _effect(one),
            "is_new": one.is_new,
            "flagged": one.drifted,  # by this look; otherwise its detector's alarm is not over
        }
        for one in shown
    )
