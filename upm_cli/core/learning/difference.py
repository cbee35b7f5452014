"""How far two models are from each other, weight by weight."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

TOP: Final = 12  # slots that changed most, and are named


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One slot. A weight of several outputs is told by its largest change."""

    slot: int
    before: float
    after: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """All slots of two models side by side; a slot that one of them does not list weighs 0 there."""

    slots_before: int
    slots_after: int
    changed: int
    l2: float  # of the difference
    l2_before: float
    cosine: float | None  # of the two; None: one of them is all zeros
    top: tuple[Change, ...]  # largest first


def difference(before: Mapping[str, npt.NDArray[Any]], after: Mapping[str, npt.NDArray[Any]]) -> Difference:
    """Return the difference of two linear models, given as the tensors of their snapshots.

    Both need `slots` (m,) and `weights` (m, k), with the same k. Raises ValueError where they have not.
    """
    if not all("slots" in model and model["weights"].ndim == 2 for model in (before, after)):
        raise ValueError("these are no linear models")
    if before["weights"].shape[1] != after["weights"].shape[1]:
        raise ValueError(f"they have {before['weights'].shape[1]} and {after['weights'].shape[1]} outputs")
    slots = np.union1d(before["slots"], after["slots"]).astype(np.int64)
    old, new = (_spread(model, slots) for model in (before, after))
    step = new - old
    size = np.abs(step).max(axis=1)
    order = np.lexsort((slots, -size))[:TOP]
    norms = float(np.linalg.norm(old)), float(np.linalg.norm(new))
    return Difference(
        slots_before=len(before["slots"]),
        slots_after=len(after["slots"]),
        changed=int(np.count_nonzero(size)),
        l2=float(np.linalg.norm(step)),
        l2_before=norms[0],
        cosine=float(np.vdot(old, new) / (norms[0] * norms[1])) if all(norms) else None,
        top=tuple(_change(int(slots[n]), old[n], new[n]) for n in order.tolist() if size[n] > 0),
    )


def _spread(model: Mapping[str, npt.NDArray[Any]], slots: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the weights of `model` at `slots`, ascending."""
    weights = np.zeros((slots.size, model["weights"].shape[1]))
    weights[np.searchsorted(slots, model["slots"])] = model["weights"]
    return weights


def _change(slot: int, old: npt.NDArray[np.float64], new: npt.NDArray[np.float64]) -> Change:
    output = int(np.abs(new - old).argmax())
    return Change(slot=slot, before=float(old[output]), after=float(new[output]))
