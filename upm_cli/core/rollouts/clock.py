"""How much time counts between two looks at a rollout. A wall clock that jumps never makes a hold end early."""

from typing import Final

from upm_cli.core.rollouts.decisions import ClockJump
from upm_cli.core.rollouts.state import Instant

JUMP_MS: Final = 60_000  # the wall clock may be steered by this much between two looks without being told of


def elapsed(last: Instant | None, now: Instant, max_gap_ms: int) -> tuple[int, ClockJump | None]:
    """Return the milliseconds that count from `last` to `now`, never negative, and the jump to report, if any.

    Within one boot the monotonic clock counts. Across a reboot nobody knows how long it was: the wall clock's
    difference counts, at most `max_gap_ms`.
    """
    if last is None:
        return 0, None
    wall = now.wall_ms - last.wall_ms
    if now.era == last.era:
        counted = max(0, now.monotonic_ms - last.monotonic_ms)
        if abs(wall - counted) <= JUMP_MS:
            return counted, None
        what = "backwards" if wall < counted else "forwards"
        return counted, ClockJump(what=what, wall_ms=wall, counted_ms=counted)
    counted = min(max(0, wall), max_gap_ms)
    if wall < 0:
        return 0, ClockJump(what="backwards", wall_ms=wall, counted_ms=0)
    if wall > counted + JUMP_MS:
        return counted, ClockJump(what="capped", wall_ms=wall, counted_ms=counted)
    return counted, None
