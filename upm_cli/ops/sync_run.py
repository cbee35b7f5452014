"""Running adapter sync to an end: one pass by whoever asks, or waiting for the worker that does it anyway."""

import random
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from upm_cli.clock import Clock
from upm_cli.core.delivery.desired import plan
from upm_cli.core.delivery.machine import is_settled
from upm_cli.core.records import Adapter, AdapterStatus
from upm_cli.errors import BusyError
from upm_cli.ops import telemetry
from upm_cli.ops.sync import Syncer
from upm_cli.ops.sync_lease import LEASE, take_lease
from upm_cli.ops.sync_plan import Fleet, terms_of
from upm_cli.ops.sync_signing import signing
from upm_cli.telemetry.points import Recorder

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.store.session import Store

Show = Callable[[int, int], None]  # how many are confirmed, of how many
STEP_S: Final = 0.05
LOOK_S: Final = 0.1  # between two looks at what another process does
HEAR_S: Final = 2.0  # for what agents wrote into directories
FINISH_S: Final = 0.5  # what is under way when the time is over may take so much longer


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """Where the adapters stand after a pass. `by_other`: another process delivered, this one waited for it."""

    rows: tuple[Adapter, ...]
    by_other: bool
    timed_out: bool

    @property
    def confirmed(self) -> int:
        return sum(1 for row in self.rows if row.status is AdapterStatus.SYNCED)

    @property
    def errored(self) -> int:
        return sum(1 for row in self.rows if row.status is AdapterStatus.ERRORED)

    @property
    def pending(self) -> int:
        return len(self.rows) - self.confirmed - self.errored

    @property
    def left(self) -> list[Adapter]:
        """Those that should have something and did not confirm it; one with nothing to send is not among them."""
        given_up = [row for row in self.rows if row.status is AdapterStatus.ERRORED]
        return given_up + [row for row in self.rows if _is_pending(row) and row.pointer is not None]

    @property
    def waiting(self) -> int:
        """How many have nothing to be sent and nothing confirmed: nothing is live for them, or it is barred."""
        return sum(1 for row in self.rows if _is_pending(row) and row.pointer is None)

    @property
    def undelivered(self) -> int:
        return len(self.left)


def _is_pending(row: Adapter) -> bool:
    return row.status in (AdapterStatus.PENDING, AdapterStatus.SYNCING)


def run_pass(
    store: "Store",
    clock: Clock,
    settings: "Settings",
    *,
    command: str,
    within_s: float | None = None,
    trainers: Collection[str] | None = None,
    chance: random.Random | None = None,
    show: Show | None = None,
) -> Ran:
    """Deliver until everything is confirmed or given up, for `within_s` at most (None: as long as it takes).

    Only the adapters of `trainers` are waited for (None: all). Where another process is at it this one waits for it.
    Raises StorageError and BusyError when the state can't be used.
    """
    end_s = None if within_s is None else clock.monotonic_s() + within_s
    try:
        held = take_lease(store, command)
    except BusyError:
        return _wait(store, clock, settings, end_s, trainers, show)
    with held:
        return _deliver(store, clock, settings, end_s, trainers, chance or random.Random(), show)  # noqa: S311


def _deliver(
    store: "Store",
    clock: Clock,
    settings: "Settings",
    end_s: float | None,
    trainers: Collection[str] | None,
    chance: random.Random,
    show: Show | None,
) -> Ran:
    recorder = Recorder(clock.now_ms())
    syncer = Syncer(store, clock, settings, recorder=recorder, chance=chance)
    is_meant = partial(is_of, trainers)
    try:
        heard_s: float | None = None  # when its agents were asked, which what was found to be lost is sent after
        while not (settled := syncer.is_settled(is_meant)) or heard_s is None or _waits(syncer, heard_s, clock):
            if end_s is not None and clock.monotonic_s() >= end_s:
                break
            if settled and heard_s is None:
                heard_s = clock.monotonic_s()
                syncer.hear()
            syncer.step(STEP_S)
            if not syncer.busy and not syncer.is_looking and not syncer.is_settled(is_meant):
                clock.sleep(STEP_S)
            if show is not None:
                show(_done(syncer.rows), len(syncer.rows))
        timed_out = not settled
        syncer.finish(
            FINISH_S if end_s is None else min(FINISH_S, max(0.0, end_s - clock.monotonic_s()) + FINISH_S / 4)
        )
    finally:
        syncer.close()
        if settings.telemetry.enabled:
            telemetry.flush(store.home, LEASE, recorder, clock.now_ms(), force=True)
    return Ran(rows=tuple(filter(is_meant, syncer.rows)), by_other=False, timed_out=timed_out)


def _waits(syncer: Syncer, heard_s: float, clock: Clock) -> bool:
    """Say whether to wait for what agents say; it is not worth much time, as the next look brings it too."""
    return syncer.is_looking and clock.monotonic_s() < heard_s + HEAR_S


def _wait(
    store: "Store",
    clock: Clock,
    settings: "Settings",
    end_s: float | None,
    trainers: Collection[str] | None,
    show: Show | None,
) -> Ran:
    """Watch the state until the process that has the lease has delivered what is to be delivered now."""
    while True:
        rows = _as_planned(store, clock, settings, trainers)
        if show is not None:
            show(_done(rows), len(rows))
        if all(is_settled(row) for row in rows):
            return Ran(rows=rows, by_other=True, timed_out=False)
        if end_s is not None and clock.monotonic_s() >= end_s:
            return Ran(rows=rows, by_other=True, timed_out=True)
        clock.sleep(LOOK_S)


def _done(rows: Iterable[Adapter]) -> int:
    return sum(1 for row in rows if row.status is AdapterStatus.SYNCED)


def _as_planned(
    store: "Store", clock: Clock, settings: "Settings", trainers: Collection[str] | None
) -> tuple[Adapter, ...]:
    """Return the rows; one that the other process has not planned anew yet is pending."""
    signs = signing(store.home)
    terms = terms_of(settings, clock, signs)
    with store.read() as reader:
        fleet = Fleet.read(reader, settings, store.home, signs)
    planned = [plan(row, fleet.targets[key], terms) for key, row in fleet.rows.items() if is_of(trainers, row)]
    return tuple(each.row if each.pointer is None else replace(each.row, pointer="") for each in planned)


def to_send(store: "Store", clock: Clock, settings: "Settings") -> list[Adapter]:
    """Return the adapters that a pass would send to now, as they would be planned."""
    rows = _as_planned(store, clock, settings, None)
    return [row for row in rows if row.pointer is not None and row.status is not AdapterStatus.SYNCED]


def is_of(trainers: Collection[str] | None, row: Adapter) -> bool:
    """Say whether `row` is an adapter of one of the `trainers` (None: of any)."""
    return trainers is None or row.trainer in trainers
