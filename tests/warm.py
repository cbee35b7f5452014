"""A warm start: `upm` and its workers as processes of their own, forked from one that has imported everything.

`python -m tests.warm SOCKET` serves until its standard input ends. Whoever asks hands over arguments, folder,
environment and open files; a fork runs with them and is waited for. All but the start of Python is as it would be:
half a second less for each process. What starts at all, how fast, and what dies with whom is for tests that start
Python itself: those of tests/process, and every test that uses `sys.executable`.
"""

import contextlib
import gc
import importlib
import marshal
import os
import pkgutil
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

IS_POSSIBLE = hasattr(os, "pidfd_open")
_WORD = 4  # bytes of a number on the socket
_PROGRAM = """\
#!{python} -SE
import _socket, array, marshal, os, sys
server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
server.connect({address!r})
asked = marshal.dumps(("upm", sys.argv[1:], os.getcwd(), dict(os.environ), False))
fds = array.array("i", [0, 1, 2]).tobytes()
server.sendmsg([len(asked).to_bytes({word}, "little")], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, fds)])
while asked:
    asked = asked[server.send(asked):]
server.recv({word})
code = int.from_bytes(server.recv({word}) or b"\\x46", "little", signed=True)
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


def program(address: str) -> str:
    """Return the text of a program that is `upm`, run by the server at `address`."""
    return _PROGRAM.format(python=sys.executable, address=address, word=_WORD)


class Forked:
    """A process of the server at `address`, with what is used of `subprocess.Popen`."""

    def __init__(
        self,
        address: str,
        argv: Sequence[str],
        *,
        stdin: int | None = subprocess.PIPE,
        stderr: int | None = None,
        own_group: bool = True,
    ) -> None:
        """Start a worker, as `workers.spawn.start` does."""
        self.stdin: Any = None
        self.returncode: int | None = None
        self._server = socket.socket(socket.AF_UNIX)
        self._server.connect(address)
        asked = marshal.dumps(("worker", list(argv), str(Path.cwd()), dict(os.environ), own_group))
        with contextlib.ExitStack() as ours:
            nothing = os.open(os.devnull, os.O_RDWR)
            ours.callback(os.close, nothing)
            reading, errors = {None: 0, subprocess.DEVNULL: nothing}.get(stdin, stdin), 2 if stderr is None else stderr
            if stdin == subprocess.PIPE:
                reading, writing = os.pipe()
                ours.callback(os.close, reading)
                self.stdin = os.fdopen(writing, "wb")
            head = len(asked).to_bytes(_WORD, "little")
            socket.send_fds(self._server, [head], [reading, nothing, errors])
            self._server.sendall(asked)
            self.pid = _number(self._server)

    def wait(self) -> int:
        if self.returncode is None:
            self.returncode = _number(self._server)
            self._server.close()
        return self.returncode

    def poll(self) -> int | None:
        if self.returncode is None:
            with selectors.DefaultSelector() as selector:
                selector.register(self._server, selectors.EVENT_READ)
                if not selector.select(0):
                    return None
        return self.wait()

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@contextlib.contextmanager
def running() -> Iterator[str]:
    """Serve for the length of a block; give the address."""
    root = Path(__file__).resolve().parents[1]
    pipe = subprocess.PIPE
    with tempfile.TemporaryDirectory(prefix="upm-") as folder:  # a socket's address has at most 108 bytes
        address = f"{folder}/socket"
        command = [sys.executable, "-m", "tests.warm", address]
        env = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # no thread when it forks
        with subprocess.Popen(command, cwd=root, env=env, stdin=pipe, stdout=pipe, process_group=0) as server:
            assert server.stdin is not None
            assert server.stdout is not None
            assert server.stdout.readline() == b"ready\n"
            yield address
            server.stdin.close()


@dataclass
class _Run:
    """One process: a file that is readable when it has ended, and who waits for that."""

    pid: int
    pidfd: int
    asking: socket.socket

    def ended(self) -> None:
        _, status = os.waitpid(self.pid, 0)
        os.close(self.pidfd)
        with self.asking, contextlib.suppress(BrokenPipeError):
            _send(self.asking, os.waitstatus_to_exitcode(status))

    def given_up(self) -> None:
        """Who asked is gone: so is the process soon."""
        os.kill(self.pid, signal.SIGTERM)


def serve(address: str) -> None:
    """Run `upm` and workers for whoever asks at `address`, until standard input ends."""
    _import_everything()
    from upm_cli.workers import spawn

    spawn.start = partial(Forked, address)
    with socket.socket(socket.AF_UNIX) as listening, selectors.DefaultSelector() as selector:
        listening.bind(address)
        listening.listen(64)
        selector.register(listening, selectors.EVENT_READ)
        selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
        print("ready", flush=True)
        while True:
            for key, _ in selector.select():
                run = key.data
                if key.fileobj is listening:
                    _start(listening, selector)
                elif run is None:
                    return
                elif key.fd == run.pidfd:
                    for each in (run.pidfd, run.asking):
                        with contextlib.suppress(KeyError):
                            selector.unregister(each)
                    run.ended()
                else:
                    selector.unregister(run.asking)
                    run.given_up()


def _import_everything() -> None:
    import upm_cli

    for module in pkgutil.walk_packages(upm_cli.__path__, "upm_cli."):
        if not module.name.startswith("upm_cli.tui") and module.name not in ("upm_cli.__main__",):
            importlib.import_module(module.name)
    gc.freeze()  # or the first collection of each child would copy all of it


def _start(listening: socket.socket, selector: selectors.BaseSelector) -> None:
    asking, _ = listening.accept()
    head, fds, _, _ = socket.recv_fds(asking, _WORD, 3)
    asked = marshal.loads(_exactly(asking, int.from_bytes(head, "little")))
    pid = os.fork()
    if pid == 0:
        selector.close()
        for each in (listening, asking):
            each.close()
        _become(fds, *asked)
    for fd in fds:
        os.close(fd)
    _send(asking, pid)
    run = _Run(pid, os.pidfd_open(pid), asking)
    selector.register(run.pidfd, selectors.EVENT_READ, run)
    selector.register(asking, selectors.EVENT_READ, run)


def _become(
    fds: Sequence[int], kind: str, words: list[str], folder: str, environ: dict[str, str], own_group: bool
) -> NoReturn:
    """Take over what was handed in, and run to the end."""
    if own_group:
        os.setpgid(0, 0)
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
        os.close(fd)
    sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    sys.argv[1:] = words
    if kind == "upm":
        from upm_cli.app import entry_point

        entry_point()
    from upm_cli.workers.__main__ import main
    from upm_cli.workers.context import PARENT

    os.environ[PARENT] = str(os.getppid())
    sys.exit(main(words))


def _send(to: socket.socket, number: int) -> None:
    to.sendall(number.to_bytes(_WORD, "little", signed=True))


def _number(server: socket.socket) -> int:
    return int.from_bytes(_exactly(server, _WORD), "little", signed=True)


def _exactly(source: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        more = source.recv(size - len(found))
        if not more:
            raise EOFError("the other side of tests/warm.py is gone")
        found += more
    return found


if __name__ == "__main__":
    serve(sys.argv[1])
