"""The log of a supervisor: its own lines and what its workers say on their stderr, each with its time, in files."""

import os
import selectors
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from upm_cli.clock import Clock
from upm_cli.ids import iso
from upm_cli.store.logfiles import MAX_LINE_BYTES, Line, LogFile
from upm_cli.store.wishes import SUPERVISOR

_READ_BYTES: Final = 1 << 16
_LOOK_S: Final = 0.5


class LogPump:
    """Reads the workers' stderr in a thread of its own, so that no worker waits for us, and writes everything down.

    `echo` gets each line too. A worker may be started again under its name: its log goes on.
    """

    def __init__(self, home: Path, clock: Clock, echo: Callable[[Line], None], *, most_bytes: int, keep: int) -> None:
        self._home, self._clock, self._echo = home, clock, echo
        self._most_bytes, self._keep = most_bytes, keep
        self._files: dict[str, LogFile] = {}
        self._rest: dict[int, bytes] = {}
        self._mutex = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def follow(self, worker: str, fd: int) -> None:
        """Take over the reading end of a worker's stderr."""
        os.set_blocking(fd, False)
        self._selector.register(fd, selectors.EVENT_READ, worker)

    def say(self, text: str, *, worker: str = SUPERVISOR, level: str = "info") -> None:
        """Write a line of the supervisor about itself or one of its workers."""
        self._write(worker, level, [text])

    def close(self) -> None:
        """Read what is left and close all files."""
        self._ended.set()
        self._thread.join()
        self._drain()
        for key in list(self._selector.get_map().values()):
            self._end(key.fd)
        self._selector.close()
        for file in self._files.values():
            file.close()

    def _run(self) -> None:
        while not self._ended.wait(0 if self._drain(_LOOK_S) else 0.02):
            pass

    def _drain(self, wait_s: float = 0.0) -> bool:
        """Read what has come; return whether there may be more."""
        if not self._selector.get_map():
            return False
        found = self._selector.select(wait_s)
        for key, _ in found:
            self._read(key.fd, str(key.data))
        return bool(found)

    def _read(self, fd: int, worker: str) -> None:
        try:
            block = os.read(fd, _READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            block = b""
        *lines, rest = (self._rest.get(fd, b"") + block).split(b"\n")
        if len(rest) > MAX_LINE_BYTES:
            lines, rest = [*lines, rest], b""
        self._rest[fd] = rest
        self._write(worker, "out", [line.decode(errors="backslashreplace") for line in lines if line.strip()])
        if not block:
            self._end(fd)

    def _end(self, fd: int) -> None:
        """The worker is gone: keep the line it did not finish."""
        rest = self._rest.pop(fd, b"")
        key = self._selector.get_map().get(fd)
        if key is not None:
            self._selector.unregister(fd)
            os.close(fd)
            if rest.strip():
                self._write(str(key.data), "out", [rest.decode(errors="backslashreplace")])

    def _write(self, worker: str, level: str, texts: list[str]) -> None:
        with self._mutex:
            lines = [Line(at=iso(self._clock.now_ms()), worker=worker, level=level, text=text) for text in texts]
            if not lines:
                return
            file = self._files.get(worker)
            if file is None:
                file = LogFile(self._home, worker, most_bytes=self._most_bytes, keep=self._keep)
                self._files[worker] = file
            file.write(lines)
            for line in lines:
                self._echo(line)
