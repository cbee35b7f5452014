"""Writing what a worker measured, and reading it back."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from upm_cli.store import telemetry
from upm_cli.telemetry.points import Point, Recorder, decode, encode


def flush(home: Path, worker: str, recorder: Recorder, now_ms: int, *, force: bool = False) -> int:
    """Write the points of `recorder` if they are due, or with `force` whatever there is; return how many.

    Call it after a commit, so that telemetry never tells of what did not happen; a worker killed in between loses
    those points, as nothing depends on them. Raises StorageError.
    """
    if not force and not recorder.due(now_ms):
        return 0
    points = recorder.drain(now_ms)
    if points:
        telemetry.append(home, worker, now_ms, encode(points))
    return len(points)


def read(home: Path, since_ms: int | None = None) -> Iterator[Point]:
    """Yield the recorded points at or after `since_ms` in the order of time, day by day."""
    for _, files in groupby(telemetry.files(home, since_ms), key=telemetry.day_of):
        points = [point for path in files for point in decode(path.read_bytes())]
        points.sort(key=lambda point: point.at_ms)
        yield from (point for point in points if since_ms is None or point.at_ms >= since_ms)
