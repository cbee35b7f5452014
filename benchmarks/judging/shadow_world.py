"""A simulated shadow: what champion and challenger get wrong on the same windows, hour by hour, for twelve tenants.

A window's error is |r|, r normal with the scale of its hour and tenant; champion and challenger share most of r, as
both see the same window (correlation 0.8). Each shadow has its own level: P95 of the champion from 0.10 to 0.18, under
the seed's limit of 0.2. Hours differ: a daily wave, remembered chance (AR(1)), quiet nights with 480 windows an hour
instead of 1200.

Healthy challengers are within every margin, in every hour; harmful ones are worse by more than the margin, somewhere:
in mean loss for all (step, ramp), for one tenant, at night only, or in bad misses alone (tail: more errors of 0.25 and
above, all others a fifth smaller).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

Array = np.ndarray
HEALTHY: Final = ("equal", "better", "slightly worse", "hard days", "daily swing")
HARMFUL: Final = ("step", "ramp", "one tenant", "tail only", "night only")
TENANTS: Final = 12
DAY_ROWS, NIGHT_ROWS = 100, 40  # windows of each tenant in an hour
NIGHT: Final = 6  # hours of a day, from midnight
SCALES: Final = (0.05, 0.09)
MEAN: Final = 0.7979  # of |r| when the scale is 1
SHARED, OWN = np.float32(np.sqrt(0.8)), np.float32(np.sqrt(0.2))


@dataclass(frozen=True, kw_only=True)
class Shadow:
    """One simulated shadow. Losses (rows, tenants) float32 in [0, 1], in log order: row by row, tenant by tenant."""

    kind: str
    start: float  # hour at which harm begins; infinite for a healthy one
    challenger: Array
    champion: Array


class World:
    """The clock of a shadow of `days` days: which hour each row is in."""

    def __init__(self, days: int = 14) -> None:
        self.days, self.hours = days, 24 * days
        clock = np.arange(self.hours) % 24
        self.is_night = clock < NIGHT
        self.rows = np.where(self.is_night, NIGHT_ROWS, DAY_ROWS)  # of each hour
        self.starts = np.concatenate([[0], np.cumsum(self.rows)[:-1]])
        self.hour_of = np.repeat(np.arange(self.hours), self.rows)
        self._wave = 1 + 0.1 * np.sin(2 * np.pi * (clock - 9) / 24)

    def when(self, windows: Array) -> Array:
        """Return the hour, with its fraction, at which so many windows had come; infinite where `windows` is 0."""
        row = np.minimum((np.maximum(windows, 1) - 1) // TENANTS, self.hour_of.size - 1)
        hour = self.hour_of[row]
        return np.where(windows > 0, hour + (row + 1 - self.starts[hour]) / self.rows[hour], np.inf)

    def per_hour(self, values: Array) -> Array:
        """Sum values (rows, tenants) over each hour, (hours,) float64."""
        return np.add.reduceat(values.sum(axis=1, dtype=np.float64), self.starts)

    def simulate(self, kind: str, rng: np.random.Generator) -> Shadow:
        """Return one shadow of `kind`."""
        scale = rng.uniform(*SCALES) * self._wave[:, None] * np.exp(_remembered(rng, self.hours, 0.05))[:, None]
        scale = scale * np.exp(0.1 * rng.standard_normal(TENANTS) - 0.005)
        if kind == "hard days":
            first = int(rng.integers(0, max(1, self.hours - 36)))
            scale[first : first + 36] *= 1.35
        excess, start, misses = self._excess(kind, rng)
        own = scale * self._relative(kind, rng)[:, None] * np.where(misses > 0, 0.8, 1.0) + excess / MEAN
        shape = (self.hour_of.size, TENANTS)
        shared = SHARED * rng.standard_normal(shape, np.float32)
        champion = self._errors(scale, shared, rng)
        challenger = self._errors(own, shared, rng)
        if misses.any():
            challenger += np.float32(0.25) * (rng.random(shape, np.float32) < misses[self.hour_of].astype(np.float32))
        return Shadow(kind=kind, start=start, challenger=np.minimum(challenger, 1), champion=np.minimum(champion, 1))

    def _errors(self, scale: Array, shared: Array, rng: np.random.Generator) -> Array:
        noise = rng.standard_normal(shared.shape, np.float32)
        noise *= OWN
        noise += shared
        noise *= scale.astype(np.float32)[self.hour_of]
        return np.abs(noise, out=noise)

    def _relative(self, kind: str, rng: np.random.Generator) -> Array:
        """Return the challenger's scale beside the champion's in each hour, when there is no harm."""
        chance = np.exp(_remembered(rng, self.hours, 0.01))
        by_kind = {"better": 0.95, "slightly worse": 1.04}
        if kind == "daily swing":
            return chance * np.where(self.is_night, 1.04, 0.98)
        return chance * by_kind.get(kind, 1.0)

    def _excess(self, kind: str, rng: np.random.Generator) -> tuple[Array, float, Array]:
        """Return the excess loss of each hour and tenant, when it begins, and the share of bad misses added."""
        excess, misses = np.zeros((2, self.hours, TENANTS))
        if kind in HEALTHY:
            return excess, np.inf, misses
        hour = np.arange(self.hours)[:, None]
        part = self.hours / 336  # shorter shadows have their harm earlier
        if kind == "night only":
            excess[self.is_night] = rng.uniform(0.04, 0.12)
            return excess, 0.0, misses
        start = float(int(rng.uniform(24, 240 if kind == "step" else 168) * part))
        begun = hour >= start
        if kind == "step":
            excess += begun * rng.uniform(0.02, 0.06)
        elif kind == "ramp":
            excess += np.clip((hour + 1 - start) / (96 * part), 0, 1) * rng.uniform(0.03, 0.08)
        elif kind == "one tenant":
            excess[:, rng.integers(TENANTS)] += begun[:, 0] * rng.uniform(0.05, 0.15)
        else:
            misses += begun * rng.uniform(0.03, 0.08)
        return excess, start, misses


def _remembered(rng: np.random.Generator, n: int, sd: float, rho: float = 0.8) -> Array:
    """Return n hours of AR(1) noise with standard deviation `sd`."""
    noise, now, found = rng.standard_normal(n), float(rng.standard_normal()), np.empty(n)
    for at in range(n):
        now = rho * now + np.sqrt(1 - rho * rho) * noise[at]
        found[at] = now
    return sd * found
