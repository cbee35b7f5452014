"""The trainers that a supervisor has: it holds the lease of each, so that nobody else trains them meanwhile."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from upm_cli.errors import BusyError
from upm_cli.ops.trainers import train_lease
from upm_cli.store import lease
from upm_cli.store.positions import Positions

TRY_EVERY_S: Final = 2.0  # to get those that somebody else trains


@dataclass(slots=True)
class Holdings:
    """Leases by trainer, and who has those that could not be had."""

    home: Path
    say: Callable[..., None]
    ours: dict[str, lease.Lease] = field(default_factory=dict)
    elsewhere: dict[str, str] = field(default_factory=dict)
    _tried_at_s: float = -math.inf

    def update(self, positions: Positions, now_s: float, *, quietly: bool) -> None:
        """Take the leases of trainers that came, and let go of those that went."""
        for name in [name for name in self.ours if name not in positions.trainers]:
            self.ours.pop(name).release()
            self.say(f"trainer {name} is gone")
        missing = [name for name in positions.trainers if name not in self.ours]
        is_time = now_s - self._tried_at_s >= TRY_EVERY_S
        for name in missing:
            if (name not in self.elsewhere or is_time) and self._take(name) and not quietly:
                self.say(f"trainer {name} is taken on")
        self.elsewhere = {name: who for name, who in self.elsewhere.items() if name in positions.trainers}
        if is_time:
            self._tried_at_s = now_s

    def release(self) -> None:
        """Let go of all."""
        for held in self.ours.values():
            held.release()
        self.ours.clear()

    def _take(self, name: str) -> bool:
        try:
            self.ours[name] = lease.acquire(self.home, train_lease(name), "upm up")
        except BusyError as exc:
            if name not in self.elsewhere:
                self.say(f"trainer {name} is left alone: {exc.message}", level="warning")
            self.elsewhere[name] = exc.message
            return False
        self.elsewhere.pop(name, None)
        return True
