"""Rehearsing a rollback for real, in a temporary copy: does it work, and how long does it take?"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from upm_cli.clock import Clock
from upm_cli.core.activation import rollback_targets
from upm_cli.core.records import SnapshotStatus, TrainerStatus
from upm_cli.core.versions import default_ring
from upm_cli.errors import IntegrityError, RefusedError, UpmError
from upm_cli.ops import made_up
from upm_cli.ops import snapshots as snapshot_ops
from upm_cli.ops.decisions import View
from upm_cli.ops.rollback import RolledBack, rollback
from upm_cli.store import activations, ledger, sandbox, trainers

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.store.session import Reader, Store

REASON: Final = "a drill"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that must be so after a rollback."""

    check: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drilled:
    """What the rehearsal showed. `is_made_up`: there was nothing to go back from, so it was a small made-up case."""

    trainer: str
    is_made_up: bool
    from_version: int
    to_version: int
    rings: tuple[str, ...]
    open_ms: float  # opening the state
    read_ms: float  # working out where to go
    verify_ms: float  # reading the target back and proving its bytes
    commit_ms: float  # the one transaction
    checks: tuple[Check, ...]

    @property
    def total_ms(self) -> float:
        return self.open_ms + self.read_ms + self.verify_ms + self.commit_ms

    @property
    def is_ok(self) -> bool:
        return all(check.ok for check in self.checks)


def drill_rollback(
    store: "Store",
    clock: Clock,
    settings: "Settings",
    name: str,
    *,
    actor: str,
    reason: str = "",
    dry_run: bool = False,
) -> Drilled:
    """Roll `name` back in a temporary copy of the state, check the outcome, and put time and result on the record.

    Where there is nothing to go back from, it is a small made-up case. The live state is only read, but for that one
    entry; `dry_run` leaves it out. Raises what a real rollback would: RefusedError where there is no way back,
    IntegrityError where every way is damaged (on the record too).
    """
    with store.read() as reader:
        way = _way(reader, name)
    try:
        with (_small_case if way is None else _copy)(store, clock, settings, name) as home:
            done = _rehearse(home, clock, name, way or None, is_made_up=way is None)
    except (RefusedError, IntegrityError) as exc:
        _record(store, name, actor, reason, _failed(exc), dry_run=dry_run)
        raise
    _record(store, name, actor, reason, summary(done), dry_run=dry_run)
    return done


def _way(reader: "Reader", name: str) -> str | None:
    """Return the word for where to go: empty for a plain rollback, None where there is nothing to go back from.

    Where the last thing that happened was a rollback, a plain one would be done: it is one version further back.
    """
    if trainers.find(reader, name) is None:
        return None
    view = View.read(reader, name)
    where = default_ring(view.live)
    if where is None or view.live[where].kind != "rollback":
        return None if where is None else ""
    history = activations.history(reader, name)
    targets = rollback_targets(view.trainer, list(view.rows.values()), history, where, view.live[where].version)
    return f"v{targets[0].version}" if targets else None


@contextmanager
def _copy(store: "Store", clock: Clock, settings: "Settings", name: str) -> Iterator[Path]:
    """Copy what a rollback of `name` needs; yield where."""
    with store.read() as reader:
        rows = View.read(reader, name).rows.values()
    digests = [digest for row in rows for digest in (row.digest, row.checkpoint_digest) if digest]
    with sandbox.folder(near=store.home) as home:
        sandbox.fill(store.home, home, digests)
        yield home


@contextmanager
def _small_case(store: "Store", clock: Clock, settings: "Settings", name: str) -> Iterator[Path]:
    """Make a state in which `name` served one made-up version and now serves another."""
    from upm_cli.store.session import Store

    with sandbox.folder(near=store.home) as home:
        made = Store.create(home, clock)
        for version in (made_up.learn(made, clock, settings, name), made_up.learn(made, clock, settings, name)):
            made_up.serve(made, clock, name, version)
        made_up.learn(made, clock, settings, name)
        made.close()
        yield home


def _rehearse(home: Path, clock: Clock, name: str, to: str | None, *, is_made_up: bool) -> Drilled:
    from upm_cli.store.session import Store

    watch = _Watch(clock)
    copied = Store.create(home, clock, command="upm drill rollback")
    try:
        with copied.read() as reader:
            before = View.read(reader, name)
        open_ms = watch.lap()
        planned = rollback(copied, clock, name, to=to, actor=made_up.ACTOR, reason=REASON, dry_run=True)
        planned_ms = watch.lap()
        snapshot_ops.load(home, before.rows[planned.to_version])
        verify_ms = watch.lap()
        done = rollback(copied, clock, name, to=to, actor=made_up.ACTOR, reason=REASON)
        commit_ms = max(0.0, watch.lap() - planned_ms)
        checks = tuple(_checks(copied, before, done))
    finally:
        copied.close()
    return Drilled(
        trainer=name,
        is_made_up=is_made_up,
        from_version=done.from_version,
        to_version=done.to_version,
        rings=tuple(ring.value for ring in done.rings),
        open_ms=open_ms,
        read_ms=max(0.0, planned_ms - verify_ms),
        verify_ms=verify_ms,
        commit_ms=commit_ms,
        checks=checks,
    )


class _Watch:
    """Milliseconds between laps."""

    def __init__(self, clock: Clock) -> None:
        self._now: Callable[[], float] = clock.monotonic_s
        self._last = self._now()

    def lap(self) -> float:
        before, self._last = self._last, self._now()
        return round((self._last - before) * 1000, 3)


def _checks(copied: "Store", before: View, done: RolledBack) -> Iterator[Check]:
    """Look at the copy with fresh eyes: is everything so that a rollback promises?"""
    with copied.read() as reader:
        after, head = View.read(reader, done.trainer), reader.meta.ledger
        trainer = trainers.get(reader, done.trainer)
    serving = {ring.value: move.version for ring, move in after.live.items() if ring in done.rings}
    served = set(serving.values()) == {done.to_version}
    yield _check("ring serves the target", served, f"{', '.join(f'{ring} v{v}' for ring, v in serving.items())}")
    left = [ring.value for ring, move in after.live.items() if move.version == done.from_version]
    yield _check("nobody gets the bad version", not left, f"v{done.from_version} is live in {left or 'no ring'}")
    pinned = all(ring in after.pins and after.pins[ring].version == done.to_version for ring in done.rings)
    yield _check("rings are pinned", pinned, f"to v{done.to_version}")
    row = after.rows.get(done.from_version)
    barred = row is None or (row.quarantined and row.status is SnapshotStatus.ROLLED_BACK)
    yield _check("bad version is barred", barred, "its row is gone" if row is None else f"v{row.version} {row.status}")
    good = after.rows[done.to_version]
    back = trainer.checkpoint_digest == good.checkpoint_digest and trainer.status is not TrainerStatus.ERRORED
    paused = trainer.desired == "pause"
    yield _check(
        "trainer is put back", back or paused, f"{done.learner}, epoch {before.trainer.epoch} → {trainer.epoch}"
    )
    yield _chain(copied, head)


def _chain(copied: "Store", head: ledger.Head) -> Check:
    try:
        found = ledger.verify(copied.home, head)
    except IntegrityError as exc:
        return _check("ledger is whole", False, exc.message)
    return _check("ledger is whole", True, f"{found.entries:,} entries")


def _check(what: str, ok: bool, detail: str) -> Check:
    return Check(check=what, ok=ok, detail=detail)


def summary(done: Drilled) -> dict[str, Any]:
    """Return what goes on the record."""
    return {
        "ok": done.is_ok,
        "made_up": done.is_made_up,
        "from_version": done.from_version,
        "to_version": done.to_version,
        "rings": list(done.rings),
        "total_ms": round(done.total_ms, 1),
        "open_ms": round(done.open_ms, 1),
        "read_ms": round(done.read_ms, 1),
        "verify_ms": round(done.verify_ms, 1),
        "commit_ms": round(done.commit_ms, 1),
        "failed": [check.check for check in done.checks if not check.ok],
    }


def _failed(error: UpmError) -> dict[str, Any]:
    return {"ok": False, "error": {"code": error.code, "message": error.message}}


def _record(store: "Store", name: str, actor: str, reason: str, details: dict[str, Any], *, dry_run: bool) -> None:
    if dry_run:
        return
    with store.write(actor=actor) as tx:
        tx.ledger("drill.rollback", name, **details, reason=reason)
