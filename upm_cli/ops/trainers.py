"""Trainers as a whole: add, find, pause, resume, remove."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from upm_cli.clock import Clock
from upm_cli.core.feedback.names import positions_key, served_owner
from upm_cli.core.records import Mode, Ring, Stream, Trainer, TrainerStatus
from upm_cli.errors import BusyError, RefusedError, UpmError, UsageError
from upm_cli.ids import check_name
from upm_cli.nearest import choices
from upm_cli.store import activations, adapters, drift, freezes, lease, seen, snapshots, sources, streams, trainers
from upm_cli.store.wishes import SUPERVISOR

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings, TrainerSettings
    from upm_cli.store.session import Reader, Store, Tx


_FORGOTTEN: Final = (
    "rollouts",
    "evidence",
    "tenant_rules",
    "overrides",
    "signoffs",
    "dwells",
    "feature_watches",
    "feedback",
    "anchors",
)


def train_lease(name: str) -> str:
    """Return the name of the lease that whoever trains `name` holds."""
    return f"train-{name}"


def new_trainer(name: str, clock: Clock, *, mode: Mode, tenant_id: str | None = None, stream: str = "") -> Trainer:
    """Return a trainer that has learned nothing yet; its stream is called as it is unless said otherwise."""
    check_name(name, "trainer")
    now = clock.now_ms()
    stream = check_name(stream or name, "stream")
    return Trainer(name=name, stream=stream, mode=mode, tenant_id=tenant_id, created_at_ms=now, updated_at_ms=now)


def add(
    store: "Store", clock: Clock, name: str, *, mode: Mode, actor: str, tenant_id: str | None = None, stream: str = ""
) -> Trainer:
    """Add a trainer. The same again changes nothing.

    Raises UsageError for other values under a known name, and for the name of a removed trainer that was activated.
    """
    wanted = new_trainer(name, clock, mode=mode, tenant_id=tenant_id, stream=stream)
    with store.write(actor=actor) as tx:
        known = trainers.find(tx, name)
        if known is None:
            if activations.history(tx, name):
                raise UsageError(
                    f"the name {name} belonged to a trainer whose versions were activated",
                    hint="agents may remember its versions and epochs: choose another name",
                    code="UPM-E027",
                )
            _put_new(tx, wanted)
            return wanted
    if (known.tenant_id, known.stream) != (wanted.tenant_id, wanted.stream):
        raise UsageError(
            f"trainer {name} exists with stream {known.stream!r} and tenant {known.tenant_id or 'any'!r}",
            hint=f"upm trainer show {name}, or choose another name",
            code="UPM-E027",
        )
    return known


def ensure(store: "Store", clock: Clock, settings: "Settings", name: str, *, actor: str) -> Trainer:
    """Return the trainer `name`, made from the configuration's default trainers if it isn't there yet.

    Raises NotFoundError when it is in neither place.
    """
    with store.read() as reader:
        known = trainers.find(reader, name)
    if known is not None:
        return known
    for default in settings.supervisor.default_trainers:
        if default.name == name:
            mode = Mode(default.mode)
            return add(store, clock, name, mode=mode, tenant_id=default.tenant_id, actor=actor)
    with store.read() as reader:
        return trainers.get(reader, name)


def set_desired(
    store: "Store", clock: Clock, name: str, desired: str, *, actor: str, reason: str
) -> tuple[Trainer, bool]:
    """Ask the trainer to `pause` or `run`; return it and whether that changed anything."""
    with store.write(actor=actor) as tx:
        trainer = trainers.get(tx, name)
        if trainer.desired == desired:
            return trainer, False
        paused = desired == "pause"
        idle = TrainerStatus.PAUSED if paused else TrainerStatus.IDLE
        working = trainer.status in (TrainerStatus.TRAINING, TrainerStatus.ERRORED)
        changed = replace(
            trainer,
            desired=desired,
            pause_reason=(reason or f"asked by {actor}") if paused else None,
            status=trainer.status if working else idle,
            updated_at_ms=clock.now_ms(),
        )
        trainers.put(tx, changed)
        tx.ledger(f"trainer.{'pause' if paused else 'resume'}", name, reason=reason)
    return changed, True


def remove(store: "Store", name: str, *, actor: str, reason: str, dry_run: bool = False) -> dict[str, Any]:
    """Forget a trainer, its snapshots and its drift windows; its event log, the ledger and its incidents stay.

    A supervisor that has it lets go of it then. Raises RefusedError while it serves tenants, BusyError while somebody
    else trains it.
    """
    with store.read() as reader:
        trainer = trainers.get(reader, name)
        _refuse_serving(reader, name)
        count = len(snapshots.list_for(reader, name))
    plan = {"trainer": name, "snapshots": count, "stream_kept": trainer.stream, "removed": not dry_run}
    if dry_run:
        return plan
    with _nobody_trains(store, name), store.write(actor=actor) as tx:
        _refuse_serving(tx, name)
        for snapshot in snapshots.list_for(tx, name):
            snapshots.remove(tx, name, snapshot.version)
        for owner in (name, served_owner(name)):
            drift.forget(tx, owner)
        sources.forget(tx, positions_key(name))
        seen.forget(tx, name)
        for group in _FORGOTTEN:
            tx.execute(f"{group}.forget", trainer=name)
        freezes.remove(tx, name)
        trainers.remove(tx, name)
        tx.ledger("trainer.remove", name, reason=reason, snapshots=count)
    return plan


def _nobody_trains(store: "Store", name: str) -> "contextlib.AbstractContextManager[object]":
    """Hold the lease of the trainer for the block, unless a supervisor has it: what its workers still write is refused.

    They look the trainer up in each commit.
    """
    held, supervisor = lease.holder(store.home, train_lease(name)), lease.holder(store.home, SUPERVISOR)
    if held is not None and supervisor is not None and (held.pid, held.started) == (supervisor.pid, supervisor.started):
        return contextlib.nullcontext()
    return lease.acquire(store.home, train_lease(name), f"upm trainer remove {name}")


def _refuse_serving(reader: "Reader", name: str) -> None:
    live = activations.live(reader, name)
    serving = [ring for ring in (Ring.CANARY, Ring.GLOBAL) if ring in live]
    if serving:
        raise RefusedError(
            f"trainer {name} serves version {live[serving[0]].version} in {serving[0]}",
            hint="agents would lose their model; a trainer that has served stays on the record: upm pause it instead",
            code="UPM-E052",
        )
    fed = sorted({row.adapter_key for row in adapters.list_all(reader) if row.trainer == name})
    if fed:
        raise RefusedError(
            f"models of trainer {name} are handed to {len(fed)} adapters: {', '.join(fed[:5])}",
            hint=f"first: upm adapter remove {fed[0]}",
            code="UPM-E052",
        )


def _put_new(tx: "Tx", trainer: Trainer) -> None:
    trainers.put(tx, trainer)
    if streams.find(tx, trainer.stream) is None:
        streams.put(tx, Stream(name=trainer.stream, updated_at_ms=trainer.created_at_ms))
    tx.ledger("trainer.add", trainer.name, mode=str(trainer.mode), stream=trainer.stream, tenant=trainer.tenant_id)


@contextlib.contextmanager
def noting_failure(store: "Store", clock: Clock, name: str) -> Iterator[None]:
    """Let the trainer be errored when its learner or its monitor fails for good in the block.

    It is so until one ends well. That somebody else is at work is no failure.
    """
    try:
        yield
    except UpmError as error:
        if error.context.get("worker") in workers_of(name) and not isinstance(error, BusyError):
            with contextlib.suppress(UpmError), store.write(actor="trainer") as tx:
                failed = replace(trainers.get(tx, name), status=TrainerStatus.ERRORED, updated_at_ms=clock.now_ms())
                trainers.put(tx, failed)
        raise


def workers_of(name: str) -> tuple[str, str]:
    """Return the names of the workers that learn for a trainer and judge it."""
    return f"trainer-{name}", f"drift-{name}"


def refuse_paused(trainer: Trainer) -> None:
    """Raise RefusedError when the trainer was told to pause."""
    if trainer.desired == "pause":
        raise RefusedError(
            f"trainer {trainer.name} is paused ({trainer.pause_reason or 'no reason given'})",
            hint=f"upm resume {trainer.name}",
            code="UPM-E053",
            context={"trainer": trainer.name, "gate": "pause", "reason": trainer.pause_reason},
        )


def refuse_feature_off(settings: "Settings") -> None:
    """Raise RefusedError when the feature flag keeps the unified model off."""
    if not settings.features.unified_model:
        raise RefusedError(
            "features.unified_model is off: nothing trains",
            hint="set features.unified_model: true in upm.yaml, or UPM_FEATURES_UNIFIED_MODEL=1",
            code="UPM-E054",
            context={"gate": "feature-flag"},
        )


def parse_mode(text: str) -> Mode:
    """Return the mode named `text`. Raises UsageError listing them."""
    if text not in list(Mode):
        raise UsageError(f"no mode {text!r}", hint=choices(text, Mode), code="UPM-E028")
    return Mode(text)


def set_mode(store: "Store", clock: Clock, trainer: Trainer, mode: str | None, *, actor: str) -> Trainer:
    """Give the trainer another mode, on the record; None or the same changes nothing."""
    if mode is None or parse_mode(mode) is trainer.mode:
        return trainer
    with store.write(actor=actor) as tx:
        before = trainers.get(tx, trainer.name)
        changed = replace(before, mode=parse_mode(mode), updated_at_ms=clock.now_ms())
        trainers.put(tx, changed)
        tx.ledger("trainer.mode", trainer.name, before=str(before.mode), after=str(changed.mode))
    return changed


def sources_of(settings: "Settings", trainer: Trainer, given: Sequence[str], project: Path) -> list[str]:
    """Return the sources named on the command line, else those configured for the trainer (relative to the project)."""
    return list(given) or [path for each in _defaults(settings, trainer) for path in _absolute(each.sources, project)]


def outcomes_of(settings: "Settings", trainer: Trainer, given: Sequence[str], project: Path) -> list[str]:
    """Return the logs of agents named on the command line, else those configured for the trainer."""
    return list(given) or [path for each in _defaults(settings, trainer) for path in _absolute(each.outcomes, project)]


def _defaults(settings: "Settings", trainer: Trainer) -> "list[TrainerSettings]":
    return [default for default in settings.supervisor.default_trainers if default.name == trainer.name]


def _absolute(paths: Sequence[str], project: Path) -> list[str]:
    return [path if path == "-" else str(project / path) for path in paths]
