"""What every worker process has: its project, settings and store, a status file, and one way to fail."""

import os
import random
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from upm_cli.clock import Clock
from upm_cli.config.load import load
from upm_cli.config.schema import Settings
from upm_cli.errors import UpmError
from upm_cli.exit_codes import ExitCode, for_error
from upm_cli.ops import telemetry
from upm_cli.store import fsio, runfiles
from upm_cli.store.session import Store
from upm_cli.telemetry.points import Recorder
from upm_cli.workers.lifeline import Stop

STATUS_EVERY_S = 0.2
QUIET_S = 5.0  # how often at least, while there is nothing new to tell
BUSY, IDLE = 0.7, 0.4  # share of the time spent working above and below which the pace changes
SLOWEST_S = 30.0
PARENT = "UPM_PARENT_PID"  # set by the tree or supervisor that started this worker


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """Where a worker works and which settings were given on the command line."""

    folder: Path
    config: Path | None = None
    overrides: tuple[str, ...] = ()

    def flags(self) -> list[str]:
        """Return the options that hand this project to another worker."""
        flags = ["--project", str(self.folder)]
        if self.config is not None:
            flags += ["--config", str(self.config)]
        for override in self.overrides:
            flags += ["--set", override]
        return flags

    def settings(self) -> Settings:
        path = self.config or self.folder / "upm.yaml"
        return load(path, overrides=self.overrides, environ=os.environ).settings


@dataclass(slots=True)
class Pace:
    """How often what costs something is done: commits, looks, and telling. Shared by the jobs of one process.

    A process that has more to do than it can commits more seldom, so that more gets done with each commit; when it has
    time again, it goes back to once a second.
    """

    commit_s: float = 1.0
    tell_s: float = 0.0

    def adapt(self, busy: float) -> None:
        """Take into account that the process was busy for this share of the last while."""
        factor = 1.25 if busy > BUSY else 0.8 if busy < IDLE else 1.0
        self.commit_s = min(SLOWEST_S, max(1.0, self.commit_s * factor))
        self.tell_s = self.commit_s


@dataclass(slots=True)
class Worker:
    """One running worker. `name` ("trainer-main") also names its lease and its status file."""

    name: str
    project: Project
    settings: Settings
    store: Store
    clock: Clock
    stop: Stop
    recorder: Recorder
    jitter: random.Random = field(default_factory=random.Random)
    pace: Pace = field(default_factory=Pace)
    _config_digest: str = ""
    _told_at_s: float = -1.0
    _told: tuple[str, int, float | None, Mapping[str, Any]] | None = None
    _rate_from: tuple[float, int] = (0.0, 0)

    @classmethod
    def open(cls, name: str, project: Project, clock: Clock, stop: Stop) -> "Worker":
        settings = project.settings()
        store = Store(project.folder / ".upm", clock, lock_timeout_s=60.0, command=f"upm worker {name}")
        return cls(name, project, settings, store, clock, stop, Recorder(clock.now_ms()))

    @property
    def config_digest(self) -> str:
        """The digest of all settings; they stay as they are while a worker runs, and working it out takes 1 ms."""
        if not self._config_digest:
            self._config_digest = self.settings.full_digest()
        return self._config_digest

    def named(self, name: str, pace: Pace) -> "Worker":
        """Return a worker of that name that works in the same process, on the same store, at the pace of `pace`."""
        recorder = Recorder(self.clock.now_ms())
        return Worker(name, self.project, self.settings, self.store, self.clock, self.stop, recorder, pace=pace)

    def flush(self, *, force: bool = False) -> None:
        """Write the measurements if they are due, unless telemetry is switched off."""
        if self.settings.telemetry.enabled:
            telemetry.flush(self.store.home, self.name, self.recorder, self.clock.now_ms(), force=force)

    def tell(self, state: str, done: int, *, force: bool = False, **facts: Any) -> None:
        """Replace the status file if it is a while old; `done` counts windows and gives the rate.

        What is the same as before is told more seldom: an idle worker looks around many times a second.
        """
        now_s = self.clock.monotonic_s()
        every_s = QUIET_S if (state, done, 0.0, facts) == self._told else STATUS_EVERY_S
        if not force and now_s - self._told_at_s < max(every_s, self.pace.tell_s):
            return
        elapsed = now_s - self._told_at_s
        before = self._rate_from[1]
        rate = (done - before) / elapsed if self._told_at_s >= 0 and elapsed > 0 and done >= before else None
        self._told_at_s, self._rate_from = now_s, (now_s, done)
        self._told = (state, done, rate, facts)
        status: Mapping[str, Any] = {
            "worker": self.name,
            "lease": self.name,
            "pid": os.getpid(),
            "state": state,
            "at_ms": self.clock.now_ms(),
            "done": done,
            "rate": rate,
            **facts,
        }
        runfiles.write_status(self.store.home, self.name, status)


def fail(error: BaseException, name: str, home: Path, clock: Clock) -> int:
    """Say what went wrong and return the exit code; a bug leaves its traceback in .upm/crash.

    An error of ours goes into the status file, where a parent finds it; without a parent it goes to stderr.
    """
    if isinstance(error, UpmError):
        context = {
            key: value if isinstance(value, str | int | float) else str(value) for key, value in error.context.items()
        }
        told = {"code": error.code, "message": error.message, "hint": error.hint, "context": context}
        status = {"worker": name, "lease": name, "pid": os.getpid(), "state": "failed", "at_ms": clock.now_ms()}
        try:
            runfiles.write_status(home, name, {**status, "done": 0, "error": told})
        except UpmError:
            told = {}
        if not told or PARENT not in os.environ:
            complain(name, error)
        return for_error(error)
    where = home / "crash" / f"{name}-{os.getpid()}.txt"
    text = "".join(traceback.format_exception(error))
    try:
        fsio.make_folder(where.parent)
        fsio.durable_write(where, text.encode())
    except UpmError:
        _say(text)
    _say(f"error[UPM-E001]: {name}: internal error ({error!r}).  Details: {where}")
    return ExitCode.INTERNAL


def complain(name: str, error: UpmError) -> None:
    """Say on stderr what is wrong in worker `name`, and what to do."""
    _say(f"error[{error.code}]: {name}: {error.message}")
    if error.hint:
        _say(f"hint: {error.hint}")


def _say(text: str) -> None:
    """Write one message whole, so that two workers never mix their lines; control characters are shown, not sent."""
    shown = "".join(c if c.isprintable() or c == "\n" else f"\\x{ord(c):02x}" for c in text)
    sys.stderr.write(f"{shown}\n")
    sys.stderr.flush()
