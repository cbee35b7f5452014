"""Everything that reads a project for the dashboard. Imported in a thread, after the first frame is on the screen."""

from collections.abc import Callable, Iterator

from upm_cli.ops import feature_drift, strips
from upm_cli.ops import then as ops
from upm_cli.ops.drift import policy_of
from upm_cli.tui.board import Board
from upm_cli.tui.board_reader import BoardReader
from upm_cli.tui.past import PastReader
from upm_cli.tui.project import Project


class Readers:
    """One of each reader. `live` is only for one thread at a time, as is `past`; `strips` is for another one."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self.live, self.past = BoardReader(project), PastReader(project)
        self._memory = strips.Memory()

    def moments(self) -> tuple[ops.Moment, ...]:
        """Return what there is to step through."""
        return ops.moments(self._project.store)

    def strips(self, board: Board, goes_on: Callable[[], bool]) -> Iterator[strips.Strips]:
        """Yield the strips over the drift windows of `board`: those of tenants, then with the features."""
        assert board.drift is not None and board.trainer is not None
        settings, windows = self._project.settings, [line.window for line in board.drift.lines]
        drift = policy_of(settings.drift_monitor)
        features = feature_drift.policy_of(settings.evidence, settings.drift_monitor.window_duration_ms)
        yield from strips.read(self._project.store, board.trainer, windows, drift, features, self._memory, goes_on)

    def close(self) -> None:
        """Let go of what is open besides the store."""
        self.past.close()
