"""What the operating system tells a supervisor: stop, stop at once, read the configuration again, look at the state."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from upm_cli.ops.supervisor import LOOK_SIGNAL

_STOP: Final = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """Set by handlers, looked at between two passes of the loop."""

    def __init__(self) -> None:
        self.stop: int | None = None  # the first of SIGTERM and SIGINT
        self.is_urgent = False  # a second one came: no clean-up
        self._reload = self._look = False

    def take_reload(self) -> bool:
        """Say whether SIGHUP came since the last call."""
        asked, self._reload = self._reload, False
        return asked

    def take_look(self) -> bool:
        """Say whether somebody asked for a look at the state since the last call."""
        asked, self._look = self._look, False
        return asked

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Take over the signals for the length of a block; only in the main thread."""
        before = {number: signal.signal(number, self._receive) for number in (*_STOP, signal.SIGHUP, LOOK_SIGNAL)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self._reload = True
        elif number == LOOK_SIGNAL:
            self._look = True
        elif self.stop is None:
            self.stop = number
        else:
            self.is_urgent = True
