"""How the learning rate changes with the number of windows learned."""

import math
from typing import Final

from upm_cli.core.learning.spec import LearnerSpec

COSINE_FLOOR: Final = 0.01  # a stream has no end, so the rate never reaches 0


def rate_at(spec: LearnerSpec, t: int) -> float:
    """Return the learning rate for a batch that starts when `t` windows have been learned.

    inverse_scaling: rate / (1 + t)^power (Robbins & Monro 1951; scikit-learn's `invscaling` counts from 1).
    cosine: from the rate to 1 % of it along half a cosine over `schedule_windows`, then constant (Loshchilov &
    Hutter 2017, one cycle). Warm-up multiplies by (t + 1) / warmup_windows until that is 1.
    """
    rate = spec.rate
    if spec.schedule == "inverse_scaling":
        rate /= (1.0 + t) ** spec.schedule_power
    elif spec.schedule == "cosine":
        done = min(1.0, t / spec.schedule_windows)
        rate *= COSINE_FLOOR + (1 - COSINE_FLOOR) * 0.5 * (1 + math.cos(math.pi * done))
    if t + 1 < spec.warmup_windows:
        rate *= (t + 1) / spec.warmup_windows
    return rate
