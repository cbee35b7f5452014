"""What `evidence.block_size` and `evidence.clip` cost and buy.

    python -m benchmarks.judging.blocks

Wrong verdicts at the boundary when windows remember the one before by .9 (alpha .05), and the windows one stage takes
for an equal challenger, by the standard deviation of one window's loss difference. Prints a Markdown table.
"""

import numpy as np

from benchmarks.judging import false_alarms, streams
from benchmarks.judging.table import each
from upm_cli.core.evidence import EvidencePolicy
from upm_cli.core.judging.eb import rows_until

SPREADS = (0.03, 0.08, 0.2, 0.4)


def windows(policy: EvidencePolicy, sd: float) -> float:
    """Return how many windows one stage takes, about."""
    spread = sd / np.sqrt(policy.block_size) / policy.clip
    blocks = rows_until(policy.margin / policy.clip, spread**2, np.log(1 / policy.alpha_stage(1)))
    return float((blocks or 0) * policy.block_size)


def main() -> None:
    rng = np.random.default_rng(20)
    print(
        "| windows a block | cut at | harm, promote wrong: sd .08 | sd .3 | windows a stage, sd .03 / .08 / .2 / .4 |"
    )
    print("|---|---|---|---|---|")
    for size in (20, 50, 100):
        means = {
            sd: streams.autoregressive_blocks(rng, 0.9, 1000, false_alarms.LENGTH, size, sd=sd) for sd in (0.08, 0.3)
        }
        for clip in (0.5, 0.2, 0.1, 0.05):
            policy = EvidencePolicy(block_size=size, clip=clip)
            wrong = []
            for blocks in means.values():
                cut = np.clip(blocks, false_alarms.MARGIN - clip, clip - false_alarms.MARGIN)
                harm, promote, _ = false_alarms.both(false_alarms.MARGIN + cut, false_alarms.MARGIN, clip)
                wrong.append(each([(harm > 0).mean(), (promote > 0).mean()], "{:.3f}"))
            takes = each([windows(policy, sd) for sd in SPREADS], "{:.0f}")
            print(f"| {size} | {clip:g} | {wrong[0]} | {wrong[1]} | {takes} |", flush=True)


if __name__ == "__main__":
    main()
