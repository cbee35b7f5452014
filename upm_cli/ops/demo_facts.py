"""What must be true after the demo, found out from the state alone: not from what its commands said."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from upm_cli.core.comparisons import Comparisons
from upm_cli.core.delivery import places
from upm_cli.core.records import (
    Activation,
    Adapter,
    AdapterStatus,
    DriftStatus,
    DriftWindow,
    Incident,
    Override,
    Pin,
    Ring,
    RolloutRow,
    Snapshot,
    Stream,
    Trainer,
)
from upm_cli.core.rollouts.state import Phase
from upm_cli.core.versions import abandoned, tainted_by
from upm_cli.errors import IntegrityError
from upm_cli.ops import audit
from upm_cli.ops.demo import MESSAGES, SHIFT_AT, SPACING_MS, START_MS, TRAINER
from upm_cli.ops.demo_agents import FOLDER, TENANT_OF
from upm_cli.store import (
    activations,
    adapters,
    blobs,
    drift,
    incidents,
    ledger,
    log,
    overrides,
    pins,
    rollouts,
    segments,
    snapshots,
    streams,
    trainers,
)
from upm_cli.store.session import Store

HOUR_MS: Final = 3_600_000
WORKER: Final = "drift-monitor"  # who rolls back what is quarantined and serves
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
    overrides: Sequence[Override]
    rollout: RolloutRow | None
    ledger: Sequence[Mapping[str, Any]]
    incidents: Sequence[Incident]
    windows: Sequence[DriftWindow]
    comparisons: Comparisons
    adapters: Sequence[Adapter]


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
            overrides=overrides.list_for(reader, TRAINER),
            rollout=rollouts.newest(reader, TRAINER),
            ledger=ledger.read(store.home, reader.meta.ledger),
            incidents=incidents.list_for(reader, TRAINER),
            windows=drift.list_for(reader, TRAINER),
            comparisons=Comparisons.concat(compared),
            adapters=adapters.list_all(reader),
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


def _published_on_evidence(state: State) -> Finding:
    said = [entry for entry in state.ledger if entry["action"] in ("evidence.verdict", "snapshot.activate")]
    first = [
        (entry["action"], entry["subject"], entry["details"].get("outcome", {}).get("verdict")) for entry in said[:2]
    ]
    good = f"{TRAINER}@{state.history[0].version}" if state.history else ""
    fine = first == [("evidence.verdict", TRAINER, "pass"), ("snapshot.activate", good, None)]
    return fine, f"its lineage passed against the baseline before {good or 'anything'} was activated"


def _gates_held(state: State) -> Finding:
    closed = [
        {gate for gate, is_open in entry["details"]["outcome"]["gates"].items() if not is_open}
        for entry in state.ledger
        if entry["action"] == "snapshot.refuse"
    ]
    fine = closed[:2] == [{"policy"}, {"evidence"}] and len(closed) == 3 and {"quarantine", "lineage"} <= closed[2]
    return fine, f"closed were {', then '.join(' and '.join(sorted(gates)) for gates in closed) or 'none'}"


def _exceptions_end(state: State) -> Finding:
    given = [(each.gate, each.reason, each.expires_at_ms - each.at_ms) for each in state.overrides]
    gates = [gate for gate, _, _ in given]
    fine = gates == ["policy", "evidence"] and all(reason and ms < HOUR_MS for _, reason, ms in given)
    return fine, f"{' and '.join(gates) or 'none'}, each with its reason and for an hour; the rollback ended them"


def _moves(state: State) -> Finding:
    moves = [(move.ring.value, move.kind, move.version) for move in state.history]
    good, bad = (moves[0][2], moves[1][2]) if len(moves) > 1 else (0, 0)
    wanted = [("global", "activate", good), ("canary", "activate", bad), ("canary", "rollback", good)]
    fine = moves == wanted and good < bad and state.history[-1].actor == WORKER
    return fine, f"v{bad} → v{good} in canary by {state.history[-1].actor if moves else 'nobody'}"


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
    live, canary, pin = state.live.get(Ring.GLOBAL), state.live.get(Ring.CANARY), state.pins.get(Ring.CANARY)
    if live is None or canary is None or pin is None:
        return False, "nothing is live, or nothing is pinned"
    good = state.snapshots[live.version]
    fine = pin.version == canary.version == live.version and not good.quarantined and good.windows <= SHIFT_AT
    return fine, f"v{live.version} for {live.percent} %; the canary is pinned to it"


def _agents_are_back(state: State) -> Finding:
    """Read what the agents themselves left behind, besides what the state says of them."""
    good, models = state.live[Ring.GLOBAL], state.store.home.parent / FOLDER
    said = {}
    for name, tenant in TENANT_OF.items():
        try:
            said[name] = json.loads((models / places.ack(TRAINER, tenant, name)).read_bytes())
        except (OSError, ValueError):
            return False, f"agent {name} has acknowledged nothing"
    digests = {each["digest"] for each in said.values()}
    confirmed = {(row.acked_version, row.status) for row in state.adapters}
    fine = digests == {state.snapshots[good.version].digest} and confirmed == {(good.version, AdapterStatus.SYNCED)}
    told = " and ".join(f"{name} v{each['version']}" for name, each in said.items())
    return fine, f"{told}, by their own word"


def _trainer_is_back(state: State) -> Finding:
    good = state.snapshots[state.live[Ring.GLOBAL].version]
    fine = state.trainer.checkpoint_digest == good.checkpoint_digest and len(state.trainer.lineage) == 1
    return fine, f"its next message is learned on from v{good.version}"


def _next_is_in_shadow(state: State) -> Finding:
    running = state.rollout
    fine = running is not None and (running.phase, running.version) == (Phase.PROGRESSING, None)
    return fine, f"the rollout is {'not begun' if running is None else running.phase} in shadow"


def _on_the_record(state: State) -> Finding:
    try:
        proven = audit.verify(state.store, recomputing=True)
    except IntegrityError as error:
        return False, error.message
    fine = len(state.incidents) == 1 and proven.uncommitted == 0 and proven.recomputed == proven.decisions > 0
    told = f"{proven.recomputed} of {proven.decisions} decisions worked out again"
    return fine, f"{proven.entries} ledger entries in an unbroken chain; {told}; {len(state.incidents)} incident"


_FACTS: Final[tuple[tuple[str, Callable[[State], Finding]], ...]] = (
    ("every message was learned, none was lost", _all_learned),
    ("the model found what makes a message urgent", _found_the_rule),
    ("every snapshot's bytes are what they were", _bytes_are_right),
    ("no hour before the shift was suspected", _nothing_before_the_shift),
    ("the first hour after it was quarantined", _quarantined),
    ("no model that learned from it can go live", _bad_is_barred),
    ("the first model was published on evidence", _published_on_evidence),
    ("the gates refused three times", _gates_held),
    ("two of them were excepted, for a while and with a reason", _exceptions_end),
    ("the bad model was rolled back, and nobody had to", _moves),
    ("the good version is live and pinned", _good_is_live_and_pinned),
    ("its agents serve the good version", _agents_are_back),
    ("the trainer is back on the good lineage", _trainer_is_back),
    ("what comes next is in shadow", _next_is_in_shadow),
    ("all of it is on the record, and recomputes", _on_the_record),
)
