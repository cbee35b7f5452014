"""The project as it was at an instant, for whoever goes back in time in the dashboard.

Where a kept state tells it, everything is as it was. Before that it is put together from what is never changed
afterwards: the moves of pointers, the ledger, when snapshots were made and comparisons committed. What was not kept
(rates, lags, counts between two snapshots) is then unknown, and said to be.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from upm_cli.clock import Clock, ManualClock
from upm_cli.core.past import Entry, live_at, standing_at
from upm_cli.core.records import (
    Activation,
    DriftStatus,
    DriftWindow,
    Incident,
    Ring,
    RolloutRow,
    Segment,
    Snapshot,
    SnapshotStatus,
    Stream,
)
from upm_cli.ids import iso, parse_iso
from upm_cli.ops import status
from upm_cli.store import activations, drift, incidents, kept, ledger, segments, snapshots

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.store.session import Reader, Store

ENTRIES: Final = 2000  # of the ledger, the newest, that one can step through
TOGETHER_MS: Final = 25  # entries that are no further apart are of one commit, or one act in two


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """An instant at which something was recorded, and what."""

    at_ms: int
    text: str


def moments(store: "Store", limit: int = ENTRIES) -> tuple[Moment, ...]:
    """Return the newest moments at which the ledger grew, oldest first; entries of one commit are one moment."""
    with store.read() as reader:
        head = reader.meta.ledger
    found: list[Moment] = []
    for entry in ledger.newest(store.home, head, limit):
        moment = Moment(at_ms=parse_iso(entry["at"]), text=f"{entry['action']} {entry['subject']}")
        if found and abs(moment.at_ms - found[-1].at_ms) < TOGETHER_MS:
            found.pop()
        found.append(moment)
    return tuple(sorted(found, key=lambda each: each.at_ms))


@dataclass(frozen=True, slots=True, kw_only=True)
class Then:
    """What was known at `at_ms`. `generation`: of the kept state it is read from; None: put together."""

    at_ms: int
    generation: int | None
    store: "Store"  # the kept state, or the live one
    clock: Clock  # stands at the instant
    details: tuple[dict[str, Any], ...]  # of every trainer that existed, worst first, as `upm trainer show`
    entries: tuple[Entry, ...]  # of the ledger, up to the instant

    def snapshots(self, name: str) -> list[Snapshot]:
        """Return the snapshots there were and still are, oldest first, with the state they had."""
        with self.store.read() as reader:
            rows = snapshots.list_for(reader, name)
            history = [] if self.generation is not None else activations.history(reader, name)
        return rows if self.generation is not None else _snapshots(rows, history, self.entries, name, self.at_ms)

    def windows(self, name: str) -> list[DriftWindow]:
        """Return the drift windows that had been judged, oldest first, with the status they had."""
        with self.store.read() as reader:
            return _windows(reader, name, self)

    def close(self) -> None:
        """Let go of the kept state."""
        if self.generation is not None:
            self.store.close()


def look_back(store: "Store", settings: "Settings", at_ms: int) -> Then:
    """Return the project as it was at `at_ms`. Raises UpmError as reading the state does; close what it returns."""
    with store.read() as reader:
        head = reader.meta.ledger
    everything = ledger.read(store.home, head)
    until = tuple(entry for entry in everything if entry["at"] <= iso(at_ms))
    then = Then(at_ms=at_ms, generation=None, store=store, clock=ManualClock(at_ms), details=(), entries=until)
    found = choose(kept.generations(store.home), len(until), at_ms)
    if found is not None and all(entry["n"] <= len(until) for entry in until):
        state = kept.KeptState(store.home, found.path, store.clock)
        then = replace(then, generation=found.number, store=state)
        facts = status.all_facts(state, settings)
        training = {fact.trainer.name for fact in facts if fact.trainer.status == "training"}
    else:
        facts = [_facts(store, fact, then) for fact in status.all_facts(store, settings)]
        facts = [fact for fact in facts if fact.trainer.created_at_ms <= at_ms]
        training = set()
    shown = [status.details_of(settings, fact, is_training=fact.trainer.name in training) for fact in facts]
    return replace(then, details=tuple(status.worst_first(shown)))


def choose(generations: Sequence[kept.Generation], entries: int, at_ms: int) -> kept.Generation | None:
    """Return the kept state of the instant, the ledger of which had `entries` then; None: it is not kept any more.

    The state of an entry is written a moment after the entry's time, so it counts from the entry on.
    """
    fits = [each for each in generations if each.entries == entries]
    before = [each for each in fits if each.written_ms <= at_ms]
    if before:
        return before[-1]
    known = {each.number: each for each in generations}
    wrote_it = [each for each in fits if each.number - 1 in known and known[each.number - 1].entries < entries]
    return wrote_it[0] if wrote_it else None


def _facts(store: "Store", now: status.Facts, then: Then) -> status.Facts:
    """Return the facts of one trainer as they were, from its facts of now and from the record."""
    name, at_ms = now.trainer.name, then.at_ms
    with store.read() as reader:
        history, rows = activations.history(reader, name), snapshots.list_for(reader, name)
        windows = _windows(reader, name, then)
    live = {ring: move for ring, move in live_at(history, at_ms).items() if move.percent or ring is Ring.SHADOW}
    held = standing_at(then.entries, name, iso(at_ms))
    made = _snapshots(rows, history, then.entries, name, at_ms)
    newest = made[-1] if made else None
    trained = newest.windows if newest is not None else 0
    trainer = replace(
        now.trainer,
        desired="pause" if held.paused else "run",
        pause_reason=_pause_reason(then.entries, name) if held.paused else None,
        last_version=newest.version if newest is not None else 0,
        epoch=max((move.epoch for move in live.values()), default=0),
        trained=trained,
        unlabelled=0,
        dead_letter=0,
        loss_sum=0.0,
        last_loss=None,
        drift_score=None,
    )
    return replace(
        now,
        trainer=trainer,
        stream=Stream(name=now.stream.name, read=trained, released=trained),
        live={ring: move.version for ring, move in live.items()},
        percents={ring: move.percent for ring, move in live.items()},
        windows=windows,
        versions=[row.version for row in made],
        quarantined=[version for version in held.quarantined if version in {row.version for row in made}],
        rollout=rollout_row(then.entries, name),
        shadow_s=None,
    )


def _pause_reason(entries: Iterable[Entry], name: str) -> str | None:
    said = [e["details"].get("reason") for e in entries if e["subject"] == name and e["action"] == "trainer.pause"]
    return said[-1] if said else None


def decided(entries: Sequence[Entry], name: str) -> Entry | None:
    """Return the newest entry that says how a rollout of `name` stood; None: none did."""
    found = [e for e in entries if e["subject"] == name and e["action"].startswith("rollout.")]
    told = [e for e in found if isinstance((e["details"].get("outcome") or {}).get("state"), Mapping)]
    return told[-1] if told else None


def rollout_row(entries: Sequence[Entry], name: str) -> RolloutRow | None:
    """Return the newest rollout as its last entry left it."""
    entry = decided(entries, name)
    if entry is None:
        return None
    state = entry["details"]["outcome"]["state"]
    ids = dict.fromkeys(e["details"].get("rollout_id") for e in entries if e["subject"] == name)
    at_ms = parse_iso(entry["at"])
    return RolloutRow(
        rollout_id=str(state["rollout_id"]),
        trainer=name,
        number=len([each for each in ids if each]),
        phase=str(state["phase"]),
        version=state.get("version"),
        champion=state.get("champion"),
        stage=int(state["stage"]),
        state=state,
        actor=str(entry["actor"]),
        reason=str(entry["details"].get("reason") or ""),
        started_at_ms=int(state.get("created_at_ms") or at_ms),
        updated_at_ms=at_ms,
        ended_at_ms=at_ms if state["phase"] in ("promoted", "aborted", "degraded") else None,
    )


def _snapshots(
    rows: Sequence[Snapshot], history: Sequence[Activation], entries: Sequence[Entry], name: str, at_ms: int
) -> list[Snapshot]:
    """Return those of `rows` that had been made, with the status, the pin and the quarantine they had."""
    held = standing_at(entries, name, iso(at_ms))
    return [_snapshot(row, history, held, at_ms) for row in rows if row.created_at_ms <= at_ms]


def _snapshot(row: Snapshot, history: Sequence[Activation], held: Any, at_ms: int) -> Snapshot:
    moves = [move for move in history if move.at_ms <= at_ms]
    served = [move.at_ms for move in moves if move.version == row.version]
    left = [move.kind for move in moves if move.previous_version == row.version]
    state = SnapshotStatus.CREATED
    if any(move.version == row.version for move in live_at(moves, at_ms).values()):
        state = SnapshotStatus.ACTIVATED
    elif left:
        state = SnapshotStatus.ROLLED_BACK if left[-1] == "rollback" else SnapshotStatus.ARCHIVED
    barred = row.version in held.quarantined
    return replace(
        row,
        status=state,
        activated_at_ms=max(served, default=None),
        pinned=row.version in held.pinned,
        quarantined=barred,
        quarantine_reason=row.quarantine_reason if barred else None,
    )


def _windows(reader: "Reader", name: str, then: Then) -> list[DriftWindow]:
    found = drift.list_for(reader, name)
    if then.generation is not None:
        return found
    scored = segments.list_for(reader, "comparisons", name)
    ended = {row.incident_id: row for row in incidents.list_for(reader, name)}
    failed = {
        e["details"]["drift_window_id"]: parse_iso(e["at"]) for e in then.entries if e["action"] == "drift.quarantine"
    }
    return [
        _window(window, ended, then.at_ms)
        for window in found
        if known_at(window, scored, failed, is_barred=window.status in _BARRED) <= then.at_ms
    ]


_BARRED = (DriftStatus.QUARANTINED, DriftStatus.RESOLVED)


def known_at(window: DriftWindow, scored: Sequence[Segment], failed: Mapping[str, int], *, is_barred: bool) -> int:
    """Return when the verdict on a window was known: when it was recorded, or when its last score was committed.

    A file of scores that was merged meanwhile is as young as the merge, so the verdict may seem later than it was.
    """
    if is_barred:
        return failed.get(window.window_id, 1 << 62)
    covering = [each.created_at_ms for each in scored if each.last_seq >= window.last_seq]
    return min(covering) if covering else window.closed_at_ms


def _window(window: DriftWindow, ended: Mapping[str, Incident], at_ms: int) -> DriftWindow:
    """Return a window with the status it had: one that was dealt with later was still quarantined."""
    if window.status is not DriftStatus.RESOLVED:
        return window
    incident = ended.get(str(window.metadata.get("incident_id")))
    return window if incident is None or incident.at_ms <= at_ms else replace(window, status=DriftStatus.QUARANTINED)
