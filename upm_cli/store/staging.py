"""The copy-on-write step of a commit: a private copy of the state, one transaction, and the swap."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from upm_cli.errors import BusyError
from upm_cli.store import fsio, history, layout, queries, schema
from upm_cli.store.engine import Engine
from upm_cli.store.ledger import Head

if TYPE_CHECKING:
    import duckdb


@dataclass(slots=True)
class Staged:
    """The copy that a unit of work changes. Without `publish` it is dropped at the end."""

    cursor: "duckdb.DuckDBPyConnection"
    meta: schema.Meta
    publish: bool = True


@contextlib.contextmanager
def next_state(engine: Engine, home: Path, *, fresh: bool = False, source: Path | None = None) -> Iterator[Staged]:
    """Give a transaction in a copy of the state and then put the copy in its place.

    `fresh`: in a new, empty one; `source`: in a copy of that file.

    The caller holds the lock. Any failure drops the copy; the live file is never touched. Raises duckdb.Error and
    StorageError.
    """
    state, path = home / layout.STATE, home / layout.NEXT
    fsio.remove_quietly(path)
    try:
        before = None if fresh else fsio.copy(source or state, path)
        name = engine.attach(path, read_only=False)
        try:
            cursor = engine.cursor(name)
            try:
                cursor.execute("BEGIN")
                staged = Staged(cursor, _first_meta(cursor) if fresh else schema.read_meta(cursor))
                yield staged
                if staged.publish:
                    cursor.execute("COMMIT")
                    cursor.execute("CHECKPOINT")
            finally:
                cursor.close()
        except BaseException:
            engine.abandon(name)
            raise
        engine.detach(name)
        if staged.publish:
            if source is None and before is not None and fsio.identity(state) != before:
                raise BusyError(f"{state} was replaced by something that does not hold the lock", code="UPM-E072")
            if before is not None and source is None:
                history.keep_last(home, staged.meta.generation)
            fsio.publish(path, state)
            history.keep(home, staged.meta.generation + 1)
    finally:
        fsio.remove_quietly(path)


def _first_meta(cursor: "duckdb.DuckDBPyConnection") -> schema.Meta:
    cursor.execute(queries.statement("schema.create"))
    return schema.Meta(generation=-1, schema_version=0, ledger=Head(), outbox_position=0)
