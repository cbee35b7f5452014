"""`python -m upm_cli.workers ingest|trainer|drift|adapter-sync …`: one worker process, without the command line.

Standard input is the lifeline of trainers and drift monitors: its end means that nothing more will come. Adapter sync
has one with `--drain`; without, it works until it is told to stop.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from upm_cli.clock import SystemClock
from upm_cli.workers.context import PARENT, Project, Worker, fail
from upm_cli.workers.lifeline import Stop, Upstream, die_with_parent

ADAPTER_SYNC = "adapter-sync"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one worker and return its exit code."""
    options = _parser().parse_args(argv)
    stop = Stop()
    stop.install()
    if PARENT in os.environ:
        die_with_parent(int(os.environ[PARENT]))
    os.umask(0o077)
    project = Project(folder=options.project, config=options.config, overrides=tuple(options.overrides))
    name, clock = _name(options), SystemClock()
    try:
        worker = Worker.open(name, project, clock, stop)
        return _run(worker, options)
    except (Exception, KeyboardInterrupt) as exc:  # the one last catcher of this process
        return fail(exc, name, project.folder / ".upm", clock)


def _name(options: argparse.Namespace) -> str:
    """Return the name of the worker: of its lease and its status file. There is one adapter sync for all."""
    return ADAPTER_SYNC if options.worker == ADAPTER_SYNC else f"{options.worker}-{options.name}"


def _run(worker: Worker, options: argparse.Namespace) -> int:
    if options.worker == ADAPTER_SYNC:
        from upm_cli.workers import adapter_sync

        return adapter_sync.run(worker, Upstream() if options.drain else None)
    if options.worker == "ingest":
        from upm_cli.workers import ingest
        from upm_cli.workers.feedback import Told

        told = Told(trainer=options.trainer, specs=options.outcomes) if options.outcomes else None
        return ingest.run(worker, options.name, options.source, options.format, follow=options.follow, told=told)
    if options.worker == "trainer":
        from upm_cli.workers import trainer

        return trainer.run(worker, options.name, Upstream())
    from upm_cli.workers import drift_monitor

    return drift_monitor.run(worker, options.name, Upstream())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m upm_cli.workers", description=__doc__)
    kinds = parser.add_subparsers(dest="worker", required=True)
    for kind, what in (("ingest", "stream"), ("trainer", "trainer"), ("drift", "trainer"), (ADAPTER_SYNC, "sync")):
        worker = kinds.add_parser(kind, help=f"work for one {what}")
        worker.add_argument("name", help=f"name of the {what}")
        worker.add_argument("--project", type=Path, required=True)
        worker.add_argument("--config", type=Path)
        worker.add_argument("--set", dest="overrides", action="append", default=[])
        if kind == "ingest":
            worker.add_argument("--source", action="append", default=[])
            worker.add_argument("--outcomes", action="append", default=[], help="what agents told the trainer")
            worker.add_argument("--trainer", default="")
            worker.add_argument("--format", default="auto")
            worker.add_argument("--follow", action="store_true")
        if kind == ADAPTER_SYNC:
            worker.add_argument("--drain", action="store_true", help="end with standard input, when all is delivered")
    return parser


if __name__ == "__main__":
    sys.exit(main())
