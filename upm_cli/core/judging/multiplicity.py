"""Many tests at once: p-values adjusted so that each can be held against the significance of all."""

import numpy as np

from upm_cli.core.window import F64Array


def holm(p: F64Array) -> F64Array:
    """Return p-values adjusted by Holm (1979), in the given order, at most 1.

    Rejecting where the result is <= alpha keeps the chance of any false rejection at alpha, whatever the dependence.
    `p` (m,) in [0, 1], not modified.
    """
    order = np.argsort(p, kind="stable")
    factors = np.arange(p.size, 0, -1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * factors))
    return adjusted


def benjamini_hochberg(p: F64Array) -> F64Array:
    """Return p-values adjusted by Benjamini & Hochberg (1995), in the given order, at most 1.

    Rejecting where the result is <= alpha keeps the expected share of false rejections at alpha when the tests are
    independent or positively dependent; when nothing is true at all, that is the chance of any. `p` (m,), not modified.
    """
    order = np.argsort(p, kind="stable")[::-1]
    factors = p.size / np.arange(p.size, 0, -1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.minimum.accumulate(p[order] * factors))
    return adjusted
