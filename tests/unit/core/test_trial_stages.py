"""A stage counts windows that were logged after it began, also while older ones wait for their labels."""

import numpy as np

from upm_cli.core.evidence import EvidencePolicy
from upm_cli.core.judging.coverage import COHORT_MS
from upm_cli.core.judging.matches import Match
from upm_cli.core.judging.ruling import Rules, rule
from upm_cli.core.judging.trial import Rows, Trial
from upm_cli.core.verdict import Verdict
from upm_cli.core.window import Strings

H = COHORT_MS
MINUTE = 60_000


def new_trial() -> Trial:
    match = Match(kind="candidate", challenger=2, champion=1)
    return Trial(match, EvidencePolicy(block_size=20), from_seq=0, floor_ms=None)


def feed(trial: Trial, start: int, stop: int, *, gain: float = 0.2, horizon_ms: int = H) -> None:
    """Windows a minute apart, all with labels; the challenger's loss is smaller by `gain`."""
    n = stop - start
    seq, every = np.arange(start, stop), np.ones(n, np.bool_)
    rows = Rows(seq, seq * MINUTE, every, every, Strings.empty(n))
    trial.advance(rows, np.full(n, 0.5 - gain), np.full(n, 0.5), every, horizon_ms, (stop - 1) * MINUTE)


def test_windows_that_wait_when_a_stage_begins_belong_to_the_stage_before() -> None:
    trial = new_trial()
    feed(trial, 0, 300)
    assert (trial.contest.windows, trial.waiting) == (180, 120)
    trial.begin_stage(1, 300, 299 * MINUTE)
    assert (trial.stage, trial.contest.stage) == (1, 0)
    assert rule(trial, Rules(label_horizon_ms=H)).verdict is Verdict.UNKNOWN
    feed(trial, 300, 361)  # the hour before the stage is old enough now, none of its own is
    assert (trial.contest.windows, trial.contest.stage) == (300, 1)
    assert (trial.contest.fresh_windows, trial.fresh_first_seq) == (0, None)
    feed(trial, 361, 700)
    found = rule(trial, Rules(label_horizon_ms=H)).to_json()
    assert (found["stage"], found["fresh_first_seq"], found["attempt"]) == (1, 300, 1)
    assert found["fresh_windows"] == trial.contest.windows - 300 == 300
    assert found["labels"]["windows"] == 300  # those that began after the stage did


def test_one_read_across_a_stage_gives_the_same_as_many() -> None:
    one, many = new_trial(), new_trial()
    for trial in (one, many):
        feed(trial, 0, 290)
        trial.begin_stage(1, 290, 289 * MINUTE)
    feed(one, 290, 900)
    for start in range(290, 900, 10):
        feed(many, start, start + 10)
    assert many.dump()[1] == one.dump()[1]


def test_without_a_horizon_a_stage_begins_at_once() -> None:
    trial = new_trial()
    feed(trial, 0, 100, horizon_ms=0)
    trial.begin_stage(3, 100, 99 * MINUTE)
    assert (trial.contest.stage, trial.contest.fresh_windows, trial.contest.windows) == (3, 0, 100)


def test_a_stage_passes_on_its_own_windows_only() -> None:
    trial = new_trial()
    feed(trial, 0, 3000, horizon_ms=0)
    assert rule(trial, Rules()).verdict is Verdict.PASS
    trial.begin_stage(1, 3000, 2999 * MINUTE)
    assert rule(trial, Rules()).verdict is Verdict.UNKNOWN
    feed(trial, 3000, 6000, horizon_ms=0)
    assert rule(trial, Rules()).verdict is Verdict.PASS


def test_a_tenant_that_is_held_back_counts_no_more() -> None:
    n = 4000
    seq, every = np.arange(n), np.ones(n, np.bool_)
    rows = Rows(seq, seq * MINUTE, every, every, Strings.of(["bad" if at % 10 == 0 else "fine" for at in range(n)]))
    champion = np.full(n, 0.5)
    challenger = np.where(seq % 10 == 0, 1.0, 0.48)

    def judged(held: frozenset[str]) -> dict[str, object]:
        trial = new_trial()
        trial.held = held
        trial.advance(rows, challenger, champion, every, 0, n * MINUTE)
        return rule(trial, Rules()).to_json()

    assert judged(frozenset())["verdict"] == "fail", "what one tenant in ten suffers outweighs what the others gain"
    without = judged(frozenset({"bad"}))
    assert (without["verdict"], without["windows"], without["harmed"]) == ("pass", 3600, [])
    assert without["labels"] == {"windows": 3600, "labelled": 3600, "share": 1.0, "needed": 0.95, "young": 0}
