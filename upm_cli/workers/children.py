"""One process of a supervisor: how it is started and ended, and what can be seen of it from outside."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from upm_cli import procs
from upm_cli.core.placement import JobSpec, Kind
from upm_cli.core.supervision import Exit, Mark, Phase, State, said
from upm_cli.store import runfiles
from upm_cli.store.positions import Positions
from upm_cli.workers import interest, spawn
from upm_cli.workers.logpump import LogPump
from upm_cli.workers.policy import passes


class Handle(Protocol):
    """A process that was started."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None:
        """Return its exit code, or minus the signal that killed it; None while it runs."""
        ...

    def terminate(self) -> None:
        """Ask it to end."""
        ...

    def kill(self) -> None:
        """End it, and whatever it started."""
        ...


COME_UP_S: Final = 2.0

Starter = Callable[[str, Sequence[str]], Handle]  # (name, arguments of upm_cli.workers)


@dataclass(frozen=True, slots=True)
class RealProcess:
    """A worker process; it ends with us, as `lifeline` is closed then."""

    process: "subprocess.Popen[bytes]"

    @property
    def pid(self) -> int:
        return self.process.pid

    def poll(self) -> int | None:
        code = self.process.poll()
        if code is not None and self.process.stdin is not None:
            self.process.stdin.close()
        return code

    def terminate(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        spawn.kill_group(self.process)


def starter(log: LogPump) -> Starter:
    """Return what starts worker processes whose stderr goes to `log`."""

    def start(name: str, argv: Sequence[str]) -> Handle:
        reading, writing = os.pipe()
        try:
            process = spawn.start(argv, stderr=writing)
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        log.follow(name, reading)
        return RealProcess(process)

    return start


@dataclass(slots=True)
class Child:
    """One process that a supervisor looks after."""

    name: str
    argv: Sequence[str]
    jobs: tuple[JobSpec, ...] = ()  # what it is to do; none: it knows by itself
    state: State = field(default_factory=State)
    handle: Handle | None = None
    restart: bool = False  # asked for, and not yet decided about
    ended_by: list[str] = field(default_factory=list)  # the job it was at, for each of its last failures
    orders: Mapping[str, Any] = field(default_factory=dict)  # as written last
    ordered: frozenset[str] = frozenset()  # the jobs in them
    beat: Mapping[str, Any] = field(default_factory=dict)  # as read last
    marks: dict[str, Mark] = field(default_factory=dict)
    cpu_s: float = 0.0
    cpu_percent: float | None = None
    rss_bytes: int | None = None
    _beat_token: tuple[int, int] | None = None

    @property
    def is_host(self) -> bool:
        return self.argv[0] == "host"

    @property
    def is_given_up(self) -> bool:
        return self.state.phase is Phase.FATAL

    @property
    def hosted(self) -> frozenset[str]:
        """The jobs it may be at: those it was told to do, and those it has not let go of yet."""
        if not self.state.is_alive:
            return frozenset()
        return self.ordered.union(self.beat.get("jobs", {}))

    @property
    def done(self) -> set[str]:
        """The jobs it has finished."""
        return set(self.beat.get("done", ()))

    @property
    def has_settled_in(self) -> bool:
        """Whether what is to become of it first is known: it runs, or it failed, or it is not needed."""
        is_new = self.state == State() and (not self.is_host or bool(self.orders.get("jobs")))
        return self.state.phase is not Phase.STARTING and not is_new

    def has_come_up(self, now_s: float) -> bool:
        """Say whether it works: it has given a sign of life, or is a kind that needs not and did not end at once."""
        return bool(self.beat) or (not self.is_host and now_s - self.state.since_s >= COME_UP_S)

    def read(self, home: Path) -> None:
        """Read its last sign of life, if that is of this process and not of an older one."""
        if self.handle is None:
            return
        kind = runfiles.BEAT if self.is_host else runfiles.STATUS
        token = runfiles.note_token(home, self.name, kind)
        if token != self._beat_token:
            beat = runfiles.read_note(home, self.name, kind)
            self.beat = beat if beat is not None and beat.get("pid") == self.handle.pid else {}
            self._beat_token = token

    def forget(self) -> None:
        """Forget what an ended process had said."""
        self.handle, self.beat, self.marks, self._beat_token = None, {}, {}, None
        self.rss_bytes = self.cpu_percent = None

    def measure(self, elapsed_s: float) -> None:
        """Look at its memory, and its share of a core since the last look."""
        found = procs.facts(self.handle.pid) if self.handle is not None else None
        if found is None:
            self.rss_bytes = self.cpu_percent = None
            return
        if elapsed_s > 0:
            self.cpu_percent = max(0.0, 100 * (found.cpu_s - self.cpu_s) / elapsed_s)
        self.cpu_s, self.rss_bytes = found.cpu_s, found.rss_bytes

    def mark(self, positions: Positions) -> None:
        """Work out how far each of its jobs has come, and whether there is work for it."""
        if not self.is_host:
            has_said = bool(self.beat)
            self.marks = {self.name: Mark(progress=self.beat.get("at_ms"), has_work=True)} if has_said else {}
            return
        told = self.beat.get("jobs", {})
        found = {}
        for spec in self.jobs:
            said_of = told.get(spec.label)
            if said_of is not None and said_of["state"] == "running":
                has_work = spec.kind is Kind.ROLLOUTS or said_of["seen"] != _interest(spec, positions)
                found[spec.label] = Mark(progress=said_of["at"], has_work=has_work)
        self.marks = found

    def ended(self, home: Path) -> Exit | None:
        """Return how its process ended, and what it said about that; None while it runs."""
        code = self.handle.poll() if self.handle is not None else -signal.SIGKILL
        if code is None:
            return None
        status = _own_status(home, self.name, self.handle.pid) if self.handle is not None else {}
        error = status.get("error") or {}
        why = f"{said(code)}: {error['message']}" if error else said(code)
        return Exit(code=code, why=why, is_waiting=passes(code, str(error.get("code", ""))))


def _interest(spec: JobSpec, positions: Positions) -> object:
    if spec.kind is Kind.INGEST:
        return interest.of_ingest(spec.sources)
    if spec.kind is Kind.TRAINER:
        return interest.of_trainer(spec.name, positions)
    return interest.of_monitor(spec.name, positions)


def _own_status(home: Path, name: str, pid: int) -> Mapping[str, Any]:
    """Return what the process `pid` wrote into its status file; empty when somebody else wrote it last."""
    status = runfiles.read_status(home, name)
    return status if status is not None and status.get("pid") == pid else {}
