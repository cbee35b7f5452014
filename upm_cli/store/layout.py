"""Where things lie in a project's `.upm` folder."""

from pathlib import Path
from typing import Final

STATE: Final = "state.duckdb"
NEXT: Final = "state.duckdb.next"  # the copy a commit works on; left over only by a killed process
LOCK: Final = "state.lock"
HISTORY: Final = "history"
LEDGER: Final = "ledger.jsonl"
LOG: Final = "log"
COMPARISONS: Final = "comparisons"
BLOBS: Final = "blobs/sha256"
TRASH: Final = "trash"
RUN: Final = "run"
KEYS: Final = "keys"
HELD: Final = "held"  # second names of what a backup reads, while it does; also in `blobs`, which may be another disk

FOLDERS: Final = (HISTORY, LOG, COMPARISONS, "blobs", BLOBS, TRASH, RUN, KEYS)


def history_file(home: Path, generation: int) -> Path:
    """Return where the state of `generation` is kept."""
    return home / HISTORY / f"{generation:012d}.duckdb"
