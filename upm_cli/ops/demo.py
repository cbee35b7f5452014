"""The project of the demo: its messages, its configuration, and how its commands are run.

Monday's mail is as it should be. At midnight a change upstream makes the feed deliver yes for no. Five minutes of
Tuesday's mail are too few for a verdict, so somebody in a hurry can still except the gate that asks for one; with the
second part the hour is judged, and what serves is taken back without being asked.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np

from upm_cli.config.load import FILE_NAME
from upm_cli.core.comparisons import Comparisons
from upm_cli.errors import PartialError, UsageError
from upm_cli.sources.synthetic import TriageSpec, lines
from upm_cli.store import fsio

TRAINER: Final = "triage"
START_MS: Final = int(datetime(2026, 1, 5, tzinfo=UTC).timestamp() * 1000)
SPACING_MS: Final = 3000  # 1,200 messages an hour
PARTS: Final = {"monday.jsonl": 28_800, "tuesday-0000.jsonl": 100, "tuesday-0005.jsonl": 1_700}
MESSAGES: Final = sum(PARTS.values())
SHIFT_AT: Final = PARTS["monday.jsonl"]
_MARK: Final = "# The project of `upm demo`"
_CONFIG: Final = f"""\
{_MARK}; running the demo again makes it anew. Everything not said here has its default: upm config show --origin
supervisor:
  default_trainers:
    - name: {TRAINER}
      mode: shadow

trainer_worker:
  snapshot_interval: 100       # a snapshot every 100 messages, at most one for each commit of a run that catches up

drift_monitor:
  window_duration_ms: 3600000  # judge every hour of event time …
  sample_size: 1000            # … that has at least so many labelled messages

policy:
  canary_tenants: ["*"]        # who may be in a canary: all of them
"""
URGENT: Final = {  # the message the demo asks about
    "window_id": "ask-1",
    "window_start": "2026-01-06T00:40:00Z",
    "window_end": "2026-01-06T00:40:03Z",
    "tenant_id": "team-01",
    "features": {
        "sender": {"domain": "pager.example", "reputation": 0.97, "known": True},
        "subject": ["outage", "production", "today"],
        "language": "en",
        "hour": 0,
        "has_attachment": False,
        "thread_length": 3,
        "recipients": 2,
    },
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What one command of the demo answered: the words after `upm`, its exit code, its JSON and its error line."""

    words: tuple[str, ...]
    code: int
    data: dict[str, Any]
    error: str


def prepare(folder: Path, seed: int) -> None:
    """Make `folder` with the configuration and the messages in `mail/`. A former demo project is replaced.

    Raises UsageError when something else is in the folder.
    """
    if folder.exists() and any(folder.iterdir()):
        _clear(folder)
    fsio.make_folder(folder / "mail", mode=0o755)
    fsio.durable_write(folder / FILE_NAME, _CONFIG.encode(), mode=0o644)
    spec = TriageSpec(messages=MESSAGES, start_ms=START_MS, spacing_ms=SPACING_MS, shift_at=SHIFT_AT)
    mail = lines(spec, np.random.default_rng(seed))
    for name, count in PARTS.items():
        fsio.durable_write(folder / "mail" / name, b"".join(islice(mail, count)), mode=0o644)
    fsio.durable_write(folder / "mail" / "one.json", json.dumps(URGENT).encode() + b"\n", mode=0o644)


def run(folder: Path, *words: str, expect: Sequence[int] = (0,)) -> Answer:
    """Run `upm WORDS` in the project as a person would, in a process of its own.

    Raises PartialError when it ends with a code that is not expected.
    """
    command = [sys.executable, "-m", "upm_cli", *words, "--json", "--no-input"]
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("UPM_", "TL_FEATURES_"))}
    done = subprocess.run(
        command, cwd=folder, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    error = next((line for line in done.stderr.splitlines() if line.startswith("error")), "")
    if done.returncode not in expect:
        raise PartialError(
            f"upm {' '.join(words)} ended with {done.returncode}: {error or done.stderr.strip()[-300:] or 'no word'}",
            hint=f"look at the project in {folder}: upm -C {folder} status",
            code="UPM-E081",
            context={"command": list(words), "exit_code": done.returncode},
        )
    return Answer(words, done.returncode, json.loads(done.stdout or "{}"), error)


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """Mean Brier score of the messages up to the 50th, from there to the 100th, the 200th, … and of the base rate."""

    brier: list[float]
    base_rate: float


def learning_curve(comparisons: Comparisons) -> LearningCurve:
    """Return how the error fell; `comparisons` in log order, more than 50 of them."""
    edges = [0, *(50 << power for power in range(20) if 50 << power < len(comparisons)), len(comparisons)]
    spans = [slice(*pair) for pair in pairwise(edges)]
    return LearningCurve(
        [float(comparisons.brier[span].mean()) for span in spans], float(comparisons.base_brier[spans[-1]].mean())
    )


def _clear(folder: Path) -> None:
    """Empty the folder of a former demo."""
    config = folder / FILE_NAME
    if not (config.is_file() and config.read_text(errors="replace").startswith(_MARK)):
        raise UsageError(
            f"{folder} is not empty, and no project of an earlier demo",
            hint="name another folder: upm demo DIR",
            code="UPM-E029",
        )
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            fsio.durable_unlink(path)
