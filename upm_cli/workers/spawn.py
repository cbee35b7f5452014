"""Starting and ending worker processes: the same way for `upm train` and for the supervisor."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence

from upm_cli import procs
from upm_cli.workers.context import PARENT


def start(
    argv: Sequence[str], *, stdin: int | None = subprocess.PIPE, stderr: int | None = None, own_group: bool = True
) -> subprocess.Popen[bytes]:
    """Start `python -m upm_cli.workers argv…`, which ends with this process.

    `stdin` is its lifeline unless said otherwise. With `own_group` off it stays in the group of this process: only the
    terminal's own group may read from the terminal.
    """
    return subprocess.Popen(
        [sys.executable, "-m", "upm_cli.workers", *argv],
        stdin=stdin,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        env={**os.environ, PARENT: str(os.getpid()), **procs.ONE_THREAD},
        process_group=0 if own_group else None,
    )


def kill_group(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process that was started with a group of its own, and whatever it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
