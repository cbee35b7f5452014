"""Workers that begin as a copy of this process: what they need is imported once for all of them, not by each.

`upm train` starts three workers for one run, and from cron it does so every few minutes: reading Python's modules was
most of what a run without news cost. The supervisor starts Python anew for each worker (spawn.py): it lives for months,
should stay small, and must start workers while anything at all is wrong with what it has loaded.
"""

import contextlib
import ctypes
import gc
import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Final, NoReturn, Protocol

from upm_cli import procs
from upm_cli.workers import spawn
from upm_cli.workers.context import PARENT

#: What a worker of each kind has loaded by the time it is at work; a test holds this against real ones.
_NEEDS: Final = {
    "ingest": ("upm_cli.workers.ingest", "upm_cli.workers.feedback"),
    "trainer": ("upm_cli.workers.trainer",),
    "drift": ("upm_cli.workers.drift_monitor",),
    "adapter-sync": ("upm_cli.workers.adapter_sync",),
}
_PR_SET_NAME: Final = 15


class Process(Protocol):
    """A worker process as whoever started it sees it."""

    @property
    def pid(self) -> int: ...

    @property
    def stdin(self) -> IO[bytes] | None: ...

    def poll(self) -> int | None:
        """Return its exit code, or minus the signal that killed it; None while it runs."""
        ...

    def wait(self) -> int: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...


def is_possible() -> bool:
    """Say whether this process can be copied safely: on Linux, while it has no second thread.

    A copy has one thread, and whatever lock another thread held at that moment stays locked in it for ever.
    """
    try:
        return sum(1 for _ in Path("/proc/self/task").iterdir()) == 1
    except OSError:
        return False


def preload(kinds: Iterable[str]) -> None:
    """Import what workers of these kinds need, if they are going to be copies of this process."""
    if not is_possible():
        return
    importlib.import_module("upm_cli.workers.__main__")
    for kind in kinds:
        for module in _NEEDS.get(kind, ()):
            importlib.import_module(module)


def start(argv: Sequence[str], *, stdin: int | None, own_group: bool = True) -> Process:
    """Start the worker `argv` as a copy of this process, or where that can't be as `spawn.start` does."""
    if not is_possible():
        return spawn.start(argv, stdin=stdin, own_group=own_group)
    return Forked(argv, stdin=stdin, own_group=own_group)


class Forked:
    """A copy of this process that does the work of `python -m upm_cli.workers argv…`, and ends with this process."""

    def __init__(self, argv: Sequence[str], *, stdin: int | None, own_group: bool) -> None:
        self.stdin: IO[bytes] | None = None
        self.returncode: int | None = None
        for stream in (sys.stdout, sys.stderr):  # or the copy writes it, too
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        parent = os.getpid()
        with contextlib.ExitStack() as ours:
            nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            ours.callback(os.close, nothing)
            reading = {None: 0, subprocess.DEVNULL: nothing}.get(stdin, -1)
            if reading < 0:
                reading, writing = os.pipe()
                ours.callback(os.close, reading)
                self.stdin = ours.enter_context(os.fdopen(writing, "wb"))
            # A signal between the fork and the first line of the copy would go to what is ours here.
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            try:
                gc.freeze()  # what is ours here is never collected, and so never closed, in the copy
                self.pid = os.fork()
                if self.pid == 0:
                    _become(argv, parent, mask, (reading, nothing), own_group=own_group)
            finally:
                gc.unfreeze()
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            for fd in {nothing, reading} - {0}:
                os.close(fd)
            ours.pop_all()
        if own_group:
            with contextlib.suppress(OSError):  # whoever of us two comes first
                os.setpgid(self.pid, self.pid)

    def wait(self) -> int:
        if self.returncode is None:
            self._note(os.waitpid(self.pid, 0)[1])
        assert self.returncode is not None
        return self.returncode

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._note(status)
        return self.returncode

    def terminate(self) -> None:
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def _send(self, number: int) -> None:
        if self.poll() is None:  # not reaped yet: the number is still its own
            os.kill(self.pid, number)

    def _note(self, status: int) -> None:
        self.returncode = os.waitstatus_to_exitcode(status)


def _become(
    argv: Sequence[str], parent: int, mask: Iterable[int], fds: tuple[int, int], *, own_group: bool
) -> NoReturn:
    """Be the worker, in the copy: with nothing of what was open here, and never back to whoever called."""
    code = 1
    try:
        for number in signal.valid_signals():
            if callable(signal.getsignal(number)):
                signal.signal(number, signal.SIG_DFL)
        if own_group:
            os.setpgid(0, 0)
        reading, nothing = fds
        os.dup2(reading, 0)
        os.dup2(nothing, 1)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # leases above all: they are held as long as they are open
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.environ |= {PARENT: str(parent), **procs.ONE_THREAD}
        _be_called(f"{argv[0]}-{argv[1]}")
        from upm_cli.workers.__main__ import main

        code = main(argv)
    except SystemExit as exc:
        code = exc.code if isinstance(exc.code, int) else 1
    except BaseException as exc:  # main() has a catcher of its own: it did not get that far
        sys.stderr.write(f"error[UPM-E001]: {argv[0]}-{argv[1]}: internal error ({exc!r}) before it began\n")
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(code)


def _be_called(name: str) -> None:
    """Be told apart in `top` and `pgrep`: the command line is that of whoever this is a copy of."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)
