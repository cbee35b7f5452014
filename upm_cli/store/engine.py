"""The resident DuckDB of one process: in memory, with state files attached and detached.

DuckDB gives a file to one process at a time, and opening one from nothing takes 20 ms. So each process keeps one
engine without a file of its own and attaches copies of the state to it, which takes about one.
"""

import contextlib
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from upm_cli.errors import BusyError, IntegrityError, InvalidError, StorageError, UpmError
from upm_cli.store import queries

if TYPE_CHECKING:
    import duckdb

MEMORY_LIMIT: Final = "128MB"
# 16 KiB blocks: the default of 256 KiB makes a small state four to five times larger. `name` is replaced by a number
# of our own; the path is a parameter.
_ATTACH: Final = {
    True: "ATTACH $path AS name (READ_ONLY)",
    False: "ATTACH $path AS name (BLOCK_SIZE 16384, RECOVERY_MODE 'no_wal_writes')",
}


def connect(folder: Path | None, memory_limit: str = MEMORY_LIMIT) -> "duckdb.DuckDBPyConnection":
    """Return an in-memory DuckDB that may open files below `folder` only (None: no files at all)."""
    import duckdb

    config: dict[str, Any] = {
        "threads": 1,
        "async_threads": 0,  # no threads at all: a process that has an engine may still start others
        "memory_limit": memory_limit,
        "temp_directory": "",
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "python_enable_replacements": False,  # a table name in SQL is never a Python variable
        "fsync_mode": "NONE",  # only throw-away copies are written; fsio syncs them before they count
    }
    connection = duckdb.connect(":memory:", config=config)
    if folder is not None:
        connection.execute("SET allowed_directories = $folders", {"folders": [str(folder)]})
    return connection


def lock_down(connection: "duckdb.DuckDBPyConnection") -> None:
    """Allow nothing more: no other files, no change of settings."""
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


class Engine:
    """One in-memory DuckDB to which state files of one home are attached, each under a name of its own.

    After an error it may refuse everything, so it is then marked as not `usable` and its owner takes a new one.
    """

    def __init__(self, home: Path) -> None:
        self.usable = True
        self._using = threading.Lock()  # a connection serves one thread at a time, and says so with an error
        self._connection = connect(home)
        lock_down(self._connection)
        self._numbers = itertools.count(1)
        self._parsed: dict[str, duckdb.Statement] = {}
        # The first statement with parameters imports what it needs; that must not happen under a lock.
        self._connection.execute("SELECT $warm", {"warm": 1}).fetchall()

    def attach(self, path: Path, *, read_only: bool) -> str:
        """Attach the state file at `path` and return its name."""
        name = f"s{next(self._numbers)}"
        with self._using, self.watched():
            self._connection.execute(_ATTACH[read_only].replace("name", name), {"path": str(path)})
        return name

    def cursor(self, name: str) -> "duckdb.DuckDBPyConnection":
        """Return a cursor of its own, in which the tables of `name` need no prefix."""
        with self.watched():
            with self._using:
                cursor = self._connection.cursor()
            cursor.execute(f"USE {name}")
        return cursor

    def run(
        self, cursor: "duckdb.DuckDBPyConnection", name: str, params: dict[str, Any] | None = None
    ) -> "duckdb.DuckDBPyConnection":
        """Execute the named SQL `<aggregate>.<block>` in `cursor`; its text is parsed once."""
        with self.watched():
            parsed = self._parsed.get(name)
            if parsed is None:
                (parsed,) = cursor.extract_statements(queries.statement(name))
                self._parsed[name] = parsed
            return cursor.execute(parsed, params)

    def detach(self, name: str) -> None:
        """Let go of the file; its cursors must be closed."""
        with self._using, self.watched():
            self._connection.execute(f"DETACH {name}")

    def abandon(self, name: str) -> None:
        """Let go of the file after an error, which is what its caller has to hear about, not this."""
        import duckdb

        with contextlib.suppress(duckdb.Error):
            self.detach(name)

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Mark the engine as not usable when the block meets an error that is more than a refused row."""
        import duckdb

        try:
            yield
        except duckdb.ConstraintException:
            raise
        except duckdb.Error:
            self.usable = False
            raise

    def close(self) -> None:
        self._connection.close()


def explain(exc: "duckdb.Error", path: Path, doing: str) -> UpmError:
    """Return what a DuckDB error means for the state file at `path`."""
    import duckdb

    text = str(exc).partition("\n")[0]
    if isinstance(exc, duckdb.ConstraintException):
        return InvalidError(f"the state refuses to {doing}: {text}", code="UPM-E033")
    if "No space left" in text or "File too large" in text or "Disk quota" in text:
        hint = f"free space on the disk of {path.parent}, then try again"
        return StorageError(f"can't {doing}: the disk of {path} is full", hint=hint, code="UPM-E010")
    if "Permission denied" in text:
        hint = f"give this user read and write access to {path.parent}"
        return StorageError(f"can't {doing}: no permission for {path}", hint=hint, code="UPM-E012")
    if "Too many open files" in text:
        hint = "let this process open more of them: ulimit -n, or LimitNOFILE= of its unit"
        return StorageError(f"can't {doing}: too many open files, {path} is one more", hint=hint, code="UPM-E013")
    if "Conflicting lock" in text or "Could not set lock" in text:
        hint = "close the other program; upm sql reads the state without locking it"
        return BusyError(f"another program has {path} open: {text}", hint=hint, code="UPM-E072")
    damage = (duckdb.IOException, duckdb.InternalException, duckdb.FatalException, duckdb.SerializationException)
    if isinstance(exc, damage) or "Corrupt" in text:
        return IntegrityError(f"the state {path} is damaged: {text}", code="UPM-E091", context={"path": str(path)})
    return UpmError(f"can't {doing}: {text}")
