"""Small files in `run/`: what workers say about themselves, and what a supervisor and its processes tell each other.

    <worker>.json    status for people: what it does, its counts, its last error; about once a second
    <process>.jobs   from the supervisor: the jobs the process is to do
    <process>.beat   from the process: which of them it does, how far each has come, and what it has seen
    <process>.doing  the job it is at right now, written before each turn: whoever finds it dead knows where it was

All are replaced at once. None is durable: after a power cut they are old, and their writers are gone.
"""

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

from upm_cli import ids
from upm_cli.errors import UsageError
from upm_cli.store import fsio
from upm_cli.store.layout import RUN

STATUS: Final = "json"
JOBS: Final = "jobs"
BEAT: Final = "beat"
_DOING: Final = "doing"
_WIDTH: Final = 80
_NUMBERS: Final = ("at_ms", "pid", "done", "rate", "lag", "loss", "restarts")  # of a status


def write_status(home: Path, worker: str, status: Mapping[str, Any]) -> None:
    """Replace the status of `worker` at once; a power cut may bring an older one back."""
    path = path_of(home, worker)
    fsio.make_folder(path.parent)
    fsio.replace_file(path, json.dumps({**status, "worker": worker}, allow_nan=False).encode())


def read_statuses(home: Path) -> list[dict[str, Any]]:
    """Return the statuses of all workers by name; files that are gone or unreadable are left out."""
    found = (_load(path) for path in sorted((home / RUN).glob("*.json")))
    return [status for status in found if status is not None]


def whole_statuses(home: Path) -> list[dict[str, Any]]:
    """Return the statuses of all workers but those with a field that nobody could use."""
    found = ((path.stem, _load(path)) for path in sorted((home / RUN).glob("*.json")))
    return [status for name, status in found if status is not None and _is_whole(status, name)]


def _is_whole(status: Mapping[str, Any], name: str) -> bool:
    """Say whether a status can be one that `write_status` wrote: everybody who looks at workers trusts these fields."""
    try:
        ids.check_name(str(status.get("lease", name)), "lease")
    except UsageError:
        return False
    numbers = (status.get(field) for field in _NUMBERS)
    return status.get("worker") == name and all(each is None or isinstance(each, int | float) for each in numbers)


def read_status(home: Path, worker: str) -> dict[str, Any] | None:
    """Return the status of one worker, if it can be read."""
    return _load(_path(home, worker))


def remove_status(home: Path, worker: str) -> None:
    """Forget the status of `worker`."""
    fsio.remove_quietly(path_of(home, worker))


def path_of(home: Path, worker: str) -> Path:
    """Return the file with the status of `worker`."""
    return home / RUN / f"{ids.check_name(worker, 'worker')}.json"


def write_note(home: Path, process: str, kind: str, note: Mapping[str, Any]) -> None:
    """Replace the JOBS or BEAT of a process."""
    fsio.replace_file(_path(home, process, kind), json.dumps(note, allow_nan=False).encode())


def read_note(home: Path, process: str, kind: str) -> dict[str, Any] | None:
    """Return the JOBS, BEAT or STATUS of a process; None when there is none, or it can't be read."""
    return _load(_path(home, process, kind))


def note_token(home: Path, process: str, kind: str) -> tuple[int, int] | None:
    """Return (inode, mtime_ns) of a note: it changes when the note was replaced. None: there is none."""
    try:
        found = _path(home, process, kind).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def remove_notes(home: Path, process: str) -> None:
    """Forget what was told to and by a process."""
    for kind in (JOBS, BEAT, _DOING):
        fsio.remove_quietly(_path(home, process, kind))


class Doing:
    """Where a process writes which job it is at: one small write in place, so that each turn can afford it."""

    def __init__(self, home: Path, process: str) -> None:
        self._path = _path(home, process, _DOING)
        self._fd = fsio.open_lock(self._path)
        self._said = b""

    def say(self, job: str) -> None:
        """Write the name of the job; an empty one says that none is being done."""
        line = job.encode()[:_WIDTH].ljust(_WIDTH)
        if line != self._said:
            self._said = line
            fsio.write_at(self._fd, line, self._path)

    def close(self) -> None:
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def last_doing(home: Path, process: str) -> str:
    """Return the job a process was at when it last said so; empty: none, or not known."""
    try:
        return _path(home, process, _DOING).read_bytes().strip(b" \0").decode()
    except (OSError, UnicodeDecodeError):
        return ""


def _load(path: Path) -> dict[str, Any] | None:
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(path.read_bytes())
        if isinstance(found, dict):
            return found
    return None


def _path(home: Path, worker: str, kind: str = STATUS) -> Path:
    return home / RUN / f"{ids.check_name(worker, 'worker')}.{kind}"
