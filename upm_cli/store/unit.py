"""Views of the state and units of work on it. `session.Store` opens them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from upm_cli import ids
from upm_cli.clock import Clock
from upm_cli.core.records import OutboxEvent
from upm_cli.store import ledger
from upm_cli.store.engine import Engine, explain
from upm_cli.store.rows import codec
from upm_cli.store.schema import Meta

if TYPE_CHECKING:
    import duckdb
    import numpy.typing as npt

KEPT_EVENTS: Final = 4096  # the outbox keeps at least so many, and at most twice that


class Reader:
    """One consistent view of the state. Use it inside its `with` block and in one thread."""

    def __init__(self, engine: Engine, cursor: "duckdb.DuckDBPyConnection", state: Path, meta: Meta) -> None:
        self._engine = engine
        self._cursor = cursor
        self._state = state
        self.meta = meta

    def query(self, name: str, /, **params: Any) -> list[dict[str, Any]]:
        """Return the rows of the named SQL `<aggregate>.<block>`."""
        result = self._run(name, params)
        columns = [column[0] for column in result.description or ()]
        return [dict(zip(columns, row, strict=True)) for row in result.fetchall()]

    def columns(self, name: str, /, **params: Any) -> "dict[str, npt.NDArray[Any]]":
        """Return the same in columns, as NumPy arrays (masked where there are NULLs)."""
        columns: dict[str, npt.NDArray[Any]] = self._run(name, params).fetchnumpy()
        return columns

    def _run(self, name: str, params: dict[str, Any]) -> "duckdb.DuckDBPyConnection":
        import duckdb

        try:
            return self._engine.run(self._cursor, name, params)
        except duckdb.Error as exc:
            raise explain(exc, self._state, f"run {name}") from exc


class Tx(Reader):
    """One unit of work. What it changes is seen by others after the `with` block: all of it or nothing."""

    def __init__(
        self,
        engine: Engine,
        cursor: "duckdb.DuckDBPyConnection",
        state: Path,
        meta: Meta,
        *,
        clock: Clock,
        actor: str,
    ) -> None:
        super().__init__(engine, cursor, state, meta)
        self._clock = clock
        self._actor = actor
        self._entries: list[ledger.Entry] = []
        self._events: list[OutboxEvent] = []
        self.changed = False

    @property
    def is_sound(self) -> bool:
        """Whether the engine has met no error that ends this transaction."""
        return self._engine.usable

    @contextmanager
    def acting_as(self, actor: str) -> Iterator["Tx"]:
        """Let `actor` be who does what the block does. Meanwhile `changed` tells of the block alone."""
        before, self._actor = (self._actor, self.changed), actor
        self.changed = False
        try:
            yield self
        finally:
            self._actor, self.changed = before[0], before[1] or self.changed

    def execute(self, name: str, /, **params: Any) -> None:
        """Run the named SQL that changes something."""
        self.changed = True
        self._run(name, params)

    def put(self, aggregate: str, row: dict[str, Any]) -> None:
        """Update the row with the same key by `<aggregate>.update`, or else add it by `<aggregate>.insert`."""
        self.changed = True
        ((updated,),) = self._run(f"{aggregate}.update", row).fetchall()
        if not updated:
            self._run(f"{aggregate}.insert", row)

    def ledger(self, action: str, subject: str, /, **details: Any) -> None:
        """Record a control action in the hash-chained ledger, with this commit."""
        self.changed = True
        entry = ledger.Entry(
            at_ms=self._clock.now_ms(), actor=self._actor, action=action, subject=subject, details=details
        )
        self._entries.append(entry)

    def event(self, type: str, source: str, /, **data: Any) -> None:
        """Put an event into the outbox, with this commit."""
        self.changed = True
        self._events.append(
            OutboxEvent(
                event_id=ids.uuid7(self._clock), type=type, source=source, at_ms=self._clock.now_ms(), data=data
            )
        )

    def finish(self, home: Path) -> None:
        """Write the events, append to the ledger and move the state on by one generation."""
        position = self._write_events()
        head = ledger.append(home, self.meta.ledger, self._entries)
        self.execute(
            "meta.advance",
            generation=self.meta.generation + 1,
            ledger_count=head.count,
            ledger_hash=head.hash,
            ledger_offset=head.offset,
            outbox_position=position,
        )

    def _write_events(self) -> int:
        before = self.meta.outbox_position
        if not self._events:
            return before
        encoded = [codec(OutboxEvent).encode(event) for event in self._events]
        columns = {name: [row[name] for row in encoded] for name in codec(OutboxEvent).columns}
        after = before + len(encoded)
        columns["position"] = list(range(before + 1, after + 1))
        self.execute("outbox.append", **columns)
        if before // KEPT_EVENTS != after // KEPT_EVENTS:
            self.execute("outbox.trim", position=after - KEPT_EVENTS)
        return after
