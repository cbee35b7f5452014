"""Starting a supervisor in the background, and waiting until it says that it is ready, as a service manager does."""

import os
import secrets
import select
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from upm_cli.clock import Clock
from upm_cli.errors import TimedOutError

READY_S = 120.0  # how long it may take to come up


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The supervisor in the background. `code`: it ended before it was ready, having `said` why."""

    pid: int
    code: int | None = None
    said: str = ""


def start(words: Sequence[str], environ: Mapping[str, str], clock: Clock, timeout_s: float | None) -> Started:
    """Start `upm words…` in a session of its own; return when it is ready or has ended. Raises TimedOutError."""
    address = f"upm-{secrets.token_hex(16)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as news:
        news.bind(f"\0{address}")
        process = subprocess.Popen(
            [sys.executable, "-m", "upm_cli", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**environ, "NOTIFY_SOCKET": f"@{address}"},
            start_new_session=True,
        )
        assert process.stderr is not None
        with process.stderr:
            return _wait(process, process.stderr.fileno(), news, clock, timeout_s or READY_S)


def _wait(
    process: "subprocess.Popen[bytes]", stderr: int, news: socket.socket, clock: Clock, timeout_s: float
) -> Started:
    said, deadline_s = b"", clock.monotonic_s() + timeout_s
    sources: list[socket.socket | int] = [news, stderr]
    while (left_s := deadline_s - clock.monotonic_s()) > 0:
        ready = select.select(sources, [], [], left_s)[0]
        if news in ready and "READY=1" in news.recv(4096).decode(errors="replace").splitlines():
            process.returncode = 0  # it goes on without us: nobody waits for it here
            return Started(pid=process.pid)
        if stderr in ready:
            block = os.read(stderr, 65536)
            said += block
            if not block:
                return Started(pid=process.pid, code=process.wait(), said=said.decode(errors="replace"))
    process.returncode = 0
    raise TimedOutError(
        f"the supervisor (pid {process.pid}) is not ready after {timeout_s:g} s",
        hint="it goes on in the background: upm ps and upm logs say how far it is; upm down ends it",
        code="UPM-E175",
        context={"pid": process.pid, "timeout_s": timeout_s},
    )
