"""What the dashboard is handed: the project it shows, and in whose name it acts."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from upm_cli.clock import Clock
from upm_cli.config.schema import Settings

if TYPE_CHECKING:
    from upm_cli.store.session import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A project as a command opened it. `program` is how to call upm on it: ("upm",) or ("upm", "-C", DIR)."""

    store: "Store"
    clock: Clock
    settings: Settings
    actor: str
    folder: Path
    program: tuple[str, ...] = ("upm",)

    def command(self, words: Sequence[str]) -> str:
        """Return the command line for `words`, ready to be pasted into a shell."""
        return shlex.join([*self.program, *words])
