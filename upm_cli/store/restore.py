"""The way back when the state does not open: the newest kept one that does."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from upm_cli.clock import Clock
from upm_cli.errors import IntegrityError
from upm_cli.store import fsio, history, layout, ledger, sandbox, staging, statelock
from upm_cli.store.engine import Engine
from upm_cli.store.schema import Meta
from upm_cli.store.unit import Tx

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """The way back from a state that does not open, and what the ledger knows besides."""

    why: str  # what is wrong with the live state
    source: Path  # the newest kept state that opens
    written_ms: int  # when it was written
    meta: Meta  # of the kept state
    generation: int  # of the state after the restore
    damaged: Path | None  # the live state, where there is a file
    end: ledger.Head  # of the good part of the ledger
    entries: tuple[Mapping[str, Any], ...] | None  # that the kept state does not know; None: it is of another ledger
    is_ledger_damaged: bool  # the file has more than its good part


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored(Generic[_T]):
    """What `restore` did, or would do."""

    way: Way
    corrupt: Path | None  # where the damaged file is put; None when it is gone
    bad_ledger: Path | None  # where a ledger with a damaged end is copied to
    found: _T  # what `again` returned


def look(home: Path) -> Way | None:
    """Find the way back; None when the live state is good.

    Raises IntegrityError when no kept state opens, and what else stands in the way of reading the live one: a program
    that has it open, no permission, too many open files, a newer upm. Then it is not damaged, and stays.
    """
    home = home.absolute()
    state = home / layout.STATE
    error = history.examine(state) if state.exists() else IntegrityError(f"{state} is gone")
    if error is None:
        return None
    if not history.is_damage(error):
        raise error
    why = error.message
    source = history.newest_good(home)
    if source is None:
        raise history.damaged(home, why)
    meta, end = history.meta(source), ledger.end(home)
    newer = ledger.following(home, meta.ledger, end)
    path = home / layout.LEDGER
    with fsio.telling(source, "look at"):
        written_ms = source.stat().st_mtime_ns // 1_000_000
    return Way(
        why=why,
        source=source,
        written_ms=written_ms,
        meta=meta,
        generation=max(meta.generation, *(int(path.stem) for path in history.states(home))) + 1,
        damaged=state if state.exists() else None,
        end=end,
        entries=None if newer is None else tuple(newer),
        is_ledger_damaged=path.exists() and fsio.size(path) > end.offset,
    )


def restore(
    home: Path,
    clock: Clock,
    again: Callable[[Tx, Way], _T],
    *,
    actor: str = "",
    reason: str = "",
    lock_timeout_s: float = 10.0,
) -> Restored[_T] | None:
    """Put the newest kept state that opens in the place of one that does not, and record that in the ledger.

    `again` does in the same commit what must not be lost; what it returns is handed on. The damaged file stays as
    `state.duckdb.corrupt-<ms>`. The ledger is not shortened: what it tells of actions after the restored state stays
    on record. None: the state is good, and nothing was changed. A kill leaves the damaged state or the restored one.

    Raises IntegrityError when no state opens, BusyError while somebody writes, StorageError.
    """
    home = home.absolute()
    with statelock.hold(home, clock, limit_s=lock_timeout_s, command="upm doctor --restore"):
        way = look(home)
        if way is None:
            return None
        plan = _asides(home, clock, way)
        if plan.corrupt is not None:
            fsio.keep_link(home / layout.STATE, plan.corrupt)
        if plan.bad_ledger is not None:
            fsio.copy(home / layout.LEDGER, plan.bad_ledger)
        with _staged(home, home, clock, way, actor) as (tx, _):
            _record(tx, way, reason)
            found = again(tx, way)
            tx.finish(home)
        return dataclasses.replace(plan, found=found)


def rehearse(
    home: Path, clock: Clock, again: Callable[[Tx, Way], _T], *, actor: str = "", reason: str = ""
) -> Restored[_T] | None:
    """Return what `restore` would do, worked out in a private copy somewhere else: nothing in `home` is changed."""
    home = home.absolute()
    way = look(home)
    if way is None:
        return None
    with sandbox.folder() as folder, _staged(home, folder, clock, way, actor) as (tx, staged):
        _record(tx, way, reason)
        found = again(tx, way)
        staged.publish = False
    return dataclasses.replace(_asides(home, clock, way), found=found)


@contextlib.contextmanager
def _staged(home: Path, folder: Path, clock: Clock, way: Way, actor: str) -> Iterator[tuple[Tx, staging.Staged]]:
    """Give a transaction in a copy, in `folder`, of the kept state, with the end of the ledger as its own."""
    engine = Engine(folder)
    try:
        with staging.next_state(engine, folder, source=way.source) as staged:
            staged.meta = dataclasses.replace(staged.meta, ledger=way.end, generation=way.generation - 1)
            state = home / layout.STATE
            yield (
                Tx(engine, staged.cursor, state, staged.meta, clock=clock, actor=actor or fsio.os_user()),
                staged,
            )
    finally:
        engine.close()


def _record(tx: Tx, way: Way, reason: str) -> None:
    tx.ledger(
        "state.restored",
        "state",
        reason=reason or way.why,
        why=way.why,
        from_generation=way.meta.generation,
        ledger_entries_kept=max(0, way.end.count - way.meta.ledger.count),
    )


def _asides(home: Path, clock: Clock, way: Way) -> Restored[Any]:
    """Return where what is damaged is put aside."""
    mark = f"corrupt-{clock.now_ms()}"
    return Restored(
        way=way,
        corrupt=None if way.damaged is None else _aside(way.damaged, mark),
        bad_ledger=home / f"{layout.LEDGER}.{mark}" if way.is_ledger_damaged else None,
        found=None,
    )


def _aside(damaged: Path, mark: str) -> Path:
    """Return where the damaged state is put: where a restore that was killed has put it already, or anew."""
    with fsio.telling(damaged, "look at"):
        kept = [path for path in damaged.parent.glob(f"{damaged.name}.corrupt-*") if path.samefile(damaged)]
    return kept[0] if kept else damaged.with_name(f"{damaged.name}.{mark}")
