"""What a command works with: the project, its settings and store, the clock, and how to answer.

Everything is opened when first asked for, so that `upm explain` needs no project and `upm config` no database.
"""

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from upm_cli import actors
from upm_cli.clock import Clock
from upm_cli.commands._diagnostics import Diagnostics
from upm_cli.errors import NotFoundError, UsageError
from upm_cli.nearest import choices, nearest

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.store.session import Store

FORMATS = ("table", "json", "jsonl", "tsv")
COLORS = ("auto", "always", "never")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Globals:
    """The shared options, as given; None or empty means not given."""

    project: Path | None = None
    config: Path | None = None
    overrides: tuple[str, ...] = ()
    output: str | None = None
    fields: tuple[str, ...] | None = None
    quiet: bool = False
    verbose: int = 0
    color: str | None = None
    no_input: bool = False
    timeout: str | None = None
    wait: str | None = None

    def merged(self, later: "Globals") -> "Globals":
        """Return these options with `later` ones (typed further right) on top."""
        return Globals(
            project=later.project or self.project,
            config=later.config or self.config,
            overrides=self.overrides + later.overrides,
            output=later.output or self.output,
            fields=self.fields if later.fields is None else later.fields,
            quiet=self.quiet or later.quiet,
            verbose=self.verbose + later.verbose,
            color=later.color or self.color,
            no_input=self.no_input or later.no_input,
            timeout=later.timeout or self.timeout,
            wait=later.wait or self.wait,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The options of commands that change something."""

    dry_run: bool = False
    yes: bool = False
    reason: str = ""

    def __post_init__(self) -> None:
        try:
            self.reason.encode()
        except UnicodeEncodeError as exc:
            raise UsageError("--reason is not UTF-8", hint="write it in another way", code="UPM-E029") from exc


def duration_s(text: str, option: str) -> float:
    """Return the seconds in `text` ("30s", "500ms", "5m", "1h", "2d", or a bare number of seconds).

    Raises UsageError naming `option`.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{option} {text!r} is not a duration", hint="write 500ms, 30s, 5m, 1h or 2d")
    return float(match[1]) * _SECONDS[match[2] or "s"]


def wants_color(choice: str | None, stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Return whether to colour `stream`: --color, then NO_COLOR and FORCE_COLOR, then whether it is a terminal."""
    if choice not in (None, *COLORS):
        raise UsageError(f"no colour choice {choice!r}", hint=f"one of {', '.join(COLORS)}")
    if choice in ("always", "never"):
        return choice == "always"
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and environ.get("TERM", "") not in ("", "dumb")


@dataclass
class Context:
    """One run of one command."""

    globals: Globals
    change: Change
    clock: Clock
    say: Diagnostics
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    command: str = "upm"  # the command line, for whoever waits for a lock we hold
    root: Any = None  # the command `upm` with every other in it, for what lists them

    @cached_property
    def project(self) -> Path:
        """The folder with upm.yaml. Raises NotFoundError when there is none."""
        from upm_cli.ops.project import find_project

        return find_project(self.project_option, config=self.config_option)

    @property
    def project_option(self) -> Path | None:
        """-C, or UPM_PROJECT, or UPM_HOME; None when the project is to be looked for."""
        given = self.environ.get("UPM_PROJECT") or self.environ.get("UPM_HOME")
        return self.globals.project or (Path(given) if given else None)

    @property
    def config_option(self) -> Path | None:
        given = self.environ.get("UPM_CONFIG")
        return self.globals.config or (Path(given) if given else None)

    @property
    def config_path(self) -> Path:
        """The configuration file in force."""
        return self.config_option or self.project / "upm.yaml"

    @property
    def home(self) -> Path:
        """The project's .upm folder."""
        return self.project / ".upm"

    @cached_property
    def settings(self) -> "Settings":
        """The resolved settings. Raises ConfigError with all problems at once."""
        from upm_cli.config.load import load

        return load(self.config_path, overrides=self.globals.overrides, environ=self.environ).settings

    @cached_property
    def store(self) -> "Store":
        """The project's store. Raises NotFoundError when the project was never initialised."""
        from upm_cli.ops.project import open_store

        base_path = self.settings.snapshot_manager.base_path
        return open_store(self.project, self.clock, base_path, lock_timeout_s=self.lock_timeout_s, command=self.command)

    def close(self) -> None:
        """Let go of the store, if it was opened; what it had names for is kept for the shell's completion."""
        if "store" in self.__dict__:
            from upm_cli.ops import names

            if "settings" in self.__dict__:
                names.remember(self.store, self.settings)
            self.store.close()

    @property
    def lock_timeout_s(self) -> float:
        """How long to wait for a lock: --wait, else 10 seconds."""
        return duration_s(self.globals.wait, "--wait") if self.globals.wait else 10.0

    @property
    def timeout_s(self) -> float | None:
        """--timeout in seconds, or None."""
        return duration_s(self.globals.timeout, "--timeout") if self.globals.timeout else None

    @property
    def output_asked(self) -> str:
        """What -o or UPM_OUTPUT asks for; empty when neither does."""
        return self.globals.output or self.environ.get("UPM_OUTPUT") or ""

    @property
    def output(self) -> str:
        """table | json | jsonl | tsv: -o, or UPM_OUTPUT, or table on a terminal and tsv in a pipe."""
        chosen = self.output_asked
        if not chosen:
            return "table" if sys.stdout.isatty() else "tsv"
        if chosen not in FORMATS:
            raise UsageError(f"no output format {chosen!r}", hint=choices(chosen, FORMATS))
        return chosen

    @property
    def color(self) -> bool:
        """Whether stdout is coloured."""
        return wants_color(self.globals.color, sys.stdout, self.environ)

    @property
    def actor(self) -> str:
        """Who runs this, as the kernel knows them: no variable and no flag has a say."""
        return actors.current()

    @property
    def may_ask(self) -> bool:
        return not self.globals.no_input and sys.stdin.isatty() and sys.stderr.isatty()

    def confirm(self, plan: str) -> None:
        """Ask whether to do what `plan` says (one sentence, as in "this removes trainer main").

        Returns at once with --yes. Raises UsageError (exit 2) when nobody can be asked or the answer is no.
        """
        if self.change.yes:
            return
        if not self.may_ask:
            raise UsageError(
                f"{plan} and needs confirmation", hint="add --yes (or --dry-run to see the plan)", code="UPM-E022"
            )
        if not self.say.ask(f"{plan}. Go on?"):
            raise UsageError("not confirmed; nothing was changed", code="UPM-E023")

    def trainer_name(self, given: str | None) -> str:
        """Return the trainer that is meant: `given`, or the only one there is.

        Raises NotFoundError for an unknown name, UsageError when several could be meant.
        """
        known = self._trainer_names()
        if given is not None:
            if given in known:
                return given
            near = nearest(given, known)
            guess = f". Did you mean {near!r}?" if near is not None else ""
            raise NotFoundError(
                f"no trainer {given!r}{guess}",
                hint=f"there {'is' if len(known) == 1 else 'are'} {len(known)}: upm trainer list",
                context={"trainer": given, "known": known},
            )
        if len(known) == 1:
            return known[0]
        raise UsageError(
            f"which trainer? There are {len(known)}: {', '.join(known) or 'none'}",
            hint="name one" if known else "upm trainer add NAME",
            code="UPM-E025",
        )

    def _trainer_names(self) -> list[str]:
        """Names from the configuration and from the state, sorted."""
        names = {trainer.name for trainer in self.settings.supervisor.default_trainers}
        if self.home.is_dir():
            from upm_cli.store import trainers

            with self.store.read() as reader:
                names |= {trainer.name for trainer in trainers.list_all(reader)}
        return sorted(names)
