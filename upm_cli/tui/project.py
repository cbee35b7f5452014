"""What the dashboard is handed: the project it shows, in whose name it acts, and what only the command line knows."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from upm_cli.clock import Clock
from upm_cli.config.schema import Settings
from upm_cli.errors import UsageError

if TYPE_CHECKING:
    from upm_cli.store.session import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class CliCommand:
    """One command of upm: `name` as it is typed after `upm`, what its help says, and an example that works."""

    name: str
    short: str
    usage: str
    text: str


def _no_commands() -> Sequence[CliCommand]:
    return ()


def _no_time(text: str, now_ms: int) -> int:
    raise UsageError(f"{text!r} is no time")


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A project as a command opened it. `program` is how to call upm on it: ("upm",) or ("upm", "-C", DIR)."""

    store: "Store"
    clock: Clock
    settings: Settings
    actor: str
    folder: Path
    program: tuple[str, ...] = ("upm",)
    is_ascii: bool = False  # draw without any other sign
    commands: Callable[[], Sequence[CliCommand]] = _no_commands  # takes a moment: call it in a thread
    moment: Callable[[str, int], int] = _no_time  # a time as people type it, and now → Unix milliseconds

    def command(self, words: Sequence[str]) -> str:
        """Return the command line for `words`, ready to be pasted into a shell."""
        return shlex.join([*self.program, *words])
