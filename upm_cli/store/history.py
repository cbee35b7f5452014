"""The last ten states, kept as hard links, and which of them still opens."""

import contextlib
from pathlib import Path
from typing import Final

from upm_cli.errors import IntegrityError, StorageError, UpmError
from upm_cli.store import engine as engines
from upm_cli.store import fsio, layout, queries, schema

KEPT: Final = 10


def keep(home: Path, generation: int) -> None:
    """Keep the live state as `generation` and forget the oldest ones.

    The commit is already done and durable when this runs, so a disk that refuses the link does not undo it.
    """
    with contextlib.suppress(StorageError):
        fsio.keep_link(home / layout.STATE, layout.history_file(home, generation))
        for old in states(home)[KEPT:]:
            fsio.remove_quietly(old)


def states(home: Path) -> list[Path]:
    """Return the kept states, newest first."""
    return sorted((home / layout.HISTORY).glob("*.duckdb"), reverse=True)


def newest_good(home: Path) -> Path | None:
    """Return the newest kept state in which everything can be read."""
    return next((path for path in states(home) if problem(path) is None), None)


def problem(path: Path) -> str | None:
    """Say what is wrong with the state file at `path`, or None after reading all of it."""
    import duckdb

    engine = engines.Engine(path.parent)
    try:
        name = engine.attach(path, read_only=True)
        cursor = engine.cursor(name)
        schema.check(schema.read_meta(cursor), path)
        for (table,) in cursor.execute(queries.statement("schema.tables")).fetchall():
            cursor.execute(queries.statement("schema.scan"), {"table": table}).fetchall()
    except duckdb.Error as exc:
        return engines.explain(exc, path, "read it").message
    except UpmError as exc:
        return exc.message
    finally:
        engine.close()
    return None


def damaged(home: Path, why: str) -> IntegrityError:
    """Return the error for a live state that does not open, with the way back."""
    good = newest_good(home)
    if good is None:
        hint = "no kept state opens either: put a backup in its place"
    else:
        hint = f"{good} is the newest good one; upm doctor --restore puts it in place and keeps the damaged file"
    context = {"path": str(home / layout.STATE), "newest_good": None if good is None else str(good)}
    return IntegrityError(why, hint=hint, code="UPM-E091", context=context)
