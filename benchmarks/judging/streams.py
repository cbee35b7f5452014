"""Streams of loss differences whose mean is known, (streams, n) float64, from a seeded generator."""

from collections.abc import Callable

import numpy as np

Array = np.ndarray
SD = 0.08  # of one window's loss difference, unless told


def normal(rng: np.random.Generator, mean: float, streams: int, n: int, sd: float = SD) -> Array:
    return mean + sd * rng.standard_normal((streams, n))


def heavy(rng: np.random.Generator, mean: float, streams: int, n: int) -> Array:
    """Student's t with 3 degrees of freedom, cut evenly on both sides so that the mean stays."""
    return mean + np.clip(SD * rng.standard_t(3, (streams, n)), -0.45, 0.45)


def skewed(rng: np.random.Generator, mean: float, streams: int, n: int) -> Array:
    """One in a hundred is 0.9 worse, the others a little better."""
    rare = rng.random((streams, n)) < 0.01
    return np.where(rare, 0.9, (mean - 0.009) / 0.99) + np.clip(0.02 * rng.standard_normal((streams, n)), -0.09, 0.09)


def seasonal(rng: np.random.Generator, mean: float, streams: int, n: int) -> Array:
    """A daily wave (1440 windows) of height 0.02 that never goes above `mean`."""
    wave = 0.02 * (np.sin(2 * np.pi * np.arange(n) / 1440) - 1)
    return mean + wave + SD * rng.standard_normal((streams, n))


def swinging(rng: np.random.Generator, mean: float, streams: int, n: int) -> Array:
    """The same wave, begun so that the average so far never goes below `mean` but the present often does."""
    wave = 0.02 * np.sin(2 * np.pi * np.arange(n) / 1440)
    return mean + wave + SD * rng.standard_normal((streams, n))


KINDS: dict[str, Callable[..., Array]] = {"iid": normal, "heavy": heavy, "skewed": skewed}


def autoregressive_blocks(
    rng: np.random.Generator, rho: float, streams: int, n: int, size: int, sd: float = SD
) -> Array:
    """Means over blocks of `size` windows of a stream with mean 0 where each window remembers the last by `rho`."""
    now = sd * rng.standard_normal(streams)
    blocks = np.zeros((n // size, streams))
    for row in range(n // size):
        noise = sd * np.sqrt(1 - rho * rho) * rng.standard_normal((size, streams))
        for step in noise:
            now = rho * now + step
            blocks[row] += now
    return np.ascontiguousarray(blocks.T) / size
