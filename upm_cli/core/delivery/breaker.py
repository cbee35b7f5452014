"""A breaker for each endpoint: after some failures in a row it is left alone for a while, then tried by one.

closed     everything is sent
open       nothing is sent until the cooldown is over; what waits loses no try by it
half-open  one delivery is let through: its success closes the breaker, its failure opens it again
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerPolicy:
    """When an endpoint is left alone, and for how long."""

    failures: int = 5
    cooldown_ms: int = 30_000

    def __post_init__(self) -> None:
        if self.failures < 1 or self.cooldown_ms < 0:
            raise ValueError("a breaker opens after at least one failure, for no negative time")


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """What happened at one endpoint lately."""

    failures: int = 0  # in a row
    failed_at_ms: int = 0
    probing: bool = False  # the one delivery of the half-open state is under way

    def is_open(self, policy: BreakerPolicy, now_ms: int) -> bool:
        """Say whether nothing new may be sent at `now_ms`."""
        return self.cools(policy, now_ms) or (self.probing and self.failures >= policy.failures)

    def cools(self, policy: BreakerPolicy, now_ms: int) -> bool:
        """Say whether its cooldown runs. A wall clock that was set back makes it no longer."""
        return self.failures >= policy.failures and 0 <= now_ms - self.failed_at_ms < policy.cooldown_ms

    def opens_at_ms(self, policy: BreakerPolicy) -> int:
        """Return when one may be let through again."""
        return self.failed_at_ms + policy.cooldown_ms

    def sending(self, policy: BreakerPolicy) -> "Breaker":
        """A delivery begins, which `is_open` did not forbid."""
        return replace(self, probing=True) if self.failures >= policy.failures else self

    def ended(self, *, well: bool, now_ms: int) -> "Breaker":
        """A delivery ended; badly means that the endpoint is in trouble, not that it refused."""
        return Breaker() if well else Breaker(failures=self.failures + 1, failed_at_ms=now_ms)
