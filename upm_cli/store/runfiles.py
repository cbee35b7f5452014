"""Status files: what each worker says about itself, about once a second, in `run/<worker>.json`."""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from upm_cli import ids
from upm_cli.store import fsio
from upm_cli.store.layout import RUN


def write_status(home: Path, worker: str, status: Mapping[str, Any]) -> None:
    """Replace the status of `worker` at once; a power cut may bring an older one back."""
    path = path_of(home, worker)
    fsio.make_folder(path.parent)
    fsio.replace_file(path, json.dumps({**status, "worker": worker}, allow_nan=False).encode())


def read_statuses(home: Path) -> list[dict[str, Any]]:
    """Return the statuses of all workers by name; files that are gone or unreadable are left out."""
    statuses = []
    for path in sorted((home / RUN).glob("*.json")):
        with contextlib.suppress(OSError, ValueError):
            status = json.loads(path.read_bytes())
            if isinstance(status, dict):
                statuses.append(status)
    return statuses


def remove_status(home: Path, worker: str) -> None:
    """Forget the status of `worker`."""
    fsio.remove_quietly(path_of(home, worker))


def path_of(home: Path, worker: str) -> Path:
    """Return the file with the status of `worker`."""
    return home / RUN / f"{ids.check_name(worker, 'worker')}.json"
