"""The `upm` program: its commands, and the one place where its errors become messages and exit codes."""

import codecs
import contextlib
import gc
import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Annotated, Any

import typer
import typer.completion

from upm_cli import __version__, procs, signs
from upm_cli.clock import Clock, SystemClock
from upm_cli.commands._coerce import use_plain_values
from upm_cli.commands._context import Context, Globals
from upm_cli.commands._globals import Frame, root_command
from upm_cli.commands._group import COMPLETE, Entry, LazyGroup, new_group, offer_words
from upm_cli.commands._output import flush, let_go, write
from upm_cli.commands._run import Run, usage_error, was_interrupted
from upm_cli.errors import UpmError, UsageError
from upm_cli.exit_codes import ExitCode

# name → (module, heading). `upm --help` lists them in this order.
_COMMANDS: tuple[tuple[str, str, str], ...] = (
    ("train", "train", "Loop"),
    ("ingest", "ingest", "Loop"),
    ("predict", "predict", "Loop"),
    ("trainer", "trainer", "Loop"),
    ("pause", "pause", "Loop"),
    ("resume", "pause", "Loop"),
    ("snapshot", "snapshot", "Release"),
    ("activate", "activate", "Release"),
    ("rollback", "rollback", "Release"),
    ("rollout", "rollout", "Release"),
    ("tenant", "tenant", "Release"),
    ("anchor", "anchor", "Release"),
    ("adapter", "adapter", "Fleet"),
    ("sync", "sync", "Fleet"),
    ("drift-report", "drift", "Safety"),
    ("gate", "gate", "Safety"),
    ("quarantine", "quarantine", "Safety"),
    ("keys", "keys", "Safety"),
    ("drill", "drill", "Safety"),
    ("validate", "validate", "Safety"),
    ("audit", "audit", "Safety"),
    ("at", "at", "Safety"),
    ("agent", "agent", "Fleet"),
    ("up", "up", "Operate"),
    ("down", "up", "Operate"),
    ("restart", "up", "Operate"),
    ("ps", "ps", "Operate"),
    ("logs", "logs", "Operate"),
    ("status", "status", "Operate"),
    ("tui", "tui", "Operate"),
    ("top", "tui", "Operate"),
    ("events", "events", "Operate"),
    ("metrics", "metrics", "Operate"),
    ("notify", "notify", "Operate"),
    ("sql", "sql", "Operate"),
    ("schedule", "schedule", "Operate"),
    ("backup", "backup", "Operate"),
    ("doctor", "doctor", "Operate"),
    ("init", "init", "Setup"),
    ("demo", "demo", "Setup"),
    ("config", "config", "Setup"),
    ("explain", "explain", "Setup"),
    ("help", "help", "Setup"),
    ("completion", "completion", "Setup"),
    ("version", "version", "Setup"),
)
_PLAINLY = "upm.plainly"  # how the streams encode what they can't: see signs.py
_ENTRIES = {name: Entry(name, module, panel) for name, module, panel in _COMMANDS}
EPILOG = (
    "\b\nNew here?  upm demo        Your own data?  upm init\n"
    "To read:   upm help quickstart, exit-codes, runbook, …   (upm help lists all)"
)


class _Root(LazyGroup):
    entries = _ENTRIES


def build() -> Any:
    """Return the root command; no command module is loaded yet."""
    app = new_group(cls=_Root, invoke_without_command=True, epilog=EPILOG)
    app.callback()(_root)
    root = typer.main.get_command(app)
    use_plain_values(root)
    offer_words(root)
    return root


@root_command
def _root(
    ctx: Context,
    version: Annotated[bool, typer.Option("-V", "--version", help="Print the version.")] = False,
) -> None:
    """One model that keeps learning in production: train on a stream, keep snapshots, judge, undo."""
    if not version:
        raise UsageError("no command given", hint="upm --help lists them", code="UPM-E026")
    write(f"upm {__version__}\n")


def main(argv: Sequence[str] | None = None, *, clock: Clock | None = None) -> int:
    """Run `upm` with the arguments `argv` and return its exit code. Everything that goes wrong ends here."""
    run = Run(list(sys.argv[1:] if argv is None else argv), clock or SystemClock())
    try:
        code = _execute(run)
        flush()
    except typer.Exit as exc:
        code = exc.exit_code
    except (KeyboardInterrupt, typer.Abort):
        run.say.note("interrupted")
        code = ExitCode.INTERRUPTED
    except BrokenPipeError:
        let_go()
        code = ExitCode.DONE
    except UpmError as exc:
        code = run.report(exc)
    except typer.TyperException as exc:
        named = next((f"upm {name}" for name, _, _ in _COMMANDS if run.argv[:1] == [name]), "upm")
        code = run.report(usage_error(exc, named))
    except Exception as exc:  # the one last catcher of this process
        if was_interrupted(exc):
            run.say.note("interrupted")
            code = ExitCode.INTERRUPTED
        else:
            code = run.report(run.crashed(exc))
    return int(code)


def entry_point() -> None:
    """Run as the program `upm`.

    What is left when a command has ended goes with the process. Without `freeze` the interpreter would first look
    through all of it for cycles to free, which takes a tenth of the CPU of a short command.
    """
    _make_streams_usable()
    os.environ.update(procs.ONE_THREAD)
    code = main()
    gc.freeze()
    sys.exit(code)


def _make_streams_usable() -> None:
    """Give closed streams a place to go, so that no file we open takes their number, and plain signs for others.

    What a stream's encoding has no sign for, and no plain one stands for it, is escaped.
    """
    codecs.register_error(_PLAINLY, signs.instead)
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), "r" if fd == 0 else "w"))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=_PLAINLY)


def _complete(root: Any) -> int:
    """Tell the shell how the word under the cursor goes on; what can't be understood goes on in no way."""
    with contextlib.suppress(UpmError):
        typer.completion.get_completion_inspect_parameters()  # makes the shells known
        root.main([], prog_name="upm")
    return ExitCode.DONE


def _execute(run: Run) -> int:
    root = build()
    if COMPLETE in os.environ:
        return _complete(root)
    frame = Frame(globals=Globals(), open=run.open)
    with root.make_context("upm", [*run.argv] or ["--help"], obj=frame) as context:
        code = root.invoke(context)
    return code if isinstance(code, int) else ExitCode.DONE
