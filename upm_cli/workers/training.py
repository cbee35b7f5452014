"""One trainer's tree: ingest → trainer → drift monitor, from the first window to the last verdict."""

import contextlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from upm_cli.clock import Clock
from upm_cli.config.schema import Settings
from upm_cli.errors import UpmError
from upm_cli.exit_codes import ExitCode, error_for
from upm_cli.store import runfiles
from upm_cli.store.session import Store
from upm_cli.workers.context import Project
from upm_cli.workers.lifeline import Stop
from upm_cli.workers.taken import refuse_taken, refuse_taken_over
from upm_cli.workers.tree import Child, Tree


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingJob:
    """What to run: sources may be empty, then only what is in the log already is learned."""

    project: Project
    trainer: str
    stream: str
    sources: Sequence[str] = ()
    outcomes: Sequence[str] = ()  # what agents told
    format: str = "auto"
    follow: bool = False
    delivers: bool = False  # there are adapters: what is live is handed to them meanwhile

    def children(self) -> list[Child]:
        flags = self.project.flags()
        trainer = Child(f"trainer-{self.trainer}", ["trainer", self.trainer, *flags], upstream=self._ingest)
        monitor = Child(f"drift-{self.trainer}", ["drift", self.trainer, *flags], upstream=trainer.name)
        told = (self.trainer, self.outcomes) if self.outcomes else None
        ingest = ingest_child(self.project, self.stream, self.sources, self.format, follow=self.follow, told=told)
        sync = Child("adapter-sync", ["adapter-sync", "sync", *flags, "--drain"], upstream=monitor.name, is_vital=False)
        reads = [ingest] if self.sources or self.outcomes else []
        return [*reads, trainer, monitor, *([sync] if self.delivers else [])]

    @property
    def _ingest(self) -> str:
        return f"ingest-{self.stream}"


def ingest_child(
    project: Project,
    stream: str,
    sources: Sequence[str],
    format: str,
    *,
    follow: bool,
    told: tuple[str, Sequence[str]] | None = None,
) -> Child:
    """Return the ingest worker of `stream`; `told`: a trainer, and the sources of what agents told it."""
    named = [part for source in sources for part in ("--source", source)]
    if told is not None:
        named += ["--trainer", told[0], *(part for source in told[1] for part in ("--outcomes", source))]
    tail = ["--follow"] if follow else []
    return Child(f"ingest-{stream}", ["ingest", stream, *project.flags(), "--format", format, *named, *tail])


@dataclass(frozen=True, slots=True)
class Ended:
    """How a tree ended: `signal` when it was asked to stop (every worker finished its batch and committed)."""

    signal: int | None
    restarts: int

    @property
    def exit_code(self) -> int:
        return 128 + self.signal if self.signal else ExitCode.DONE


def run_tree(
    store: Store,
    clock: Clock,
    settings: Settings,
    children: Sequence[Child],
    show: Callable[[Mapping[str, Mapping[str, Any]]], None],
) -> Ended:
    """Run the workers to the end; `show` is called often with their status files by name.

    SIGTERM and SIGINT are handed down. When a worker fails for good the others are stopped and its error is raised.
    Raises BusyError when one of them runs elsewhere.
    """
    refuse_taken(store, clock, settings, children)
    stop = Stop()
    names = {child.name for child in children}
    for name in names:
        runfiles.remove_status(store.home, name)

    def statuses() -> dict[str, Mapping[str, Any]]:
        return {
            str(status["worker"]): status for status in runfiles.read_statuses(store.home) if status["worker"] in names
        }

    may_restart = settings.supervisor.enabled
    jitter = random.Random()  # noqa: S311 - spreads restarts, keeps no secrets
    tree = Tree(clock, children, jitter=jitter, may_restart=may_restart)
    with stop.installed():
        code = tree.run(lambda: stop.signal, lambda: show(statuses()))
    if code and stop.signal is None:
        if code == ExitCode.BUSY:  # whoever has it wrote its own status over that of our worker
            refuse_taken_over(store, children)
        error = _failure(code, statuses(), tree.failed)
        _leave(store, clock, error)
        raise error
    return Ended(stop.signal, tree.restarts)


def _failure(code: int, statuses: Mapping[str, Mapping[str, Any]], failed: Child | None) -> UpmError:
    """Return the error that the failed worker left in its status file, as if it had been raised here."""
    first = failed.name if failed else ""
    for name, status in sorted(statuses.items(), key=lambda each: (each[0] != first, each[0])):
        told = status.get("error")
        if told:
            kind = error_for(code)
            return kind(
                told["message"], hint=told["hint"], code=told["code"], context={**told["context"], "worker": name}
            )
    return UpmError(
        f"a worker ended with code {code} and could not be kept running",
        hint="its last words are above and in .upm/crash; what was committed is safe: run the same command again",
        code="UPM-E002",
        context={"worker": first},
    )


def _leave(store: Store, clock: Clock, error: UpmError) -> None:
    """Leave the error where the worker would have left it, if it had lived to; best effort."""
    name = str(error.context.get("worker", ""))
    if not name:
        return
    told = {"code": error.code, "message": error.message, "hint": error.hint, "context": {}}
    with contextlib.suppress(UpmError):
        if "error" not in (runfiles.read_status(store.home, name) or {}):
            status = {"lease": name, "state": "failed", "at_ms": clock.now_ms(), "done": 0, "error": told}
            runfiles.write_status(store.home, name, status)
