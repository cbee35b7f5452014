"""Running a supervisor in this process: its signals, its log, the service manager, and the processes it starts."""

import contextlib
import os
import resource
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from upm_cli.clock import Clock
from upm_cli.config.schema import DAY_MS, Settings
from upm_cli.errors import RefusedError
from upm_cli.store import logfiles
from upm_cli.store.logfiles import Line
from upm_cli.store.session import Store
from upm_cli.workers import children, notify
from upm_cli.workers.context import Project
from upm_cli.workers.logpump import LogPump
from upm_cli.workers.signals import Signals
from upm_cli.workers.supervisor import Outside, Supervisor

KEEP_LOGS_MS: Final = 30 * DAY_MS  # logs of workers that are no more


def supervise(
    store: Store,
    clock: Clock,
    settings: Settings,
    *,
    folder: Path,
    config: Path | None,
    overrides: Sequence[str],
    echo: Callable[[Line], None],
) -> int:
    """Run the supervisor of the project in `folder` until it is asked to end; return the exit code.

    The caller holds the lease `supervisor`. `echo` gets each line of the log.
    """
    project = Project(folder=folder, config=config, overrides=tuple(overrides))
    notifier = notify.Notifier.from_environment(os.environ, os.getpid())
    notify.scrub(os.environ)
    _allow_many_files()
    logfiles.drop_old(store.home, clock.now_ms() - KEEP_LOGS_MS)
    section = settings.supervisor
    log = LogPump(store.home, clock, echo, most_bytes=section.log_bytes, keep=section.log_files)
    try:
        outside = Outside(start=children.starter(log), log=log, notify=notifier)
        signals = Signals()
        with signals.installed():
            return Supervisor(store, clock, project, settings, outside).run(signals)
    finally:
        log.close()


def refuse_disabled(settings: Settings) -> None:
    """Raise RefusedError when the configuration keeps the supervisor off."""
    if not settings.supervisor.enabled:
        raise RefusedError(
            "supervisor.enabled is off: nothing is watched or restarted",
            hint="set supervisor.enabled: true in upm.yaml, or run trainers one by one: upm train TRAINER --follow",
            code="UPM-E170",
            context={"gate": "supervisor-enabled"},
        )


def _allow_many_files() -> None:
    """Allow as many open files as may be: each trainer has a lease, each process a pipe."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
