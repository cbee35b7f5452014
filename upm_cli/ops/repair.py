"""`upm doctor --fix`: repair what can be repaired without losing anything, and put it on record."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from upm_cli.adapters import tidy
from upm_cli.clock import Clock
from upm_cli.errors import UpmError
from upm_cli.ops import machine
from upm_cli.ops.machine import Finding
from upm_cli.store import activations, adapters, fsio, layout, reserve, statelock, trainers
from upm_cli.store.folders import Folder
from upm_cli.store.session import Store

if TYPE_CHECKING:
    from upm_cli.core.records import Adapter
    from upm_cli.store.session import Reader


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed:
    """One thing that was repaired, or would be."""

    what: str  # removed | made private | made again
    path: str


def fix(home: Path, clock: Clock, *, actor: str, reason: str = "", dry_run: bool = False) -> list[Fixed]:
    """Repair what is safe: remove what killed processes left, close what others may read. Twice is the same as once.

    What was done is an entry in the ledger, if the state opens. Raises StorageError when the disk refuses.
    """
    now_ms = clock.now_ms()
    done = _remove(home, clock, machine.leftovers(home, now_ms), dry_run=dry_run)
    done += _remove(home, clock, machine.stale_statuses(home, now_ms), dry_run=dry_run)
    for path in list(machine.open_paths(home)):
        if dry_run or fsio.make_private(path):
            done.append(Fixed(what="made private", path=str(path)))
    store = Store(home, clock, command="upm doctor --fix")
    try:
        with contextlib.suppress(UpmError), store.read() as reader:  # a state that does not open has a finding
            if reserve_finding(home, reader).status != "pass" and (dry_run or reserve.keep(home)):
                done.append(Fixed(what="made again", path=str(home / reserve.RESERVE)))
            if not dry_run:
                done += _tidy(adapters.list_all(reader), now_ms)
        if done and not dry_run:
            _record(store, done, actor, reason)
    finally:
        store.close()
    return done


def _remove(home: Path, clock: Clock, paths: Sequence[Path], *, dry_run: bool) -> list[Fixed]:
    done = []
    for path in paths:
        if dry_run or _is_removed(home, clock, path):
            done.append(Fixed(what="removed", path=str(path)))
    return done


def _is_removed(home: Path, clock: Clock, path: Path) -> bool:
    """Remove one file; the next state only while nobody can be writing it."""
    if path != home / layout.NEXT:
        return fsio.durable_unlink(path)
    with statelock.hold(home, clock, limit_s=1.0, command="upm doctor --fix"):
        return fsio.durable_unlink(path)


def _tidy(rows: Sequence["Adapter"], now_ms: int) -> list[Fixed]:
    """Remove from the directories of adapters what no pointer names and killed processes left there."""
    done = []
    for location in sorted({row.location for row in rows if row.kind == "directory"}):
        with contextlib.suppress(OSError, UpmError), Folder.open(Path(location)) as here:
            if count := tidy.remove_old(here, now_ms):
                done.append(Fixed(what="removed", path=f"{location}: {count} models that no pointer names"))
    return done


def _record(store: Store, done: Sequence[Fixed], actor: str, reason: str) -> None:
    with contextlib.suppress(UpmError), store.write(actor=actor) as tx:
        what = {
            word.replace(" ", "_"): [each.path for each in done if each.what == word][:100]
            for word in ("removed", "made private", "made again")
        }
        tx.ledger("doctor.fix", "state", **what, reason=reason)


def reserve_finding(home: Path, reader: "Reader") -> Finding:
    """Tell whether a rollback has something to fall back on when the disk is full."""
    size = reserve.size_bytes(home)
    if size == reserve.SIZE_BYTES:
        detail = f"{size >> 20} MiB are kept for a rollback on a full disk"
        return Finding(name="reserve", status="pass", detail=detail)
    if size is None and not any(activations.live(reader, row.name) for row in trainers.list_all(reader)):
        detail = "nothing is live; it is made with the first activation"
        return Finding(name="reserve", status="pass", detail=detail)
    free, _ = fsio.disk_space(home)
    detail = "it was given up for a rollback" if size == 0 else "it is missing"
    hint = f"it comes back with a commit once {reserve.ROOM_BYTES >> 20} MiB are free, or by upm doctor --fix"
    return Finding(
        name="reserve",
        status="warn",
        detail=f"{detail}, {free >> 20:,} MiB are free: a rollback on a full disk has nothing to fall back on",
        hint=hint,
    )
