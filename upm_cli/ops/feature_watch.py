"""The drift monitor's watch over features: read the log on, and say which of them drift now.

The reference is learned once, and again when another version is live (or the settings are others); every log row after
it is folded into looks (core/features/drift.py). Reference and fold are blobs, committed with the position and what the
newest look found, so a monitor that was killed goes on to the same findings. What was folded is committed at once when
other features drift or the verdict is another one, else once a minute, and at the end.
"""

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from upm_cli.clock import Clock
from upm_cli.core.canonical import canonical_json
from upm_cli.core.features.blob import pack, unpack
from upm_cli.core.features.drift import FeatureDrift, FeaturePolicy, Look, Reference
from upm_cli.core.plain import to_plain
from upm_cli.core.records import FeatureWatch, Ring, Trainer
from upm_cli.core.snapshot import SnapshotFormatError
from upm_cli.errors import IntegrityError, NotFoundError
from upm_cli.ops import feature_drift
from upm_cli.ops.feature_drift import REFERENCE_ROWS, ReferenceRows
from upm_cli.ops.feature_watch_record import Going, commit, row_of, says
from upm_cli.store import activations, blobs, feature_watches, segments, snapshots, trainers

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.store.session import Reader, Store

KEEP_S: Final = 60.0  # what was folded is kept at least this often
MOST: Final = 1000  # features; with more the state would be too large
VALUES: Final = 60_000  # values kept of all features of a look together: 720 kB
FIRST_ROWS: Final = 1000  # of the reference while nothing is live and the log is short


def policy_of(settings: "Settings") -> FeaturePolicy:
    """Return how features are watched: as in a report, but with a state that is bounded."""
    found = feature_drift.policy_of(settings.evidence, settings.drift_monitor.window_duration_ms)
    followed = min(found.max_features, MOST)
    return replace(found, max_features=followed, sample_size=min(found.sample_size, VALUES // max(followed, 1)))


@dataclass(slots=True)
class Memory:
    """The fold of a running monitor between two looks; good as long as nobody else wrote the row."""

    row: FeatureWatch | None = None  # as committed; what was folded since is not
    fold: FeatureDrift | None = None
    position: int = 0
    look: Look | None = None  # the newest, if it has been closed since the commit
    kept_s: float = 0.0

    def take(self, row: FeatureWatch | None) -> FeatureDrift | None:
        """Hand the fold out, if it goes on from `row`. It is forgotten here until it is put back."""
        fold, self.fold = self.fold, None
        return fold if row is not None and row == self.row else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What one call found. `row` is what is committed now; None: nothing yet."""

    row: FeatureWatch | None
    more: bool = False  # there are rows left: call again


def watch(
    store: "Store", clock: Clock, settings: "Settings", name: str, memory: Memory, *, finish: bool = False
) -> Watched:
    """Take in the log rows that came since the last call; nothing new changes nothing.

    `finish`: commit what was folded even if it is not time yet. A reference or a state that is gone or damaged is
    learned anew, which is recorded. Raises NotFoundError for an unknown trainer, IntegrityError when the log is
    damaged.
    """
    policy = policy_of(settings)
    if not policy.max_features:
        return Watched(row=None)
    while True:
        with store.read() as reader:
            trainer, row = trainers.get(reader, name), feature_watches.find(reader, name)
            wanted, end = _wanted(reader, trainer)
        going = _resume(store, trainer, row, wanted, policy, memory)
        if going is None:
            return Watched(row=row)
        going.read(store, end)
        done = _keep(store, clock, going, memory, finish=finish)
        if done is not None:
            return done  # otherwise somebody else has looked meanwhile


def _wanted(reader: "Reader", trainer: Trainer) -> tuple[ReferenceRows | None, int]:
    """Return the rows to learn the reference from, and the end of the log.

    While nothing is live they are the first 10,000 rows once there are twice as many, before that the first 1,000.
    """
    newest = segments.last(reader, "log", trainer.stream)
    end = 0 if newest is None else newest.last_seq + 1
    live = activations.live(reader, trainer.name).get(Ring.GLOBAL)
    if live is not None:
        last = snapshots.get(reader, trainer.name, live.version).last_seq
        return ReferenceRows(first_seq=max(0, last + 1 - REFERENCE_ROWS), last_seq=last, version=live.version), end
    rows = next((rows for rows in (REFERENCE_ROWS, FIRST_ROWS) if end >= 2 * rows), None)
    return None if rows is None else ReferenceRows(first_seq=0, last_seq=rows - 1, version=None), end


def _resume(
    store: "Store",
    trainer: Trainer,
    row: FeatureWatch | None,
    wanted: ReferenceRows | None,
    policy: FeaturePolicy,
    memory: Memory,
) -> Going | None:
    """Return the watch as it was left, or a new one; None while there are too few rows for any."""
    if wanted is None:
        return None
    terms = hashlib.sha256(canonical_json(to_plain(policy)).encode()).hexdigest()
    going = Going(trainer=trainer, before=row, wanted=wanted, terms=terms)
    if row is not None and _is_same(row, wanted, terms):
        going.reference_digest, going.position = row.reference_digest, row.position
        if row.reference_digest is None:
            return going  # there was nothing to learn from
        going.fold, going.position, going.lost = _left(store, row, policy, memory)
        if going.fold is not None:
            going.look = memory.look
            return going
    reference = feature_drift.learn(store, trainer, wanted, policy)
    going.is_new, going.position, going.reference_digest = True, wanted.last_seq + 1, None
    if reference is not None:
        going.reference_digest = blobs.put(store.home, pack(reference.dump())).digest
        going.fold = FeatureDrift(reference, reference.thinned(policy))
    return going


def _is_same(row: FeatureWatch, wanted: ReferenceRows, terms: str) -> bool:
    """Say whether what was kept is of the reference and the policy that are wanted now."""
    kept = ReferenceRows(first_seq=row.first_seq, last_seq=row.last_seq, version=row.version)
    return (kept, row.terms) == (wanted, terms)


def _left(
    store: "Store", row: FeatureWatch, policy: FeaturePolicy, memory: Memory
) -> tuple[FeatureDrift | None, int, str]:
    """Return the fold from memory or as committed, with its position, or why there is none."""
    fold = memory.take(row)
    if fold is not None:
        return fold, memory.position, ""
    memory.look = None
    try:
        return _load(store, row, policy), row.position, ""
    except (IntegrityError, NotFoundError) as exc:
        return None, row.position, exc.message
    except (SnapshotFormatError, ValueError, LookupError) as exc:
        return None, row.position, f"the state of the features can't be read: {exc}"


def _load(store: "Store", row: FeatureWatch, policy: FeaturePolicy) -> FeatureDrift:
    reference = Reference.load(unpack(blobs.get(store.home, str(row.reference_digest))))
    state = unpack(blobs.get(store.home, str(row.state_digest)))
    return FeatureDrift.load(reference, reference.thinned(policy), state)


def _keep(store: "Store", clock: Clock, going: Going, memory: Memory, *, finish: bool) -> Watched | None:
    """Commit what was folded, if it is time; None when the row has been written by somebody else."""
    before, row = going.before, None
    if before is None or going.is_new or going.position != before.position:
        found = row_of(store, clock, going)
        due = finish or clock.monotonic_s() - memory.kept_s >= KEEP_S
        if due or before is None or going.is_new or says(found) != says(before):
            row = found
    if row is not None:
        if going.fold is not None:
            row = replace(row, state_digest=blobs.put(store.home, pack(going.fold.dump())).digest)
        if not commit(store, clock, going, row):
            return None
        before, memory.kept_s, going.look = row, clock.monotonic_s(), None
    memory.row, memory.fold, memory.position, memory.look = before, going.fold, going.position, going.look
    return Watched(row=before, more=going.more)
