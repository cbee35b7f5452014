"""What must be true after the demo, found out from the state alone: not from what its commands said."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from upm_cli.core.comparisons import Comparisons
from upm_cli.core.records import Activation, DriftStatus, DriftWindow, Incident, Pin, Ring, Snapshot, Stream, Trainer
from upm_cli.core.versions import abandoned, tainted_by
from upm_cli.errors import IntegrityError
from upm_cli.ops.demo import MESSAGES, SHIFT_AT, SPACING_MS, START_MS, TRAINER
from upm_cli.store import (
    activations,
    blobs,
    drift,
    incidents,
    ledger,
    log,
    pins,
    segments,
    snapshots,
    streams,
    trainers,
)
from upm_cli.store.session import Store

SHIFT_MS: Final = START_MS + SHIFT_AT * SPACING_MS


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing the demo is to show, whether it is so, and the numbers."""

    fact: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class State:
    """What the project's state says after the demo."""

    store: Store
    trainer: Trainer
    stream: Stream
    snapshots: dict[int, Snapshot]
    history: Sequence[Activation]
    live: dict[Ring, Activation]
    pins: dict[Ring, Pin]
    incidents: Sequence[Incident]
    windows: Sequence[DriftWindow]
    comparisons: Comparisons


def read_state(store: Store) -> State:
    """Read all of it in one consistent view."""
    with store.read() as reader:
        compared = [
            log.read_comparisons(store.home, segment) for segment in segments.list_for(reader, "comparisons", TRAINER)
        ]
        trainer = trainers.get(reader, TRAINER)
        return State(
            store=store,
            trainer=trainer,
            stream=streams.find(reader, trainer.stream) or Stream(name=trainer.stream),
            snapshots={snapshot.version: snapshot for snapshot in snapshots.list_for(reader, TRAINER)},
            history=activations.history(reader, TRAINER),
            live=activations.live(reader, TRAINER),
            pins=pins.live(reader, TRAINER),
            incidents=incidents.list_for(reader, TRAINER),
            windows=drift.list_for(reader, TRAINER),
            comparisons=Comparisons.concat(compared),
        )


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """Mean Brier score of the messages up to the 50th, from there to the 100th, the 200th, … and of the base rate."""

    brier: list[float]
    base_rate: float


def learning_curve(comparisons: Comparisons) -> LearningCurve:
    """Return how the error fell; `comparisons` in log order, more than 50 of them."""
    edges = [0, *(50 << power for power in range(20) if 50 << power < len(comparisons)), len(comparisons)]
    spans = [slice(*pair) for pair in pairwise(edges)]
    return LearningCurve(
        [float(comparisons.brier[span].mean()) for span in spans], float(comparisons.base_brier[spans[-1]].mean())
    )


def check(store: Store) -> list[Fact]:
    """Find out every fact."""
    state = read_state(store)
    return [Fact(name, *find(state)) for name, find in _FACTS]


Finding = tuple[bool, str]


def _all_learned(state: State) -> Finding:
    stream = state.stream
    lost = stream.pending + stream.duplicate + stream.late + stream.dead_letter
    fine = stream.read == MESSAGES == stream.released and lost == 0 and len(state.comparisons) == MESSAGES
    return fine, f"{stream.read:,} read, {len(state.comparisons):,} predicted before they were learned, {lost} lost"


def _found_the_rule(state: State) -> Finding:
    before = state.comparisons.start_ms < SHIFT_MS
    ours, base = state.comparisons.brier[before], state.comparisons.base_brier[before]
    late = slice(len(ours) // 2, None)
    model, guess = float(ours[late].mean()), float(base[late].mean())
    return model < 0.8 * guess, f"Brier score {model:.3f}, of the base rate {guess:.3f}"


def _bytes_are_right(state: State) -> Finding:
    for snapshot in state.snapshots.values():
        try:
            blobs.read(
                state.store.home,
                snapshot.path,
                digest=snapshot.digest,
                file_digest=snapshot.file_digest,
                codec=snapshot.codec,
                raw_bytes=snapshot.raw_bytes,
            )
        except IntegrityError as error:
            return False, error.message
    return len(state.snapshots) >= 2, f"{len(state.snapshots)} snapshots, each with the sha256 it was made with"


def _quarantined(state: State) -> Finding:
    barred = (DriftStatus.QUARANTINED, DriftStatus.RESOLVED)  # the rollback resolves what was quarantined
    bad = [window for window in state.windows if window.status in barred]
    fine = len(bad) >= 1 and bad[0].started_at_ms == SHIFT_MS and bad[0].recommendation == "rollback"
    if not bad:
        return False, "no drift window was quarantined"
    return fine, f"P95 {bad[0].p95:.3f} of {bad[0].n} messages, recommended: {bad[0].recommendation}"


def _nothing_before_the_shift(state: State) -> Finding:
    healthy = [window for window in state.windows if window.closed_at_ms <= SHIFT_MS]
    passed = [window for window in healthy if window.verdict == "pass"]
    return len(passed) == len(healthy) > 0, f"{len(passed)} of {len(healthy)} hours passed"


def _moves(state: State) -> Finding:
    moves = [(move.kind, move.version) for move in state.history if move.ring is Ring.GLOBAL]
    kinds = [kind for kind, _ in moves]
    good, bad = (moves[0][1], moves[1][1]) if len(moves) > 1 else (0, 0)
    fine = kinds == ["activate", "activate", "rollback"] and moves[2][1] == good < bad
    return fine, " → ".join(f"v{version}" for _, version in moves)


def _bad_is_barred(state: State) -> Finding:
    made_since = [snapshot for snapshot in state.snapshots.values() if snapshot.windows > SHIFT_AT]
    left = abandoned(state.snapshots.values(), state.trainer.lineage)
    barred = [
        snapshot
        for snapshot in made_since
        if snapshot.quarantined or tainted_by(snapshot.version, state.trainer.lineage, left)
    ]
    return len(barred) == len(made_since) > 0, f"{len(barred)} of {len(made_since)} snapshots made since the shift"


def _good_is_live_and_pinned(state: State) -> Finding:
    live, pin = state.live.get(Ring.GLOBAL), state.pins.get(Ring.GLOBAL)
    if live is None or pin is None:
        return False, "nothing is live, or nothing is pinned"
    good = state.snapshots[live.version]
    fine = pin.version == live.version and not good.quarantined and good.windows <= SHIFT_AT
    return fine, f"v{live.version} at {live.percent} %, epoch {live.epoch}"


def _trainer_is_back(state: State) -> Finding:
    good = state.snapshots[state.live[Ring.GLOBAL].version]
    fine = state.trainer.checkpoint_digest == good.checkpoint_digest and len(state.trainer.lineage) == 1
    return fine, f"its next message is learned on from v{good.version}"


def _on_the_record(state: State) -> Finding:
    verified = ledger.verify(state.store.home)
    actions = [entry["action"] for entry in ledger.read(state.store.home)]
    incident = state.incidents[-1] if state.incidents else None
    fine = incident is not None and any("rollback" in action for action in actions) and verified.uncommitted == 0
    return fine, f"{verified.entries} ledger entries in an unbroken chain, {len(state.incidents)} incident"


_FACTS: Final[tuple[tuple[str, Callable[[State], Finding]], ...]] = (
    ("every message was learned, none was lost", _all_learned),
    ("the model found what makes a message urgent", _found_the_rule),
    ("every snapshot's bytes are what they were", _bytes_are_right),
    ("no hour before the shift was suspected", _nothing_before_the_shift),
    ("the first hour after it was quarantined", _quarantined),
    ("no model that learned from it can go live", _bad_is_barred),
    ("the newest model went live and was rolled back", _moves),
    ("the good version is live and pinned", _good_is_live_and_pinned),
    ("the trainer is back on the good lineage", _trainer_is_back),
    ("all of it is on the record", _on_the_record),
)
