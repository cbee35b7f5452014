"""A thread that looks for something new now and then, and that never keeps alive whom it works for."""

import random
import threading
import weakref
from collections.abc import Callable
from typing import Any, Final

SPREAD: Final = 0.25  # of the interval, up and down: many agents don't look at the same moment


class Poller:
    """Calls `tick()` of `owner` about every `interval_s` until it is stopped or `owner` is gone."""

    def __init__(self, owner: Any, tick: Callable[[Any], object], interval_s: float, chance: random.Random) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=_run, args=(weakref.ref(owner), tick, interval_s, chance, self._stop), name="upm-agent", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Let the thread end, and wait until it has."""
        self._stop.set()
        if self._thread is not threading.current_thread():
            self._thread.join()


def _run(
    owner: "weakref.ref[Any]",
    tick: Callable[[Any], object],
    interval_s: float,
    chance: random.Random,
    stop: threading.Event,
) -> None:
    while not stop.wait(interval_s * chance.uniform(1 - SPREAD, 1 + SPREAD)):
        alive = owner()
        if alive is None:
            return
        tick(alive)
        del alive
