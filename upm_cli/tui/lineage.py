"""Which snapshot learned on from which, as a tree of lines: the line that goes on is straight, left ones branch off."""

from collections.abc import Sequence

from rich.text import Text

from upm_cli.core.records import Snapshot
from upm_cli.core.versions import parent_version
from upm_cli.tui.board import Board
from upm_cli.tui.text import BAD, QUIET, snapshot_status, version


def lineage(shots: Sequence[Snapshot], board: Board, chosen: int, height: int) -> Text:
    """Return the tree around version `chosen` of `shots` (newest first), at most `height` lines, the newest on top."""
    rows = {shot.version: shot for shot in shots}
    trunk = ancestors(rows, _end_of_line(rows, board))
    lines = [_line(shot, board, chosen, is_trunk=shot.version in trunk, rows=rows) for shot in shots]
    at = next((n for n, shot in enumerate(shots) if shot.version == chosen), 0)
    first = max(0, min(at - height // 2, len(lines) - height))
    return Text("\n").join(lines[first : first + height])


def _end_of_line(rows: dict[int, Snapshot], board: Board) -> int:
    """Return the version that the trainer learns on from: the newest one, or where a rollback put it back."""
    newest = max(rows, default=0)
    details = board.details[rows[newest].trainer] if newest else {}
    return parent_version(newest + 1, tuple(details.get("lineage") or ())) or newest


def ancestors(rows: dict[int, Snapshot], newest: int) -> set[int]:
    """Return the version `newest` and all it learned on from."""
    found: set[int] = set()
    version_: int | None = newest
    while version_ is not None and version_ in rows and version_ not in found:
        found.add(version_)
        version_ = rows[version_].parent
    return found


def _line(shot: Snapshot, board: Board, chosen: int, *, is_trunk: bool, rows: dict[int, Snapshot]) -> Text:
    rings = board.rings(shot)
    mark = "◆" if shot.quarantined else "●" if rings else "○"
    style = BAD if shot.quarantined else "green" if rings else ""
    stem = Text.assemble((mark, style), "   ") if is_trunk else Text.assemble(("│ ", QUIET), (f"{mark} ", style))
    text = Text.assemble(stem, (version(shot.version), "bold reverse" if shot.version == chosen else ""))
    if shot.parent is not None and shot.parent != shot.version - 1:
        text.append(f" from {version(shot.parent)}", style=QUIET)
    if shot.quarantined or rings or shot.pinned:
        text.append(f"  {snapshot_status(shot, rings).plain.partition(' ')[2]}", style=style)
    if shot.pinned:
        text.append(" pinned", style=QUIET)
    return text
