"""The state, read without a lock and written one whole unit of work at a time.

Writing: take the lock, copy `state.duckdb` to `.next`, one transaction in the copy, fsync, rename over the live
file, fsync the folder, keep a copy as history, let go. A failure anywhere leaves the live file as it was.
Reading: attach the live file read-only and keep it attached until another one is there. An open reader keeps the
state it began with.
"""

import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from upm_cli.clock import Clock
from upm_cli.errors import IntegrityError, NotFoundError, UpmError
from upm_cli.store import engine as engines
from upm_cli.store import fsio, history, layout, reserve, schema, staging, statelock
from upm_cli.store.unit import Reader, Tx

if TYPE_CHECKING:
    import duckdb

__all__ = ["Reader", "Store", "Tx"]


@dataclass(slots=True)
class _Live:
    """A state file attached for reading."""

    engine: engines.Engine
    name: str
    token: tuple[int, int]
    meta: schema.Meta
    readers: int = 0


class Store:
    """The durable state of one project. Safe to use from several threads; not across a fork."""

    def __init__(self, home: Path, clock: Clock, *, lock_timeout_s: float = 10.0, command: str = "") -> None:
        self.home = home.absolute()
        self.clock = clock
        self._state = self.home / layout.STATE
        self._timeout_s = lock_timeout_s
        self._command = command
        self._pid = os.getpid()
        self._mutex = threading.RLock()
        self._engine: engines.Engine | None = None
        self._live: _Live | None = None
        self._turn = threading.Lock()
        self._writer: int | None = None  # thread that is inside write()

    @classmethod
    def create(cls, home: Path, clock: Clock, *, lock_timeout_s: float = 10.0, command: str = "") -> "Store":
        """Make the folders and the state, or bring an older state up to date. Twice is the same as once.

        Raises IntegrityError when the state is gone but its history is not: an empty one must not replace it.
        """
        store = cls(home, clock, lock_timeout_s=lock_timeout_s, command=command)
        for folder in ("", *layout.FOLDERS):
            fsio.make_folder(store.home / folder)
        if not store._state.exists():
            with store._exclusive(None):
                if not store._state.exists():
                    store._make_state()
        with store._attached() as live:
            version = live.meta.schema_version
        if schema.pending_migrations(version):
            with store._exclusive(None), store._next_state() as staged:
                applied = schema.migrate(staged.cursor, staged.meta.schema_version, clock.now_ms())
                staged.publish = bool(applied)
        return store

    def token(self) -> tuple[int, int]:
        """Return (inode, mtime_ns) of the live state: one stat, and it changes when the state did."""
        try:
            found = self._state.stat()
        except FileNotFoundError as exc:
            raise self._missing() from exc
        except OSError as exc:
            raise fsio.storage_error(exc, self._state, "look at") from exc
        return found.st_ino, found.st_mtime_ns

    @contextlib.contextmanager
    def read(self) -> Iterator[Reader]:
        """Open one consistent view. Takes no lock.

        Raises NotFoundError without a state, IntegrityError when it does not open, InvalidError when its schema is
        not this version's.
        """
        with self._attached() as live:
            schema.check(live.meta, self._state)
            cursor = live.engine.cursor(live.name)
            try:
                yield Reader(live.engine, cursor, self._state, live.meta)
            finally:
                cursor.close()

    @contextlib.contextmanager
    def write(self, *, timeout_s: float | None = None, actor: str = "") -> Iterator[Tx]:
        """Do one unit of work: everything in the block is committed at its end, or nothing.

        A block that changes nothing commits nothing. Raises BusyError naming the holder when the lock is not to be
        had in time, else as `read` does, and StorageError when the disk refuses.
        """
        self.token()
        self._warm_engine()
        with self._exclusive(timeout_s), self._next_state() as staged:
            schema.check(staged.meta, self._state)
            actor = actor or fsio.os_user()
            tx = Tx(self._warm_engine(), staged.cursor, self._state, staged.meta, clock=self.clock, actor=actor)
            yield tx
            staged.publish = tx.changed
            if tx.changed:
                tx.finish(self.home)
        if staged.publish:
            reserve.make_up(self.home)

    def close(self) -> None:
        """Let go of the engine. The store can be used again and then gets a new one."""
        with self._mutex:
            engine, self._engine, self._live = self._engine, None, None
            if engine is not None:
                engine.close()

    def _warm_engine(self) -> engines.Engine:
        self._refuse_fork()
        with self._mutex:
            if self._engine is None or not self._engine.usable:
                self._live = None
                self._engine = engines.Engine(self.home)
            return self._engine

    def _refuse_fork(self) -> None:
        if os.getpid() != self._pid:
            raise UpmError(f"the store was opened by pid {self._pid}, before a fork: open a new one in this process")

    @contextlib.contextmanager
    def _attached(self) -> Iterator[_Live]:
        self._refuse_fork()
        with self._mutex:
            live = self._newest()
            live.readers += 1
        try:
            yield live
        finally:
            with self._mutex:
                live.readers -= 1
                if live is not self._live:
                    self._detach(live)

    def _newest(self) -> _Live:
        engine, token = self._warm_engine(), self.token()
        if self._live is None or self._live.token != token:
            old, self._live = self._live, self._attach(engine, token)
            if old is not None:
                self._detach(old)
        return self._live

    def _attach(self, engine: engines.Engine, token: tuple[int, int]) -> _Live:
        import duckdb

        try:
            name = engine.attach(self._state, read_only=True)
            cursor = engine.cursor(name)
            try:
                return _Live(engine, name, token, schema.read_meta(cursor))
            finally:
                cursor.close()
        except duckdb.Error as exc:
            self.token()  # gone since we looked?
            raise self._explain(exc, "open the state") from exc

    def _detach(self, live: _Live) -> None:
        if not live.readers and live.engine is self._engine:
            live.engine.detach(live.name)

    def _explain(self, exc: "duckdb.Error", doing: str) -> UpmError:
        error = engines.explain(exc, self._state, doing)
        return history.damaged(self.home, error.message) if isinstance(error, IntegrityError) else error

    def _missing(self) -> UpmError:
        if history.states(self.home):
            return history.damaged(self.home, f"the state {self._state} is gone")
        return NotFoundError(f"no state in {self.home}", hint="upm init makes one", code="UPM-E041")

    @contextlib.contextmanager
    def _exclusive(self, timeout_s: float | None) -> Iterator[None]:
        self._refuse_fork()
        thread = threading.get_ident()
        if self._writer == thread:
            raise UpmError("a unit of work was opened inside another one of the same thread")
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        if not self._turn.acquire(timeout=max(limit_s, 0.0)):
            raise statelock.busy(self.home, limit_s)
        try:
            with statelock.hold(self.home, self.clock, limit_s=limit_s, command=self._command):
                self._writer = thread
                try:
                    yield
                finally:
                    self._writer = None
        finally:
            self._turn.release()

    def _make_state(self) -> None:
        if history.states(self.home):
            raise self._missing()
        with self._next_state(fresh=True) as staged:
            schema.migrate(staged.cursor, 0, self.clock.now_ms())

    @contextlib.contextmanager
    def _next_state(self, *, fresh: bool = False) -> Iterator[staging.Staged]:
        import duckdb

        try:
            with staging.next_state(self._warm_engine(), self.home, fresh=fresh) as staged:
                yield staged
        except duckdb.Error as exc:
            raise self._explain(exc, "change the state") from exc
