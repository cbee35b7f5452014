"""What the drift monitor does after it judged: look at the rollout, and leave what serves although it is barred."""

from typing import TYPE_CHECKING, Final

from upm_cli.clock import Clock
from upm_cli.core.records import Ring, Snapshot
from upm_cli.core.rollouts.state import Phase
from upm_cli.errors import BusyError, IntegrityError, RefusedError
from upm_cli.ops import rollout, trainers
from upm_cli.ops.decisions import View
from upm_cli.ops.rollback import RolledBack, rollback
from upm_cli.store import rollouts

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.store.session import Reader, Store

ACTOR: Final = "drift-monitor"


def look(store: "Store", clock: Clock, settings: "Settings", name: str) -> tuple[RolledBack, ...]:
    """Tick the rollout of `name`, then take back what is quarantined and serves outside of one.

    `rollout.on_quarantine` says whether that is rolled back, only paused, or left to people. Returns the rollbacks.
    Somebody who decides at the same moment goes first: the next look finds out.
    """
    try:
        rollout.tick(store, clock, settings, name)
        return _take_back(store, clock, settings, name)
    except BusyError:
        return ()


def _take_back(store: "Store", clock: Clock, settings: "Settings", name: str) -> tuple[RolledBack, ...]:
    done: list[RolledBack] = []
    how = settings.rollout.on_quarantine
    if how == "ignore":
        return ()
    for ring in (Ring.CANARY, Ring.GLOBAL):
        with store.read() as reader:
            bad = _barred(reader, name, ring)
        if bad is None:
            continue
        why = f"automatic: v{bad.version} is quarantined ({bad.quarantine_reason or 'no reason given'})"
        if how == "rollback":
            try:
                done.append(
                    rollback(
                        store,
                        clock,
                        name,
                        ring=ring,
                        actor=ACTOR,
                        reason=why,
                        config_digest=settings.full_digest(),
                    )
                )
                continue
            except (RefusedError, IntegrityError) as exc:
                why = f"{why}; no way back: {exc.message}"
        trainers.set_desired(store, clock, name, "pause", actor=ACTOR, reason=why)
    return tuple(done)


def _barred(reader: "Reader", name: str, ring: Ring) -> Snapshot | None:
    """Return what `ring` serves if it is quarantined and no rollout is at work that will see to it."""
    view = View.read(reader, name)
    if ring not in view.live:
        return None
    row = view.rows.get(view.live[ring].version)
    if row is None or not row.quarantined:
        return None
    running = rollouts.newest(reader, name)
    is_working = running is not None and running.phase in (Phase.PROGRESSING, Phase.PAUSED)
    return None if is_working and running is not None and running.version == row.version else row
