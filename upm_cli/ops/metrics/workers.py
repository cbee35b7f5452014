"""The metrics that workers tell of in their status files, and what the kernel says of those that run."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from upm_cli.errors import UpmError
from upm_cli.ops.metrics.supervised import Word
from upm_cli.store import lease
from upm_cli.telemetry.metrics.exposition import Sample

Status = Mapping[str, Any]
#: Kinds of worker whose name has a dash; of all others the kind is what stands before the first one.
_DASHED: Final = ("adapter-sync",)
_STATE: Final = re.compile(r"[a-z][a-z ]{0,31}")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


def samples(home: Path, statuses: Sequence[Status], told: Mapping[str, Word]) -> Iterator[Sample]:
    """Yield what `statuses`, the status files of a project, say of each worker, and what its supervisor has `told`.

    A file that a newer or broken program wrote tells what it can; the rest of it is left out.
    """
    known = {str(status["worker"]): status for status in statuses if status.get("worker")}
    for name in sorted(known.keys() | told.keys()):
        yield from _worker(home, name, known.get(name, {}), told.get(name))


def live_buffers(home: Path, statuses: Sequence[Status]) -> dict[str, int]:
    """Return the windows in the replay buffers of the ingest workers that run, by stream: newer than the state's."""
    found = {}
    for status in statuses:
        stream, buffer = status.get("stream"), status.get("buffer")
        if isinstance(stream, str) and isinstance(buffer, int) and _holder(home, status) is not None:
            found[stream] = buffer
    return found


def _worker(home: Path, name: str, status: Status, word: Word | None) -> Iterator[Sample]:
    about = {"worker": name, "kind": _kind(name)}
    holder = _holder(home, status)
    yield Sample("upm_worker_up", int(holder is not None or bool(word and word.is_up)), about)
    yield Sample("upm_worker_state", 1, {**about, "state": _state(status, word)})
    at_ms, rate = _number(status, "at_ms"), _number(status, "rate")
    restarts = _number(status, "restarts") if word is None else word.restarts
    if at_ms is not None:
        yield Sample("upm_worker_status_timestamp_seconds", at_ms / 1000, about)
    if restarts is not None:
        yield Sample("upm_worker_restarts_total", restarts, about)
    if holder is not None and rate is not None and about["kind"] == "trainer" and "trainer" in status:
        yield Sample("upm_trainer_windows_per_second", rate, {"trainer": str(status["trainer"])})
    resident = word.resident_bytes if word else _resident_bytes(holder.pid) if holder else None
    if resident is not None:
        yield Sample("upm_worker_resident_memory_bytes", resident, about)


def _state(status: Status, word: Word | None) -> str:
    """Return what the worker told, unless its supervisor knows better: that it does not run."""
    said = str(status.get("state", ""))
    if word is not None and (word.state != "running" or not said):
        said = word.state
    return said if _STATE.fullmatch(said) else "other"


def _kind(name: str) -> str:
    return next((kind for kind in _DASHED if name.startswith(kind)), name.partition("-")[0])


def _holder(home: Path, status: Status) -> lease.Holder | None:
    """Return who holds the lease that the worker named; a name that is none is nobody's."""
    try:
        return lease.holder(home, str(status.get("lease", "")))
    except UpmError:
        return None


def _number(status: Status, key: str) -> float | None:
    value = status.get(key)
    return float(value) if isinstance(value, int | float) and abs(value) < float("inf") else None


def _resident_bytes(pid: int) -> int | None:
    """Return the memory of a process of this machine (Linux); None when that is not to be known."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES if pid > 0 else None
    except (OSError, ValueError, IndexError):
        return None
