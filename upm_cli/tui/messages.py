"""What threads tell the dashboard when they are done."""

from dataclasses import dataclass

from textual.message import Message

from upm_cli.core.records import Snapshot
from upm_cli.errors import UpmError
from upm_cli.tui.board import Board
from upm_cli.tui.plans import Plan


@dataclass
class BoardRead(Message):
    """The project was looked at."""

    board: Board


@dataclass
class BoardFailed(Message):
    """The project could not be looked at."""

    error: UpmError


@dataclass
class Planned(Message):
    """An action is worked out and waits for a yes."""

    plan: Plan


@dataclass
class Done(Message):
    """An action was carried out."""

    text: str


@dataclass
class Failed(Message):
    """An action could not be planned or carried out; nothing was changed."""

    error: UpmError


@dataclass
class Verified(Message):
    """Snapshots were read back: what is wrong with each version, or nothing ("")."""

    shots: tuple[Snapshot, ...]
    found: dict[int, str]


@dataclass
class Chosen(Message):
    """Another trainer was chosen."""

    trainer: str


@dataclass
class VerifyAsked(Message):
    """Snapshots are to be read back and proven."""

    shots: tuple[Snapshot, ...]
