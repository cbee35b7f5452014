"""One run of the program: opens the Context of its command, and reports how it ended."""

import json
import os
import shlex
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import typer

from upm_cli import __version__
from upm_cli.clock import Clock
from upm_cli.commands._context import Change, Context, Globals, wants_color
from upm_cli.commands._diagnostics import Diagnostics
from upm_cli.commands._output import SCHEMA_VERSION, plain, write
from upm_cli.errors import TimedOutError, UpmError, UsageError
from upm_cli.exit_codes import ExitCode, for_error
from upm_cli.ids import iso
from upm_cli.nearest import nearest


class Run:
    """The command line `argv`, from its first option to its exit code."""

    def __init__(self, argv: Sequence[str], clock: Clock) -> None:
        self.argv = list(argv)
        self.clock = clock
        self.say = Diagnostics()
        self.context: Context | None = None

    @contextmanager
    def open(self, options: Globals, change: Change) -> Iterator[Context]:
        """Give the command its Context; --timeout ends the command with TimedOutError."""
        self.say = Diagnostics(
            quiet=options.quiet,
            verbose=options.verbose,
            color=wants_color(options.color, sys.stderr, os.environ),
        )
        context = Context(options, change, self.clock, self.say, os.environ, shlex.join(["upm", *self.argv]))
        _ = context.output, context.lock_timeout_s, context.color  # refuse bad values before acting
        self.context = context
        try:
            with _deadline(context.timeout_s):
                yield context
        finally:
            context.close()

    def report(self, error: UpmError) -> ExitCode:
        """Tell the error on stderr, and on stdout as an object when JSON was asked for; return the exit code."""
        code = for_error(error)
        if self._wants_json():
            write(json.dumps({"schema_version": SCHEMA_VERSION, "ok": False, "error": _as_object(error)}) + "\n")
            sys.stdout.flush()
        self.say.error(error)
        return code

    def crashed(self, error: Exception) -> UpmError:
        """Turn a bug, or an operating system error nobody expected, into an error; the traceback goes to a file."""
        if isinstance(error, OSError) and error.filename is not None:
            from upm_cli.store.fsio import storage_error

            return storage_error(error, Path(os.fsdecode(error.filename)), "use")
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        path = self._write_crash(error)
        if path is None:
            self.say.note("".join(traceback.format_exception(error)).rstrip())
        return UpmError(
            f"internal error ({what})",
            hint=f"this is a bug in upm; details are in {path}" if path else "this is a bug in upm; details are above",
            context={"crash_file": str(path) if path else None},
        )

    def _write_crash(self, error: Exception) -> Path | None:
        from upm_cli.store import fsio

        now_ms = self.clock.now_ms()
        folder = self._crash_folder()
        path = folder / f"{iso(now_ms)[:19].replace(':', '').replace('-', '')}-{os.getpid()}.txt"
        lines = [f"upm {__version__}, Python {sys.version.split()[0]}, {sys.platform}", iso(now_ms), ""]
        text = "\n".join([*lines, *traceback.format_exception(error)])
        try:
            fsio.make_folder(folder)
            fsio.durable_write(path, text.encode(errors="backslashreplace"))
        except (OSError, UpmError):
            return None
        return path

    def _crash_folder(self) -> Path:
        try:
            if self.context is not None and self.context.home.is_dir():
                return self.context.home / "crash"
        except UpmError:
            pass
        return Path(tempfile.gettempdir()) / f"upm-crash-{os.getuid()}"

    def _wants_json(self) -> bool:
        if self.context is not None:
            return self.context.output in ("json", "jsonl")
        words = self.argv[: self.argv.index("--")] if "--" in self.argv else self.argv
        chosen = [word for before, word in zip(["", *words], words, strict=False) if before in ("-o", "--output")]
        chosen += [
            word.removeprefix("--output=").removeprefix("-o") for word in words if word.startswith(("-o", "--output="))
        ]
        return "--json" in words or bool({"json", "jsonl"} & set(chosen))


def usage_error(error: typer.TyperException, command: str = "upm") -> UsageError:
    """Turn what the option parser refused into our own error; `command` is meant where it does not say which."""
    message = getattr(error, "format_message", error.__str__)()
    context: Any = getattr(error, "ctx", None)
    hint = f"{context.command_path if context is not None else command} --help"
    option = getattr(error, "option_name", None) or ""
    if given := _argument_called(context, option):
        message, hint = message.partition(" (")[0], f"{given} stands without an option: {context.command_path} {given}"
    elif guess := nearest(option, getattr(error, "possibilities", None) or ()):
        message, hint = message.partition(" (")[0], f"did you mean {guess}? {hint}"
    return UsageError(message[:1].lower() + message[1:].rstrip("."), hint=hint)


def _argument_called(context: Any, option: str) -> str:
    """Return the metavar of the argument that somebody wrote as the unknown `option`; nothing when there is none."""
    params = context.command.params if context is not None else ()
    name = option.lstrip("-").replace("-", "_")
    found = (param for param in params if param.param_type_name == "argument" and param.name == name)
    return next((str(param.metavar or name.upper()).strip("[]") for param in found), "")


def was_interrupted(error: Exception) -> bool:
    """Say whether `error` is what DuckDB makes of Ctrl-C while it runs a query or opens a file."""
    return isinstance(error, RuntimeError) and str(error) == "Query interrupted"


def _as_object(error: UpmError) -> dict[str, Any]:
    return {
        "code": error.code,
        "type": error.kind,
        "title": error.kind.replace("-", " "),
        "detail": error.message,
        "hint": error.hint,
        "next": [line for line in (error.hint,) if line.startswith("upm ")],
        "context": plain(error.context),
        "exit_code": int(for_error(error)),
    }


@contextmanager
def _deadline(seconds: float | None) -> Iterator[None]:
    """Raise TimedOutError in the main thread once `seconds` have passed."""
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    late: list[TimedOutError] = []

    def expire(signum: int, frame: FrameType | None) -> None:
        late.append(TimedOutError(f"gave up after {seconds:g} s (--timeout)", hint="running it again is safe"))
        raise late[-1]

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-6))
    try:
        yield
    except RuntimeError as exc:  # DuckDB makes an error of its own of what a signal handler raises during a query
        if late:
            raise late[-1] from exc
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
