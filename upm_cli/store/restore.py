"""The way back when the state does not open: the newest kept one that does."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from upm_cli.clock import Clock
from upm_cli.store import fsio, history, layout, ledger, staging, statelock
from upm_cli.store.engine import Engine
from upm_cli.store.unit import Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What `restore` did. `source` is None when the live state was good and nothing was changed."""

    source: Path | None
    why: str
    corrupt: Path | None  # where the damaged file is now; None when it was gone
    from_generation: int
    generation: int
    ledger_entries_kept: int  # actions on record that happened after the state gone back to


def restore(home: Path, clock: Clock, *, actor: str = "", lock_timeout_s: float = 10.0) -> Restored:
    """Put the newest kept state that opens in the place of one that does not, and record that in the ledger.

    The damaged file stays as `state.duckdb.corrupt-<ms>`. The ledger is not shortened: what it tells of actions after
    the restored state stays on record. Raises IntegrityError when no state opens, BusyError while somebody writes.
    """
    home = home.absolute()
    state = home / layout.STATE
    with statelock.hold(home, clock, limit_s=lock_timeout_s, command="upm doctor --restore"):
        why = history.problem(state) if state.exists() else f"{state} is gone"
        if why is None:
            return _nothing_done(home)
        source = history.newest_good(home)
        if source is None:
            raise history.damaged(home, why)
        return _go_back(home, clock, source, why, actor)


def _go_back(home: Path, clock: Clock, source: Path, why: str, actor: str) -> Restored:
    state = home / layout.STATE
    corrupt = home / f"{layout.STATE}.corrupt-{clock.now_ms()}" if state.exists() else None
    if corrupt is not None:
        fsio.keep_link(state, corrupt)
    end = _ledger_end(home, clock)
    engine = Engine(home)
    try:
        with staging.next_state(engine, home, source=source) as staged:
            old = staged.meta
            generation = max(old.generation, *(int(path.stem) for path in history.states(home)))
            meta = dataclasses.replace(old, ledger=end, generation=generation)
            staged.meta = meta
            tx = Tx(engine, staged.cursor, state, meta, clock=clock, actor=actor or fsio.os_user())
            kept = max(0, end.count - old.ledger.count)
            tx.ledger("state.restored", "state", reason=why, from_generation=old.generation, ledger_entries_kept=kept)
            tx.finish(home)
    finally:
        engine.close()
    return Restored(
        source=source,
        why=why,
        corrupt=corrupt,
        from_generation=old.generation,
        generation=generation + 1,
        ledger_entries_kept=kept,
    )


def _ledger_end(home: Path, clock: Clock) -> ledger.Head:
    """Return the end of the good part of the ledger; keep a copy of the file when it has more than that."""
    path, end = home / layout.LEDGER, ledger.end(home)
    if path.exists() and path.stat().st_size > end.offset:
        fsio.copy(path, path.with_name(f"{layout.LEDGER}.corrupt-{clock.now_ms()}"))
    return end


def _nothing_done(home: Path) -> Restored:
    newest = history.states(home)
    generation = int(newest[0].stem) if newest else 0
    return Restored(
        source=None,
        why="the state is good",
        corrupt=None,
        from_generation=generation,
        generation=generation,
        ledger_entries_kept=0,
    )
