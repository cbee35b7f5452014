"""Kept states as stores of their own: what the state was a few commits ago, to look at and never to write."""

from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from upm_cli.clock import Clock
from upm_cli.errors import UpmError
from upm_cli.store import engine as engines
from upm_cli.store import history, schema
from upm_cli.store.session import Store


class KeptState(Store):
    """The store of a project as it was in one kept generation. Its files may be gone already, its rows are not."""

    def __init__(self, home: Path, state: Path, clock: Clock) -> None:
        super().__init__(home, clock)
        self._state = state

    def write(self, *, timeout_s: float | None = None, actor: str = "") -> NoReturn:
        """Refuse: the past can't be changed."""
        raise UpmError(f"{self._state} is a kept state; only the live one is written")


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One kept state: its file, its number, when it was written, and how many ledger entries it knows."""

    path: Path
    number: int
    written_ms: int
    entries: int


def generations(home: Path) -> list[Generation]:
    """Return the kept states that can be looked at, oldest first: those that open and have this version's schema."""
    engine = engines.Engine(home)
    try:
        found = [_generation(engine, path) for path in reversed(history.states(home))]
    finally:
        engine.close()
    return [each for each in found if each is not None]


def _generation(engine: engines.Engine, path: Path) -> Generation | None:
    import duckdb

    try:
        written_ms = path.stat().st_mtime_ns // 1_000_000
        name = engine.attach(path, read_only=True)
        cursor = engine.cursor(name)
        try:
            meta = schema.read_meta(cursor)
            schema.check(meta, path)
        finally:
            cursor.close()
            engine.detach(name)
    except (OSError, UpmError, duckdb.Error):  # gone meanwhile, damaged, or of another version
        return None
    return Generation(path=path, number=meta.generation, written_ms=written_ms, entries=meta.ledger.count)
