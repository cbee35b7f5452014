"""What threads and screens tell the dashboard."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message

from upm_cli.core.records import Snapshot
from upm_cli.errors import UpmError
from upm_cli.tui.board import Board
from upm_cli.tui.plan import Plan, Refusal

if TYPE_CHECKING:
    from upm_cli.ops.snapshot_diff import Diff
    from upm_cli.ops.strips import Strips
    from upm_cli.ops.then import Moment


@dataclass
class BoardRead(Message):
    """The project was looked at; `asked_at_ms` is the instant that was asked for, None: now."""

    board: Board
    asked_at_ms: int | None = None


@dataclass
class BoardFailed(Message):
    """The project could not be looked at."""

    error: UpmError


@dataclass
class StripsRead(Message):
    """The strips of a trainer were read, or the first part of them; `asked` is what they were asked for."""

    strips: "Strips"
    asked: object
    is_whole: bool


@dataclass
class StripsLeft(Message):
    """Nobody looks at the strips any more, so that reading them has ended early."""


@dataclass
class StripsFailed(Message):
    """They could not be read; the next look tries again."""

    error: UpmError


@dataclass
class MomentsRead(Message):
    """What there is to step through; `by` is the step that was asked for."""

    moments: "tuple[Moment, ...]"
    by: int


@dataclass
class Planned(Message):
    """An action is worked out and waits for a yes."""

    plan: Plan


@dataclass
class Refused(Message):
    """The gates said no to an action."""

    refusal: Refusal


@dataclass
class Done(Message):
    """An action was carried out."""

    text: str


@dataclass
class Failed(Message):
    """An action could not be planned or carried out; nothing was changed."""

    error: UpmError


@dataclass
class Chosen(Message):
    """The cursor of the overview went to a trainer."""

    trainer: str


@dataclass
class VerifyAsked(Message):
    """Somebody wants snapshots to be read back and proven."""

    shots: tuple[Snapshot, ...]


@dataclass
class Verified(Message):
    """Snapshots were read back; by version what is wrong, or nothing ("")."""

    shots: tuple[Snapshot, ...]
    found: dict[int, str]


@dataclass
class DiffAsked(Message):
    """Somebody wants to see two snapshots side by side."""

    before: Snapshot
    after: Snapshot


@dataclass
class Compared(Message):
    """Two snapshots were compared."""

    diff: "Diff"


@dataclass
class Told(Message):
    """Something was done that changed nothing of the project."""

    text: str
