"""Telemetry files: one per worker and day, appended to, dropped after a month."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from upm_cli.store import fsio

FOLDER: Final = "telemetry"
KEEP_DAYS: Final = 30
_DAY_MS: Final = 86_400_000


def append(home: Path, worker: str, at_ms: int, lines: bytes) -> Path:
    """Append whole `lines` to the file of `worker` and the day of `at_ms`; the first of a day drops old files.

    `worker` is a name that is safe in file names, such as "trainer-main". Raises StorageError.
    """
    path = home / FOLDER / f"{_day(at_ms)}-{worker}.jsonl"
    if not path.exists():
        fsio.make_folder(path.parent)
        oldest = _day(at_ms - KEEP_DAYS * _DAY_MS)
        for old in files(home):
            if old.name < oldest:
                fsio.durable_unlink(old)
    fsio.append(path, lines)
    return path


def files(home: Path, since_ms: int | None = None) -> Iterator[Path]:
    """Yield the telemetry files that may hold points at or after `since_ms`, oldest day first."""
    oldest = "" if since_ms is None else _day(since_ms)
    yield from sorted(path for path in (home / FOLDER).glob("*.jsonl") if path.name >= oldest)


def day_of(path: Path) -> str:
    """Return the day (UTC) of a telemetry file, "2026-11-23"."""
    return path.name[:10]


def _day(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d")
