"""Is what serves still right? Served comparisons gathered into event-time windows, for each version on its own.

The rule is that of shadow windows (core/drift.py), over the comparisons of one version in their order. A version that
nobody is asked any more gathers no further samples: when `STALE` comparisons of others came since its last one, its
open window is closed as it is.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from upm_cli.core.drift import DriftPolicy, DriftState, JudgedWindow
from upm_cli.core.feedback.served import Served

STALE: Final = 1_000_000  # comparisons


@dataclass(frozen=True, slots=True)
class ServedWindow:
    """A drift window of what one version was asked."""

    version: int
    judged: JudgedWindow


@dataclass(slots=True)
class ServedDrift:
    """A fold over served comparisons that closes drift windows. Memory: 8 bytes for each that is in an open window."""

    policy: DriftPolicy
    _states: dict[int, DriftState] = field(default_factory=dict)

    @classmethod
    def resume(cls, policy: DriftPolicy, closed_until_ms: Mapping[int, int]) -> "ServedDrift":
        """Return the state after the last closed window of each version; go on with the comparison after it."""
        states = {version: DriftState.resume(policy, until_ms) for version, until_ms in closed_until_ms.items()}
        return cls(policy, states)

    def advance(self, served: Served) -> list[ServedWindow]:
        """Take the next comparisons and return the windows they closed, by version."""
        return list(self._advance(served))

    def open_windows(self) -> list[ServedWindow]:
        """Judge what has been gathered so far without closing it."""
        found = [(version, state.open_window()) for version, state in sorted(self._states.items())]
        return [ServedWindow(version, judged) for version, judged in found if judged is not None]

    def _advance(self, served: Served) -> Iterator[ServedWindow]:
        if not len(served):
            return
        for version in np.unique(served.version).tolist():
            rows = np.flatnonzero(served.version == version)
            state = self._states.setdefault(version, DriftState(self.policy))
            yield from self._close_stale(version, int(served.table.seq[rows[0]]))
            for judged in state.advance(served.table.take(rows)):
                yield ServedWindow(version, judged)
        for version in sorted(self._states):
            yield from self._close_stale(version, int(served.table.seq[-1]))

    def _close_stale(self, version: int, seq: int) -> Iterator[ServedWindow]:
        """Close the open window of a version if nothing came to it for too long before comparison `seq`."""
        last = self._states[version].last_seq
        if last is not None and seq - last >= STALE:
            judged = self._states[version].close()
            assert judged is not None
            yield ServedWindow(version, judged)
