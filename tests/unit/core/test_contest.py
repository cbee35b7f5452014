"""One challenger against one champion: verdicts, intervals and counts, against a slow account in plain Python."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from upm_cli.core.evidence import POOLED, Contest, EvidencePolicy, Findings
from upm_cli.core.judging.spending import arrival_shares
from upm_cli.core.verdict import Verdict
from upm_cli.core.window import F64Array, Strings

QUICK = EvidencePolicy(
    margin=0.05, harm_margin=0.05, tail_threshold=0.9, clip=0.2, block_size=20, alpha_promote=0.3, stages=2
)


def advance(
    contest: Contest, challenger: F64Array, champion: F64Array, tenant: str | list[str] = "", seq: int | None = None
) -> None:
    first = seq if seq is not None else (-1 if contest.last_seq is None else contest.last_seq) + 1
    names = [tenant] * challenger.size if isinstance(tenant, str) else tenant
    contest.advance(np.arange(first, first + challenger.size), Strings.of(names), challenger, champion)


def run(policy: EvidencePolicy, excess: float, n: int, sd: float = 0.05, seed: int = 0) -> Contest:
    rng = np.random.default_rng(seed)
    champion = 0.3 + sd * rng.standard_normal(n)
    contest = Contest(policy)
    advance(contest, champion + excess + sd * rng.standard_normal(n), champion)
    return contest


class Slow:
    """The same account with one window at a time, lists and plain products."""

    def __init__(self, policy: EvidencePolicy) -> None:
        self.policy = policy
        self.differences: list[float] = []
        self.tails: list[int] = []
        self.by_tenant: dict[str, list[float]] = {}

    def take(self, tenant: str, challenger: float, champion: float) -> None:
        self.differences.append(challenger - champion)
        limit = self.policy.tail_threshold
        self.tails.append(int(challenger >= limit) - int(champion >= limit))
        if tenant:
            self.by_tenant.setdefault(tenant, []).append(challenger - champion)

    def scaled(self, values: list[float], size: int) -> list[float]:
        clip = self.policy.clip
        full = [values[at : at + size] for at in range(0, len(values) - size + 1, size)]
        return [(min(clip, max(-clip, sum(block) / size)) + clip) / (2 * clip) for block in full]

    def log_e_max(self, y: list[float], margin: float) -> float:
        m = (margin + self.policy.clip) / (2 * self.policy.clip)
        grid = [0.006 * (0.9 / m / 0.006) ** (k / 23) for k in range(24)]
        wealth, best = [0.5] * 24, 1.0
        for t, value in enumerate(y, 1):
            added = (1 / math.log2(t + 1) - 1 / math.log2(t + 2)) / 2
            wealth = [(w + added) * (1 + bet * (value - m)) for w, bet in zip(wealth, grid, strict=True)]
            best = max(best, sum(wealth) / 24)
        return math.log(best)

    def log_e_promote(self, y: list[float]) -> float:
        grid = [0.003 * 300 ** (k / 23) for k in range(24)]
        total = variance = 0.0
        for t, value in enumerate(y):
            x = 2 * value - 1
            variance += (x - max(0.0, total / (t + 1))) ** 2
            total += x
        excess = len(y) * self.policy.margin / self.policy.clip - total
        return math.log(sum(math.exp(bet * excess + (math.log(1 - bet) + bet) * variance) for bet in grid) / 24)


def test_findings_equal_a_slow_account() -> None:
    rng = np.random.default_rng(1)
    n = 1501
    tenants = [("", "acme", "beta", "crab")[k] for k in rng.integers(0, 4, n)]
    champion = rng.random(n) * 0.6
    challenger = np.clip(champion + 0.03 + 0.3 * rng.standard_normal(n), 0, 1)
    contest, slow = Contest(QUICK), Slow(QUICK)
    advance(contest, challenger, champion, tenants)
    for tenant, a, b in zip(tenants, challenger.tolist(), champion.tolist(), strict=True):
        slow.take(tenant, a, b)
    found = contest.findings()
    y, tail_y = slow.scaled(slow.differences, 20), slow.scaled([float(t) for t in slow.tails], 20)
    assert found.harm.log_e == pytest.approx(slow.log_e_max(y, 0.05), abs=1e-9)
    assert found.tail.log_e == pytest.approx(slow.log_e_max(tail_y, 0.01), abs=1e-9)
    assert found.promote.log_e == pytest.approx(slow.log_e_promote(y), abs=1e-9)
    assert found.promote.value == pytest.approx(0.4 * sum(y) / len(y) - 0.2)
    assert (found.windows, found.blocks, found.promote.n) == (n, 75, 1500)
    assert found.mean == pytest.approx(sum(slow.differences) / n)
    assert found.clipped == sum(abs(sum(slow.differences[at : at + 20]) / 20) > 0.2 for at in range(0, 1500, 20))
    means = {name: sum(values) / len(values) for name, values in slow.by_tenant.items()}
    assert found.tenant_mean == pytest.approx(sum(means.values()) / 3)
    assert {each.tenant: each.n for each in found.tenants} == {k: len(v) for k, v in slow.by_tenant.items()}
    for each in found.tenants:
        values = slow.by_tenant[each.tenant]
        assert each.mean == pytest.approx(means[each.tenant])
        assert each.log_e == pytest.approx(slow.log_e_max(slow.scaled(values, 20), 0.05), abs=1e-9)
        share = arrival_shares(3)[list(slow.by_tenant).index(each.tenant)]
        assert each.log_e_threshold == pytest.approx(math.log(3 / (0.01 * share)))


def test_nothing_seen_is_unknown_and_says_the_least_it_takes() -> None:
    found = Contest(QUICK).findings()
    assert found.verdict is Verdict.UNKNOWN
    assert (found.harm.verdict, found.tail.verdict, found.promote.verdict) == (Verdict.UNKNOWN,) * 3
    assert (found.harm.low, found.harm.high, found.harm.value, found.mean, found.first_seq) == (None,) * 5
    assert found.promote.needed is not None
    equal = Contest(QUICK)
    advance(equal, np.full(found.promote.needed, 0.2), np.full(found.promote.needed, 0.2))
    assert equal.findings().verdict is Verdict.PASS
    short = Contest(QUICK)
    advance(short, np.full(found.promote.needed - 20, 0.2), np.full(found.promote.needed - 20, 0.2))
    assert short.findings().verdict is Verdict.UNKNOWN


def test_a_better_challenger_passes_and_a_worse_one_fails() -> None:
    better, worse = run(QUICK, -0.05, 1500).findings(), run(QUICK, 0.15, 1500).findings()
    assert better.verdict is Verdict.PASS
    assert better.reasons == ()
    assert better.promote.high is not None
    assert better.promote.high < QUICK.margin
    assert worse.verdict is Verdict.FAIL
    assert worse.reasons == ("mean loss is worse by more than 0.05",)
    assert worse.harm.low is not None
    assert worse.harm.low > QUICK.harm_margin
    assert worse.promote.needed is None


def test_a_promote_bound_below_the_margin_is_the_same_as_a_pass() -> None:
    for n in range(300, 1500, 20):
        measure = run(QUICK, 0.0, n).findings().promote
        assert measure.high is not None
        assert (measure.high < QUICK.margin) == (measure.verdict is Verdict.PASS)


def test_needed_windows_are_about_what_it_takes() -> None:
    early = run(QUICK, 0.0, 300).findings().promote
    assert early.needed is not None
    total = next(n for n in range(320, 10_000, 20) if run(QUICK, 0.0, n).findings().verdict is Verdict.PASS)
    assert 0.6 * total < 300 + early.needed < 1.6 * total


def test_harm_once_shown_stays_though_the_challenger_recovers() -> None:
    contest = run(QUICK, 0.15, 1500)
    advance(contest, np.full(20_000, 0.1), np.full(20_000, 0.3))
    found = contest.findings()
    assert found.mean is not None
    assert found.mean < 0
    assert found.promote.verdict is Verdict.PASS
    assert found.verdict is Verdict.FAIL


def test_bad_misses_alone_are_harm() -> None:
    n = 6000
    champion = np.full(n, 0.45)
    challenger = np.where(np.arange(n) % 10 == 0, 0.6, 0.43)  # mean 0.447: better on average
    contest = Contest(replace(QUICK, tail_threshold=0.5))
    advance(contest, challenger, champion)
    found = contest.findings()
    assert found.mean is not None
    assert found.mean < 0
    assert found.harm.verdict is Verdict.PASS
    assert found.verdict is found.tail.verdict is Verdict.FAIL
    assert found.reasons == ("share of bad misses is worse by more than 0.01",)
    assert found.tail.value == pytest.approx(0.1)


def fleet(harmed: int, tenants: int = 8, n: int = 16_000, policy: EvidencePolicy = QUICK) -> Contest:
    rng = np.random.default_rng(2)
    who = rng.integers(0, tenants, n)
    champion = np.full(n, 0.3)
    challenger = champion + np.where(who < harmed, 0.18, -0.05) + 0.02 * rng.standard_normal(n)
    contest = Contest(policy)
    advance(contest, challenger, champion, [f"t{k}" for k in who])
    return contest


def test_one_harmed_tenant_is_named_and_does_not_fail_the_rest() -> None:
    found = fleet(1).findings()
    assert found.harmed == ("t0",)
    assert found.tenants[0].tenant == "t0"
    assert found.tenants[0].verdict is Verdict.FAIL
    assert {each.verdict for each in found.tenants[1:]} == {Verdict.UNKNOWN}
    assert found.verdict is Verdict.PASS


def test_a_majority_of_harmed_tenants_fails_for_all() -> None:
    strict = replace(QUICK, harm_margin=0.11)  # the mean of all is worse by 0.094
    found = fleet(5, policy=strict).findings()
    assert set(found.harmed) == {f"t{k}" for k in range(5)}
    assert found.harm.verdict is not Verdict.FAIL
    assert found.verdict is Verdict.FAIL
    assert "5 of 8 tenants are harmed" in found.reasons
    assert fleet(5, policy=replace(strict, harmed_share=0.7)).findings().verdict is not Verdict.FAIL


def test_tenants_past_the_limit_share_one_account_and_their_harm_fails_for_all() -> None:
    policy = replace(QUICK, max_tenants=2, harm_margin=0.1)
    contest = Contest(policy)
    for name, loss in (("a", 0.25), ("b", 0.25), ("c", 0.25), ("d", 0.5)):
        advance(contest, np.full(200, loss), np.full(200, 0.3), name)
    contest = Contest.load(*contest.dump())
    for name in ("d", "a", "e"):
        advance(contest, np.full(800, 0.5 if name != "a" else 0.25), np.full(800, 0.3), name)
    found = contest.findings()
    assert found.tenants_seen == 2
    assert found.pooled_windows == 2000
    assert found.harmed == (POOLED,)
    assert found.verdict is Verdict.FAIL
    assert "can't be told apart" in found.reasons[-1]
    assert found.tenant_mean == pytest.approx(-0.05)


def test_only_the_worst_tenants_are_listed_but_every_harmed_one() -> None:
    few = fleet(2, policy=replace(QUICK, report_tenants=1)).findings()
    assert [each.tenant for each in few.tenants] == list(few.harmed)
    assert set(few.harmed) == {"t0", "t1"}
    assert len(fleet(0, policy=replace(QUICK, report_tenants=3)).findings().tenants) == 3


def test_windows_without_a_loss_are_counted_and_a_silent_challenger_never_passes() -> None:
    n = 2000
    champion, challenger = np.full(n, 0.3), np.full(n, 0.2)
    challenger[:100] = math.nan
    champion[50:60] = math.inf
    contest = Contest(QUICK)
    advance(contest, challenger, champion)
    found = contest.findings()
    assert (found.windows, found.skipped, found.missing) == (1900, 100, 90)
    assert found.promote.verdict is Verdict.PASS
    assert found.verdict is Verdict.UNKNOWN
    assert found.reasons == ("the challenger has no loss on 90 of 1990 windows",)
    contest.restart_promote(1)
    advance(contest, np.full(n, 0.2), np.full(n, 0.3))
    assert contest.findings().verdict is Verdict.PASS


def test_a_pass_of_cut_blocks_is_not_enough_when_the_plain_mean_is_over_the_margin() -> None:
    policy = replace(QUICK, harm_margin=0.19, tail_threshold=1.0)
    n = 4000
    challenger = np.where(np.arange(n) // 20 % 10 == 0, 0.95, 0.19)  # a tenth of the blocks 0.75 worse
    contest = Contest(policy)
    advance(contest, challenger, np.full(n, 0.2))
    found = contest.findings()
    assert found.mean == pytest.approx(0.066)
    assert found.promote.verdict is Verdict.PASS
    assert found.clipped == 20
    assert found.verdict is Verdict.UNKNOWN
    assert found.reasons == ("mean loss before cutting blocks to 0.2 is worse by 0.05 or more",)


def test_losses_past_one_count_as_one() -> None:
    plain, past = Contest(QUICK), Contest(QUICK)
    advance(plain, np.full(40, 1.0), np.full(40, 0.0))
    advance(past, np.full(40, 7.0), np.full(40, -2.0))
    assert past.findings() == plain.findings()


def test_a_new_stage_asks_for_fresh_evidence_while_harm_goes_on() -> None:
    contest = run(QUICK, 0.0, 1510)
    before = contest.findings()
    assert (before.verdict, before.stage, before.attempt) == (Verdict.PASS, 0, 1)
    contest.restart_promote(1)
    after = contest.findings()
    assert (after.verdict, after.stage, after.attempt) == (Verdict.UNKNOWN, 1, 1)
    assert (after.fresh_windows, after.fresh_blocks, after.windows) == (0, 0, 1510)
    assert (after.harm, after.tail, after.tenants) == (before.harm, before.tail, before.tenants)
    advance(contest, np.full(30, 0.2), np.full(30, 0.2))
    assert contest.findings().fresh_blocks == 1
    assert contest.findings().blocks == 77


def test_each_attempt_at_a_stage_needs_more_evidence() -> None:
    contest = Contest(QUICK)
    needs = [contest.findings().promote.log_e_threshold]
    for _ in range(3):
        contest.restart_promote(0)
        needs.append(contest.findings().promote.log_e_threshold)
    assert contest.findings().attempt == 4
    spent = sum(math.exp(-need) for need in needs)
    assert needs == sorted(needs)
    assert spent < QUICK.alpha_candidate / QUICK.stages
    with pytest.raises(ValueError, match=r"stage must lie in 0\.\.1"):
        contest.restart_promote(2)


def test_later_candidates_need_more_evidence_and_promotions_earn_some_back() -> None:
    needs = [
        Contest(replace(QUICK, candidate=j, promoted=r)).findings().promote.log_e_threshold
        for j, r in ((1, 0), (10, 0), (10, 5))
    ]
    assert needs[0] < needs[2] < needs[1]
    assert needs[1] - needs[0] == pytest.approx(math.log(100))


def test_a_window_is_taken_once_and_in_order() -> None:
    contest = Contest(QUICK)
    advance(contest, np.full(5, 0.1), np.full(5, 0.1), seq=10)
    state = contest.dump()[1]
    for first in (14, 3):
        with pytest.raises(ValueError, match="once and in log order"):
            advance(contest, np.full(2, 0.1), np.full(2, 0.1), seq=first)
    with pytest.raises(ValueError, match="once and in log order"):
        contest.advance(np.array([20, 20]), Strings.empty(2), np.zeros(2), np.zeros(2))
    with pytest.raises(ValueError, match="differ in length: 1, 2, 1, 1"):
        contest.advance(np.array([20]), Strings.empty(2), np.zeros(1), np.zeros(1))
    assert contest.dump()[1] == state
    assert (contest.first_seq, contest.last_seq) == (10, 14)


def test_findings_survive_json() -> None:
    for found in (Contest(QUICK).findings(), fleet(1).findings(), run(QUICK, 0.15, 1500).findings()):
        assert Findings.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False))) == found


def test_a_state_of_another_format_is_refused() -> None:
    arrays, meta = Contest(QUICK).dump()
    with pytest.raises(ValueError, match="format 99, this version reads 1"):
        Contest.load(arrays, meta | {"format": 99})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("margin", -0.01),
        ("margin", 0.1),
        ("harm_margin", math.nan),
        ("tail_margin", -0.1),
        ("tail_threshold", 0.0),
        ("clip", 1.5),
        ("alpha_harm", 0.0),
        ("alpha_promote", 0.6),
        ("stages", 0),
        ("block_size", 19),
        ("tenant_block_size", 1),
        ("max_tenants", 0),
        ("harmed_share", 1.1),
        ("max_missing", -0.1),
        ("report_tenants", -1),
        ("candidate", 0),
        ("promoted", 1),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(ValueError, match="candidate" if field == "promoted" else field.replace("_", "[_ ]")):
        EvidencePolicy(**{field: value})
