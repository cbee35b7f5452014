"""How long a lineage has been in shadow: time that passed while it was judged, on a clock nobody can set forward."""

from typing import TYPE_CHECKING, Final

from upm_cli.clock import Clock
from upm_cli.core.records import Dwell
from upm_cli.core.rollouts.clock import elapsed
from upm_cli.core.rollouts.state import Instant
from upm_cli.ops.proof import judged_at_ms
from upm_cli.store import dwells, evidence, trainers

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.store.session import Reader, Store

ACTOR: Final = "rollout"
LEAST_MS: Final = 30_000  # looks closer together than this write nothing


def shadow_s(reader: "Reader", name: str) -> float:
    """Return the accumulated seconds of the lineage of `name` in shadow."""
    found = dwells.find(reader, name)
    return 0.0 if found is None else found.shadow_s


def pass_time(store: "Store", clock: Clock, settings: "Settings", name: str) -> None:
    """Count the time since the last look, if the lineage was judged lately; a clock that jumped goes on the record.

    Time counts only while evidence is not older than `rollout.max_evidence_age_ms`: a trainer that nothing reaches is
    not being tried out.
    """
    wall_ms, monotonic_s, era = clock.now_ms(), clock.monotonic_s(), clock.era()
    with store.read() as reader:
        last, judged = dwells.find(reader, name), evidence.of(reader, name).get("lineage")
    if last is None and judged is None:
        return
    before = None if last is None else _instant(last)
    now = Instant(wall_ms=wall_ms, monotonic_ms=round(monotonic_s * 1000), era=era)
    counted, jump = elapsed(before, now, settings.rollout.max_gap_ms)
    if last is not None and counted < LEAST_MS and jump is None and era == last.era:
        return
    is_judged = judged is not None and wall_ms - judged_at_ms(judged) <= settings.rollout.max_evidence_age_ms
    with store.write(actor=ACTOR) as tx:
        if dwells.find(tx, name) != last or trainers.find(tx, name) is None:
            return  # somebody else counted this time meanwhile, or removed the trainer
        added_s = counted / 1000 if is_judged else 0.0
        kept_s = 0.0 if last is None else last.shadow_s
        dwells.put(
            tx, Dwell(trainer=name, shadow_s=kept_s + added_s, wall_ms=wall_ms, monotonic_s=monotonic_s, era=era)
        )
        if jump is not None:
            tx.ledger("clock.jump", name, what=jump.what, wall_ms=jump.wall_ms, counted_ms=jump.counted_ms)


def _instant(last: Dwell) -> Instant:
    return Instant(wall_ms=last.wall_ms, monotonic_ms=round(last.monotonic_s * 1000), era=last.era)
