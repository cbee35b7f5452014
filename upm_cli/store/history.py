"""The last ten states, and which of them still opens.

All but the newest are the very files that were live once, under another name: durable, and no cost. The newest one
is a copy, as the live file may be damaged where it lies, and with it every other name that it has.
"""

import contextlib
from pathlib import Path
from typing import Final

from upm_cli.errors import BusyError, IntegrityError, InvalidError, StorageError, UpmError
from upm_cli.store import engine as engines
from upm_cli.store import fsio, layout, queries, schema

KEPT: Final = 10


def keep_last(home: Path, generation: int) -> None:
    """Keep the live state, which is about to be replaced, under its generation: the file itself, no copy any more."""
    with contextlib.suppress(StorageError):
        fsio.keep_link(home / layout.STATE, layout.history_file(home, generation))


def keep(home: Path, generation: int) -> None:
    """Keep a copy of the live state as `generation` and forget the oldest ones.

    The commit is already done and durable when this runs, so a disk that refuses does not undo it; one that is full
    gets a hard link. The copy is not synced: the next commit puts the file itself in its place, which is.
    """
    state, kept = home / layout.STATE, layout.history_file(home, generation)
    with contextlib.suppress(StorageError):
        for old in states(home)[KEPT - 1 :]:
            fsio.remove_quietly(old)
        try:
            fsio.replicate(state, kept)
        except StorageError:
            fsio.keep_link(state, kept)


def states(home: Path) -> list[Path]:
    """Return the kept states, newest first."""
    return sorted((home / layout.HISTORY).glob("*.duckdb"), reverse=True)


def newest_good(home: Path) -> Path | None:
    """Return the newest kept state in which everything can be read."""
    return next((path for path in states(home) if problem(path) is None), None)


def problem(path: Path) -> str | None:
    """Say what is wrong with the state file at `path`, or None after reading all of it."""
    error = examine(path)
    return None if error is None else error.message


def examine(path: Path) -> UpmError | None:
    """Read all of the state file at `path` and return the error it meets: damage, or what stands in the way of reading.

    Only damage is a reason to go back to another state: see `is_damage`.
    """
    import duckdb

    engine = engines.Engine(path.parent)
    try:
        name = engine.attach(path, read_only=True)
        cursor = engine.cursor(name)
        schema.check(schema.read_meta(cursor), path)
        for (table,) in cursor.execute(queries.statement("schema.tables")).fetchall():
            cursor.execute(queries.statement("schema.scan"), {"table": table}).fetchall()
    except duckdb.Error as exc:
        return engines.explain(exc, path, "read it")
    except UpmError as exc:
        return exc
    finally:
        engine.close()
    return None


def is_damage(error: UpmError) -> bool:
    """Say whether a state that was read with `error` is damaged, and not locked, out of reach or of a newer upm."""
    return not isinstance(error, BusyError | StorageError | InvalidError)


def meta(path: Path) -> schema.Meta:
    """Return what the state file at `path`, which opens, says of itself."""
    engine = engines.Engine(path.parent)
    try:
        return schema.read_meta(engine.cursor(engine.attach(path, read_only=True)))
    finally:
        engine.close()


def damaged(home: Path, why: str) -> IntegrityError:
    """Return the error for a live state that does not open, with the way back."""
    good = newest_good(home)
    if good is None:
        hint = "no kept state opens either: upm backup restore makes a new project of a backup"
    else:
        hint = f"{good} is the newest good one; upm doctor --restore puts it in place and keeps the damaged file"
    context = {"path": str(home / layout.STATE), "newest_good": None if good is None else str(good)}
    return IntegrityError(why, hint=hint, code="UPM-E091", context=context)
