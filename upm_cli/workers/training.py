"""One trainer's tree: ingest → trainer → drift monitor, from the first window to the last verdict."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from upm_cli.clock import Clock
from upm_cli.store import runfiles
from upm_cli.store.session import Store
from upm_cli.workers.context import Project
from upm_cli.workers.lifeline import Stop
from upm_cli.workers.tree import Child, Tree


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingJob:
    """What to run: sources may be empty, then only what is in the log already is learned."""

    project: Project
    trainer: str
    stream: str
    sources: Sequence[str] = ()
    format: str = "auto"
    follow: bool = False

    def children(self) -> list[Child]:
        flags = self.project.flags()
        trainer = Child(f"trainer-{self.trainer}", ["trainer", self.trainer, *flags], upstream=self._ingest)
        monitor = Child(f"drift-{self.trainer}", ["drift", self.trainer, *flags], upstream=trainer.name)
        ingest = [ingest_child(self.project, self.stream, self.sources, self.format, follow=self.follow)]
        return [*(ingest if self.sources else []), trainer, monitor]

    @property
    def _ingest(self) -> str:
        return f"ingest-{self.stream}"


def ingest_child(project: Project, stream: str, sources: Sequence[str], format: str, *, follow: bool) -> Child:
    """Return the ingest worker of `stream`."""
    named = [part for source in sources for part in ("--source", source)]
    tail = ["--follow"] if follow else []
    return Child(f"ingest-{stream}", ["ingest", stream, *project.flags(), "--format", format, *named, *tail])


def run_tree(
    store: Store, clock: Clock, children: Sequence[Child], show: Callable[[Mapping[str, Mapping[str, Any]]], None]
) -> tuple[int, int]:
    """Run the workers to the end; `show` is called often with their status files by name.

    Returns the exit code and how many restarts it took. SIGTERM and SIGINT are handed down: every worker finishes
    its batch and commits, and the code is 143 or 130.
    """
    stop = Stop()
    names = {child.name for child in children}

    def tick() -> None:
        show(
            {
                str(status["worker"]): status
                for status in runfiles.read_statuses(store.home)
                if status["worker"] in names
            }
        )

    tree = Tree(clock, children, jitter=random.Random())  # noqa: S311 - spreads restarts, keeps no secrets
    with stop.installed():
        code = tree.run(lambda: stop.signal, tick)
    return code, tree.restarts
