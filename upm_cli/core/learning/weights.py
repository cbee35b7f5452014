"""The weights of a linear learner and the optimizer's state beside them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from upm_cli.core.learning.optimizers import IntpArray, Optimizer, State
from upm_cli.core.window import F32Array
from upm_cli.errors import IntegrityError


class Weights:
    """One weight for each slot and output, flat: slot * stride + output. The last slot is the bias.

    `stride` is the room for outputs; where outputs are added later it doubles, and columns not in use are as new.
    """

    def __init__(self, slots: int, outputs: int, optimizer: Optimizer) -> None:
        self.slots = slots
        self.stride = _room(outputs)
        self._optimizer = optimizer
        self.w = np.zeros(slots * self.stride, np.float32)
        self.state: State = optimizer.init(self.w.size)

    def make_room(self, outputs: int) -> None:
        """See to it that `outputs` fit."""
        if outputs <= self.stride:
            return
        old, old_stride = self._tables(), self.stride
        self.stride = _room(outputs)
        self.w = np.zeros(self.slots * self.stride, np.float32)
        self.state = self._optimizer.init(self.w.size)
        for name, table in self._tables().items():
            table[:, :old_stride] = old[name]

    def rows(self, name: str) -> F32Array:
        """Return a state array as (slots, stride), sharing memory."""
        return self.state[name].reshape(self.slots, self.stride)

    def _tables(self) -> dict[str, F32Array]:
        flat = {"weights": self.w, **self.state}
        return {name: values.reshape(self.slots, self.stride) for name, values in flat.items()}

    @property
    def bias(self) -> F32Array:
        """The weights of the bias, (stride,), sharing memory."""
        return self.w[-self.stride :]

    def used(self, seen: npt.NDArray[np.bool_]) -> IntpArray:
        """Return the slots that were seen or where a weight or state is not as new, in order, and always the bias."""
        fresh = {"weights": np.zeros(1, np.float32), **self._optimizer.init(1)}
        used = seen.copy()
        used[-1] = True
        for name, table in self._tables().items():
            used |= (table.view(np.uint32) != fresh[name].view(np.uint32)).any(axis=1)
        return np.flatnonzero(used)

    def take(self, slots: IntpArray, outputs: int) -> dict[str, npt.NDArray[Any]]:
        """Return (len(slots), outputs) copies of the weights and of each state array."""
        return {name: np.ascontiguousarray(table[slots, :outputs]) for name, table in self._tables().items()}

    def put(self, slots: IntpArray, outputs: int, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Set what `take` returned. Raises IntegrityError when an array is missing or of another shape."""
        self.make_room(outputs)
        for name, table in self._tables().items():
            found = arrays.get(name)
            if found is None or found.shape != (slots.size, outputs):
                shape = "missing" if found is None else f"of shape {found.shape}"
                raise IntegrityError(
                    f"the learner's array {name!r} is {shape}, expected {(slots.size, outputs)}",
                    hint="the checkpoint belongs to another learner; restore one that was made with this specification",
                    code="UPM-E096",
                )
            table[slots, :outputs] = found


def _room(outputs: int) -> int:
    return 1 << (outputs - 1).bit_length()
