"""The only writer of stderr: errors, hints, notes and progress."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TextIO

from upm_cli.commands._text import visible
from upm_cli.errors import UpmError

_RED, _YELLOW, _DIM, _PLAIN = "\x1b[31m", "\x1b[33m", "\x1b[2m", "\x1b[0m"


@dataclass(frozen=True)
class Diagnostics:
    """What goes to stderr in this run. Text that came from data is shown with control characters escaped."""

    stream: TextIO | None = None  # None: sys.stderr, looked up when written
    quiet: bool = False
    verbose: int = 0
    color: bool = False

    def error(self, error: UpmError) -> None:
        """Print what went wrong, and what to do next. Not silenced by -q."""
        self._line("error", error.message, _RED, code=error.code)
        if error.hint:
            self.hint(error.hint)

    def hint(self, text: str) -> None:
        self._line("hint", text, _DIM)

    def warn(self, text: str) -> None:
        self._line("warning", text, _YELLOW)

    def note(self, text: str) -> None:
        """Print one line of news, unless -q."""
        if not self.quiet:
            self._write(visible(text, keep="\n") + "\n")

    def detail(self, text: str, level: int = 1) -> None:
        """Print one line for -v (level 1) or -vv (level 2)."""
        if self.verbose >= level:
            self._line("debug", text, _DIM)

    def ask(self, question: str) -> bool:
        """Ask on stderr, read the answer from stdin. Anything but y or yes is no."""
        self._write(f"{visible(question)} [y/N] ")
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    @contextmanager
    def progress(self, label: str, total: int | None = None) -> Iterator["Progress"]:
        """Show progress on one line that redraws itself; nothing at all unless stderr is a terminal."""
        bar = Progress(self, label, total, shown=not self.quiet and self._target().isatty())
        try:
            yield bar
        finally:
            bar.clear()

    def _line(self, kind: str, text: str, color: str, code: str = "") -> None:
        head = f"{color}{kind}{_PLAIN}" if self.color else kind
        self._write(f"{head}{f'[{code}]' if code else ''}: {visible(text, keep=chr(10))}\n")

    def _target(self) -> TextIO:
        return self.stream or sys.stderr

    def _write(self, text: str) -> None:
        target = self._target()
        try:
            target.write(text)
            target.flush()
        except ValueError:
            return  # stderr is closed: there is nobody left to tell
        except OSError:  # … or full; what is still buffered must not fail the interpreter's own last flush
            with suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), target.fileno())


@dataclass
class Progress:
    """A line of progress on a terminal."""

    say: Diagnostics
    label: str
    total: int | None
    shown: bool
    every_s: float = 0.1
    _drawn_at: float = -1.0
    _width: int = 0

    def update(self, done: int, text: str = "") -> None:
        """Show that `done` of the total are done; `text` is shown behind (rates, loss, lag)."""
        now = time.monotonic()
        if not self.shown or now - self._drawn_at < self.every_s:
            return
        self._drawn_at = now
        count = f"{done:,}"
        if self.total:
            filled = min(20, 20 * done // self.total)
            count = f"{'█' * filled}{'░' * (20 - filled)} {done:,}/{self.total:,}"
        line = visible(f"{self.label} {count} {text}".rstrip())
        self.say._write("\r" + line.ljust(self._width))
        self._width = len(line)

    def clear(self) -> None:
        """Take the line away."""
        if self._width:
            self.say._write("\r" + " " * self._width + "\r")
            self._width = 0
