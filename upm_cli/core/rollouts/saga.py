"""The steps of an activation and what undoes each: how far one came is on the record with it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

UNDO: Final[Mapping[str, str]] = {
    "load": "nothing: the file was only read",
    "verify": "nothing: the bytes were only compared",
    "evidence": "nothing: the contests were only read",
    "policy": "nothing: the gates were only asked",
    "swap": "swap back to what the ring served before, with a new epoch (upm rollback)",
    "event": "tell of the rollback, so that agents go back",
}


@dataclass(frozen=True, slots=True)
class Saga:
    """The steps done so far, in order."""

    done: tuple[str, ...] = ()

    def after(self, step: str) -> "Saga":
        """Return the saga with `step` done; steps come in the order of `UNDO`."""
        expected = list(UNDO)[len(self.done)]
        if step != expected:
            raise ValueError(f"step {step} can't follow {self.done}: {expected} is next")
        return Saga((*self.done, step))

    @property
    def is_whole(self) -> bool:
        return len(self.done) == len(UNDO)

    def told(self) -> list[dict[str, Any]]:
        """Return every step, whether it was done, and what undoes it."""
        return [{"step": step, "done": step in self.done, "undo": undo} for step, undo in UNDO.items()]
