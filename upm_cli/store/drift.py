"""Drift windows: the verdicts of a trainer's monitor."""

from collections.abc import Sequence

from upm_cli.core.records import DriftWindow
from upm_cli.store import segments
from upm_cli.store.rows import codec, instant
from upm_cli.store.unit import Reader, Tx


def put(tx: Tx, window: DriftWindow) -> None:
    """Add or replace a window."""
    tx.put("drift", codec(DriftWindow).encode(window))


def put_all(tx: Tx, windows: Sequence[DriftWindow]) -> None:
    """Add or replace many windows of one trainer; new ones go in as columns, in one statement."""
    if not windows:
        return
    ids = [window.window_id for window in windows]
    known = {row["window_id"] for row in tx.query("drift.known", trainer=windows[0].trainer, ids=ids)}
    fresh = [codec(DriftWindow).encode(window) for window in windows if window.window_id not in known]
    for window in windows:
        if window.window_id in known:
            put(tx, window)
    if fresh:
        tx.execute("drift.insert_all", **{name: [row[name] for row in fresh] for name in fresh[0]})


def list_for(r: Reader, trainer: str, since_ms: int | None = None) -> list[DriftWindow]:
    """Return a trainer's windows that end after `since_ms` (event time), oldest first."""
    rows = r.query("drift.list_for", trainer=trainer, since=instant(since_ms))
    return [codec(DriftWindow).decode(row) for row in rows]


def find_all(r: Reader, trainer: str, ids: Sequence[str]) -> list[DriftWindow]:
    """Return those of the windows with these `ids` that there are."""
    rows = r.query("drift.find_all", trainer=trainer, ids=list(ids))
    return [codec(DriftWindow).decode(row) for row in rows]


def newest(r: Reader, trainer: str, limit: int) -> list[DriftWindow]:
    """Return the last `limit` windows in the order of the log, newest first."""
    rows = r.query("drift.newest", trainer=trainer, limit=limit)
    return [codec(DriftWindow).decode(row) for row in rows]


def forget(tx: Tx, trainer: str) -> None:
    """Forget everything that was judged of a trainer, and what it was judged by."""
    tx.execute("drift.forget", trainer=trainer)
    tx.execute("monitors.forget", trainer=trainer)
    segments.remove(tx, segments.list_for(tx, "comparisons", trainer))


def prune(tx: Tx, trainer: str, keep: int) -> None:
    """Drop all but the newest `keep` windows, so that the control state stays small; comparisons stay."""
    tx.execute("drift.prune", trainer=trainer, keep=keep)
