"""S13: a thousand healthy and a thousand harmful shadows of fourteen days, and what six rules make of them.

    python -m benchmarks.judging.s13_shadow [SHADOWS_OF_EACH_KIND]

prints the table by kind and, in full size (200 of each of ten kinds), draws s13.svg beside this file.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.judging.shadow_chart import chart
from benchmarks.judging.shadow_judges import JUDGES, OURS, RIVALS, Judged, judge, shipped_policy
from benchmarks.judging.shadow_world import HARMFUL, HEALTHY, World
from benchmarks.judging.table import Row
from upm_cli.core.judging.evidence_policy import EvidencePolicy

KINDS = HEALTHY + HARMFUL
SEED_RULE, PEEKED = RIVALS[0], RIVALS[3]
TOGETHER = 20  # shadows in memory at once


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one rule did with one shadow. `delay`: hours from the harm's beginning to the rollback."""

    kind: str
    rolled_back: bool
    promoted: bool
    delay: float  # infinite when not rolled back, NaN when rolled back before there was harm


@dataclass(frozen=True, kw_only=True)
class Score:
    """A rule's shadows summed up. Shares of the healthy, or of the harmful, in [0, 1]; `delay` in hours."""

    wrong: float  # healthy, rolled back
    waiting: float  # healthy, neither rolled back nor promoted
    missed: float  # harmful, promoted
    early: float  # harmful, rolled back before there was harm: a false alarm, which finds nothing
    delay: float  # median over all harmful of the hours until it is found; infinite where it never is
    delay_else: float  # the same without those rolled back before


def run(each: int, days: int = 14, seed: int = 13, policy: EvidencePolicy | None = None) -> dict[str, list[Outcome]]:
    """Simulate and judge `each` shadows of each kind; return the outcomes of each rule."""
    world, policy = World(days), policy or shipped_policy()
    plan = [(kind, [seed, number, at]) for number, kind in enumerate(KINDS) for at in range(each)]
    found: dict[str, list[Outcome]] = {name: [] for name in JUDGES}
    for top in range(0, len(plan), TOGETHER):
        shadows = [world.simulate(kind, np.random.default_rng(key)) for kind, key in plan[top : top + TOGETHER]]
        for shadow, judged in zip(shadows, judge(world, shadows, policy), strict=True):
            for name, one in judged.items():
                found[name].append(_outcome(shadow.kind, shadow.start, one))
    return found


def _outcome(kind: str, start: float, judged: Judged) -> Outcome:
    rolled_back = bool(np.isfinite(judged.rolled_back))
    delay = judged.rolled_back - start if rolled_back and np.isfinite(start) else np.inf
    return Outcome(kind=kind, rolled_back=rolled_back, promoted=judged.promoted, delay=np.nan if delay < 0 else delay)


def score(outcomes: Sequence[Outcome], kinds: Sequence[str] = KINDS) -> Score:
    """Sum up the outcomes of a rule for shadows of some kinds."""
    healthy = [one for one in outcomes if one.kind in HEALTHY and one.kind in kinds]
    harmful = [one for one in outcomes if one.kind in HARMFUL and one.kind in kinds]
    delays = np.array([one.delay for one in harmful])
    begun = delays[~np.isnan(delays)]
    return Score(
        wrong=share([one.rolled_back for one in healthy]),
        waiting=share([not one.rolled_back and not one.promoted for one in healthy]),
        missed=share([one.promoted for one in harmful]),
        early=share([bool(np.isnan(one.delay)) for one in harmful]),
        delay=float(np.median(np.where(np.isnan(delays), np.inf, delays))) if delays.size else np.inf,
        delay_else=float(np.median(begun)) if begun.size else np.inf,
    )


def share(facts: Sequence[bool]) -> float:
    return float(np.mean(facts)) if facts else float("nan")


def hours(delay: float) -> str:
    """Return a delay for people; a median that is never reached says so."""
    return "never" if np.isinf(delay) else f"{delay:.1f} h"


def table(found: dict[str, list[Outcome]]) -> str:
    """Return what every rule did, overall and with each kind of shadow, as Markdown."""
    lines = [
        "| rule | healthy rolled back | healthy held | harmful promoted | rolled back before the harm "
        "| median until found | not counting those |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, outcomes in found.items():
        one = score(outcomes)
        cells = [f"{100 * value:.1f} %" for value in (one.wrong, one.waiting, one.missed, one.early)]
        lines.append(f"| {name} | {' | '.join(cells)} | {hours(one.delay)} | {hours(one.delay_else)} |")
    lines += ["", f"| healthy, rolled back | {' | '.join(HEALTHY)} |", f"|---|{'---:|' * len(HEALTHY)}"]
    for name, outcomes in found.items():
        lines.append(f"| {name} | {' | '.join(f'{100 * score(outcomes, [k]).wrong:.1f} %' for k in HEALTHY)} |")
    lines += [
        "",
        f"| harmful, promoted; median until found | {' | '.join(HARMFUL)} |",
        f"|---|{'---:|' * len(HARMFUL)}",
    ]
    for name, outcomes in found.items():
        each = [score(outcomes, [kind]) for kind in HARMFUL]
        lines.append(f"| {name} | {' | '.join(f'{100 * one.missed:.1f} %; {hours(one.delay)}' for one in each)} |")
    return "\n".join(lines)


def rows(found: dict[str, list[Outcome]]) -> list[Row]:
    """Return the criteria beside what was measured."""
    ours, seed, peeked = (score(found[name]) for name in (OURS, SEED_RULE, PEEKED))
    half = len(found[OURS]) // 2
    return [
        Row(
            id="S13",
            experiment=f"{half} healthy shadows of 14 days: rolled back",
            criterion="<= 1 %",
            measured=f"{100 * ours.wrong:.1f} % ({100 * ours.waiting:.1f} % still held at the end)",
            seed=f"{100 * seed.wrong:.1f} %",
            t_test=f"{100 * peeked.wrong:.1f} %",
            passed=ours.wrong <= 0.01,
        ),
        Row(
            id="S13",
            experiment=f"{half} harmful ones: promoted",
            criterion="<= 5 %",
            measured=f"{100 * ours.missed:.1f} %",
            seed=f"{100 * seed.missed:.1f} %",
            t_test=f"{100 * peeked.missed:.1f} %",
            passed=ours.missed <= 0.05,
        ),
        Row(
            id="S13",
            experiment="median time until harm is found, all harmful (not counting those rolled back before it began)",
            criterion="< seed rule's",
            measured=f"{hours(ours.delay)} ({hours(ours.delay_else)}; {100 * ours.early:.1f} % before)",
            seed=f"{hours(seed.delay)} ({hours(seed.delay_else)}; {100 * seed.early:.1f} % before)",
            t_test=f"{hours(peeked.delay)} ({hours(peeked.delay_else)}; {100 * peeked.early:.1f} % before)",
            passed=ours.delay < seed.delay,
        ),
    ]


def s13() -> list[Row]:
    return rows(run(200))


def main(argv: list[str]) -> int:
    each = int(argv[0]) if argv else 200
    found = run(each)
    print(table(found))
    if each >= 200:
        curves = {name: [one.delay for one in outcomes if one.kind in HARMFUL] for name, outcomes in found.items()}
        drawn = chart({name: score(outcomes) for name, outcomes in found.items()}, curves)
        Path(__file__).with_name("s13.svg").write_text(drawn, "utf-8")
    return 0 if all(row.passed for row in rows(found)) else 1


EXPERIMENTS = {"S13": s13}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
