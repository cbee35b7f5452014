"""Telemetry files: one per worker and day, appended to, dropped after a month."""

import json
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from upm_cli.store import fsio

FOLDER: Final = "telemetry"
TOTALS: Final = "totals.json"
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


def read_after(path: Path, offset: int) -> tuple[bytes, int]:
    """Return the whole lines after `offset` bytes, and where they end; a file that was cut is read from its new end."""
    with fsio.telling(path, "read"), path.open("rb") as file:
        offset = min(offset, file.seek(0, os.SEEK_END))
        file.seek(offset)
        data = file.read()
    whole = data.rfind(b"\n") + 1
    return data[:whole], offset + whole


def load_totals(home: Path) -> dict[str, Any]:
    """Return what `save_totals` wrote; nothing when there is none, or when it can't be read."""
    try:
        found = json.loads((home / FOLDER / TOTALS).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def save_totals(home: Path, totals: Mapping[str, Any]) -> None:
    """Keep sums over telemetry files that are dropped one day. Raises StorageError."""
    fsio.replace_file(home / FOLDER / TOTALS, json.dumps(totals, allow_nan=False).encode())


def day_of(path: Path) -> str:
    """Return the day (UTC) of a telemetry file, "2026-11-23"."""
    return path.name[:10]


def _day(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d")
