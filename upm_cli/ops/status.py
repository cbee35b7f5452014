"""What people want to know at a glance: the read model of `upm status`, `upm trainer show` and the dashboard."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from upm_cli.clock import Clock
from upm_cli.core.records import (
    DriftStatus,
    DriftWindow,
    Feedback,
    Mode,
    Ring,
    RolloutRow,
    Segment,
    Snapshot,
    Stream,
    Trainer,
)
from upm_cli.ids import iso
from upm_cli.ops import adapter_view, losses, problems, supervisor
from upm_cli.ops.influence import influence_of
from upm_cli.ops.states import ORDER
from upm_cli.ops.trainers import train_lease, workers_of
from upm_cli.store import (
    activations,
    drift,
    dwells,
    feedback,
    lease,
    rollouts,
    runfiles,
    seen,
    segments,
    snapshots,
    streams,
    trainers,
)
from upm_cli.store.seen import Seen

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.store.session import Reader, Store

_FEEDBACK: Final = (
    *("read", "predictions", "outcomes", "duplicate", "dead_letter", "elsewhere"),
    *("compared", "waiting", "late", "open", "forgotten", "windows", "labelled", "parked", "unused"),
)


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything one trainer's status is made of, read in one transaction."""

    trainer: Trainer
    stream: Stream
    live: Mapping[Ring, int]
    percents: Mapping[Ring, int]
    windows: list[DriftWindow]
    versions: list[int]
    last_segment: Segment | None
    quarantined: list[int]
    rollout: RolloutRow | None  # the newest one
    shadow_s: float | None  # accumulated time of the lineage in shadow
    feedback: Feedback
    seen: Seen  # of its dead letters


def window_counts(trainer: Trainer, stream: Stream) -> dict[str, int]:
    """Return where every window that was ever read is now; the places add up to `read`.

    Pending are those in the replay buffer and those in the log that the trainer has not consumed yet.
    """
    consumed = trainer.trained + trainer.unlabelled + trainer.dead_letter
    return {
        "read": stream.read,
        "trained": trainer.trained,
        "unlabelled": trainer.unlabelled,
        "pending": stream.pending + stream.released - consumed,
        "duplicate": stream.duplicate,
        "late": stream.late,
        "dead_letter": stream.dead_letter + trainer.dead_letter,
    }


def feedback_counts(row: Feedback) -> dict[str, int]:
    """Return where every line is that was read of agents; see docs/howto/feedback.md for how they add up."""
    return {name: getattr(row, name) for name in _FEEDBACK}


def dead_letter_counts(facts: Facts) -> dict[str, int]:
    """Return how many dead letters there are, of windows and of lines of agents, and how many nobody has looked at."""
    total = facts.stream.dead_letter + facts.trainer.dead_letter + facts.feedback.dead_letter
    unseen = facts.seen.left(facts.stream, facts.trainer, facts.feedback)
    return {"total": total, "unseen": unseen}


def all_trainers(store: "Store", settings: "Settings") -> list[dict[str, Any]]:
    """Return the details of every trainer, worst first."""
    facts = all_facts(store, settings)
    return worst_first([_details(store, settings, fact) for fact in facts])


def all_facts(store: "Store", settings: "Settings") -> list[Facts]:
    """Return the facts of every trainer, those that the configuration names and that never ran too."""
    with store.read() as reader:
        known = {trainer.name: trainer for trainer in (*configured(settings), *trainers.list_all(reader))}
        return [_facts(reader, trainer) for trainer in known.values()]


def worst_first(shown: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the details of trainers so that what needs a person stands on top."""
    return sorted(shown, key=lambda row: (ORDER.get(row["state"], 9), row["name"]))


def trainer_details(store: "Store", settings: "Settings", name: str) -> dict[str, Any]:
    """Return everything `upm trainer show` prints. Raises NotFoundError for an unknown name."""
    with store.read() as reader:
        defaults = {trainer.name: trainer for trainer in configured(settings)}
        facts = _facts(reader, trainers.find(reader, name) or defaults.get(name) or trainers.get(reader, name))
    return _details(store, settings, facts)


def train_result(store: "Store", details: Mapping[str, Any], *, since_version: int) -> dict[str, Any]:
    """Return what `upm train` prints: the trainer's counts over its life, and the snapshots made since."""
    with store.read() as reader:
        made = [s.version for s in snapshots.list_for(reader, details["name"]) if s.version > since_version]
        logged = segments.list_for(reader, "log", details["stream"])
    return {
        "trainer": details["name"],
        "mode": details["mode"],
        "windows": details["windows"],
        "loss": details["loss"],
        "metrics": details["metrics"],
        "log": {
            "first_seq": logged[0].first_seq if logged else None,
            "last_seq": details["log_position"] - 1 if details["log_position"] else None,
        },
        "snapshots": made,
        "weights_sha256": details["weights_sha256"],
    }


def overview(store: "Store", clock: Clock, settings: "Settings") -> dict[str, Any]:
    """Return what `upm status` prints: workers, trainers worst first, adapters, problems with what to do next."""
    shown = all_trainers(store, settings)
    now = clock.now_ms()
    with store.read() as reader:
        fleet = adapter_view.overview(reader, settings, now)
    found = overview_of(store, shown, all_workers(store, now), now)
    return {**found, "adapters": fleet, "problems": [*found["problems"], *adapter_view.problems(fleet)]}


def overview_of(
    store: "Store", shown: Sequence[Mapping[str, Any]], workers: list[dict[str, Any]], now_ms: int
) -> dict[str, Any]:
    """Return the overview of trainers and workers that were read already; of itself it reads only a note in run/."""
    running = supervisor.line(store, now_ms)
    given_up = [] if running is None else running["problems"]
    return {
        "at": iso(now_ms),
        "home": str(store.home),
        "supervisor": running,
        "workers": workers,
        "trainers": [_row(details, workers, now_ms) for details in shown],
        "problems": [
            *({"trainer": "supervisor", "problem": said, "next": "upm ps"} for said in given_up),
            *(problem for details in shown for problem in problems.of_trainer(details)),
        ],
    }


def all_workers(store: "Store", now_ms: int) -> list[dict[str, Any]]:
    """Return what each worker says of itself in its status file, whether it is alive, and how old that is."""
    return [_worker(store, status, now_ms) for status in runfiles.whole_statuses(store.home)]


def being_trained(store: "Store", names: Iterable[str]) -> frozenset[str]:
    """Return those of the trainers `names` that somebody trains now: what the state itself does not tell."""
    return frozenset(name for name in names if lease.holder(store.home, train_lease(name)) is not None)


def has_run(reader: "Reader", name: str) -> bool:
    """Say whether the trainer is in the state, not only in the configuration."""
    return trainers.find(reader, name) is not None


def snapshots_of(store: "Store", name: str) -> list[Snapshot]:
    """Return the snapshots of a trainer, oldest first."""
    with store.read() as reader:
        return snapshots.list_for(reader, name)


def configured(settings: "Settings") -> Iterator[Trainer]:
    """Yield the trainers of the configuration as they are before their first run."""
    for default in settings.supervisor.default_trainers:
        yield Trainer(name=default.name, stream=default.name, mode=Mode(default.mode), tenant_id=default.tenant_id)


def _facts(reader: "Reader", trainer: Trainer) -> Facts:
    live = activations.live(reader, trainer.name)
    known = snapshots.list_for(reader, trainer.name)
    logged = segments.list_for(reader, "log", trainer.stream)
    return Facts(
        trainer=trainer,
        stream=streams.find(reader, trainer.stream) or Stream(name=trainer.stream),
        live={ring: activation.version for ring, activation in live.items()},
        percents={ring: activation.percent for ring, activation in live.items()},
        windows=drift.list_for(reader, trainer.name),
        versions=[snapshot.version for snapshot in known],
        last_segment=logged[-1] if logged else None,
        quarantined=[snapshot.version for snapshot in known if snapshot.quarantined],
        rollout=rollouts.newest(reader, trainer.name),
        shadow_s=None if (dwell := dwells.find(reader, trainer.name)) is None else dwell.shadow_s,
        feedback=feedback.get(reader, trainer.name),
        seen=seen.of(reader, trainer.stream, trainer.name),
    )


def _details(store: "Store", settings: "Settings", facts: Facts) -> dict[str, Any]:
    holder = lease.holder(store.home, train_lease(facts.trainer.name))
    error = _failure(store, facts.trainer) if facts.trainer.status == "errored" else None
    return details_of(settings, facts, is_training=holder is not None) | {"trained_by": holder, "error": error}


def _failure(store: "Store", trainer: Trainer) -> Mapping[str, Any]:
    """Return why a worker of the trainer failed for good, as far as it is still known."""
    found = (runfiles.read_status(store.home, worker) for worker in workers_of(trainer.name))
    told: Mapping[str, Any] = next((status["error"] for status in found if status and status.get("error")), {})
    return {key: str(told.get(key) or "") for key in ("code", "message", "hint")}


def details_of(settings: "Settings", facts: Facts, *, is_training: bool) -> dict[str, Any]:
    """Return what `upm trainer show` prints of these facts, without who trains it."""
    trainer = facts.trainer
    judged = [window for window in facts.windows if window.verdict != "unknown"]
    return {
        "name": trainer.name,
        "state": _state(facts, is_training=is_training),
        "status": _status(trainer, is_training=is_training),
        "mode": str(trainer.mode),
        "tenant_id": trainer.tenant_id,
        "stream": trainer.stream,
        "windows": window_counts(trainer, facts.stream),
        "late_arrivals": facts.stream.late_arrivals,
        "gaps": facts.stream.gaps,
        "feedback": feedback_counts(facts.feedback),
        "dead_letters": dead_letter_counts(facts),
        "influence": influence_of(trainer),
        "weights_sha256": trainer.weights_sha256,
        "log_position": trainer.log_position,
        "active": {str(ring): version for ring, version in facts.live.items()},
        "percent": {str(ring): percent for ring, percent in facts.percents.items()},
        "epoch": trainer.epoch,
        "rollout": _rollout(facts, settings),
        "last_version": trainer.last_version,
        "quarantined": facts.quarantined,
        "last_loss": trainer.last_loss,
        "loss": losses.of_trainer(trainer),
        "metrics": dict(trainer.metrics),
        "drift_score": trainer.drift_score,
        "drift": {
            "p95": judged[-1].p95 if judged else None,
            "limit": settings.drift_monitor.drift_threshold,
            "n": judged[-1].n if judged else 0,
            "recent": [window.p95 for window in facts.windows[-12:]],
            "last_window_at": iso(judged[-1].started_at_ms) if judged else None,
        },
        "learner": dict(trainer.learner),
        "lineage": [dict(entry) for entry in trainer.lineage],
        "desired": trainer.desired,
        "pause_reason": trainer.pause_reason,
        "last_window_id": trainer.last_window_id,
        "last_window_fetched_at": _instant(trainer.last_window_fetched_at_ms),
        "config_digest": trainer.config_digest,
        "created_at": _instant(trainer.created_at_ms),
        "updated_at": _instant(trainer.updated_at_ms),
    }


def _rollout(facts: Facts, settings: "Settings") -> dict[str, Any] | None:
    """Return where the newest rollout stands, without asking its gates; None when there never was one."""
    row = facts.rollout
    if row is None:
        return None
    stages = settings.rollout.stages
    need_h = settings.policy.min_shadow_hours
    return {
        "phase": row.phase,
        "step": row.stage + 1,
        "steps": len(stages),
        "ring": stages[row.stage].split()[0] if row.stage < len(stages) else None,
        "percent": int(row.state.get("percent", 0)),
        "version": row.version,
        "champion": row.champion,
        "shadow_days": None if facts.shadow_s is None else round(facts.shadow_s / 86_400, 3),
        "min_shadow_days": round(need_h / 24, 3),
        "cause": row.state.get("cause") or None,
        "reason": row.state.get("reason") or None,
    }


def _status(trainer: Trainer, *, is_training: bool) -> str:
    """Return what the trainer does now: a killed worker can't take its "training" back."""
    if trainer.desired == "pause":
        return "paused"
    if is_training:
        return "training"
    return "idle" if trainer.status == "training" else str(trainer.status)


def _state(facts: Facts, *, is_training: bool) -> str:
    return state_of(
        facts.trainer,
        live=facts.live.values(),
        barred=facts.quarantined,
        newest=facts.versions[-1] if facts.versions else None,
        is_breached=any(window.status is DriftStatus.QUARANTINED for window in facts.windows),
        is_training=is_training,
    )


def state_of(
    trainer: Trainer,
    *,
    live: Iterable[int],
    barred: Collection[int],
    newest: int | None,
    is_breached: bool,
    is_training: bool,
) -> str:
    """Return the worst that holds of a trainer: quarantined, errored, paused, training or idle.

    `live` are the versions that its rings serve, `barred` those that are quarantined, `newest` is the newest one that
    is kept; `is_breached` says that a drift window of it is quarantined.
    """
    if any(version in barred for version in live) or (is_breached and newest in barred):
        return "quarantined"
    if trainer.desired == "pause":
        return "paused"
    if trainer.status == "errored":
        return "errored"
    return "training" if is_training else "idle"


def _row(details: Mapping[str, Any], workers: list[dict[str, Any]], now_ms: int) -> dict[str, Any]:
    learning = [worker for worker in workers if worker["worker"] == f"trainer-{details['name']}" and worker["alive"]]
    ring = next((ring for ring in ("global", "canary", "shadow") if ring in details["active"]), None)
    return {
        "name": details["name"],
        "state": details["state"],
        "mode": details["mode"],
        "active": details["active"].get(ring) if ring else None,
        "last_version": details["last_version"],
        "stage": {
            "kind": ring,
            "percent": details["percent"].get(ring, 0) if ring else 0,
            "rollout": details["rollout"],
        },
        "drift": details["drift"],
        "windows": details["windows"],
        "windows_per_s": next((worker["rate"] for worker in learning if worker.get("rate") is not None), 0.0),
        "lag": details["windows"]["pending"],
        "last_loss": details["last_loss"],
        "loss": details["loss"],
    }


def _worker(store: "Store", status: Mapping[str, Any], now_ms: int) -> dict[str, Any]:
    held = lease.holder(store.home, str(status.get("lease", status["worker"])))
    age_s = max(0, now_ms - int(status.get("at_ms", now_ms))) / 1000
    return {**status, "alive": held is not None, "age_s": age_s}


def _instant(at_ms: int | None) -> str | None:
    return iso(at_ms) if at_ms else None
