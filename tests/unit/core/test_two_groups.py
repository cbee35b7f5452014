"""What a hold-out shows: bounds against a slow account of them, verdicts, and how rarely they are wrong."""

import numpy as np
import pytest

from upm_cli.core.judging.eb import EmpiricalBernstein
from upm_cli.core.judging.two_groups import Comparison, TwoGroups
from upm_cli.core.verdict import Verdict
from upm_cli.core.window import F64Array, I64Array, Strings

BLOCK = 20


def groups(alpha: float = 0.01, margin: float = 0.01) -> TwoGroups:
    return TwoGroups(block_size=BLOCK, alpha=alpha, margin=margin)


def rows(n: int, share: float = 0.05, tenants: int = 200) -> tuple[Strings, I64Array, I64Array]:
    """Return the tenants of n windows, and which rows are of the first `share` of them."""
    names = np.arange(n) % tenants
    held = names < share * tenants
    return Strings.of(f"t{name}" for name in names.tolist()), np.flatnonzero(held), np.flatnonzero(~held)


def compared(losses: F64Array, share: float = 0.05, **more: float) -> Comparison:
    found = groups(**more)
    tenants, held, rest = rows(losses.size, share)
    found.advance(losses, tenants, held=held, rest=rest)
    return found.compare()


def test_bounds_are_those_of_both_groups_each_with_a_quarter_of_alpha() -> None:
    chance = np.random.default_rng(3)
    losses = chance.uniform(0, 1, 6000)
    found = compared(losses, alpha=0.04)
    _, held, rest = rows(6000)
    bounds = []
    for group in (rest, held):
        mine = losses[group]
        means = [mine[i : i + BLOCK].mean() for i in range(0, mine.size - BLOCK + 1, BLOCK)]
        slow = EmpiricalBernstein()
        for mean in means:
            slow.update(mean)
        bounds.append((slow.lower(0.01), slow.upper(0.01)))
    assert found.low == pytest.approx(bounds[0][0] - bounds[1][1])
    assert found.high == pytest.approx(bounds[0][1] - bounds[1][0])
    assert found.value == pytest.approx(losses[rest].mean() - losses[held].mean())
    assert (found.rest.n, found.held.n, found.rest.tenants, found.held.tenants) == (5700, 300, 190, 10)


@pytest.mark.parametrize(
    ("rest_loss", "held_loss", "n", "verdict"),
    [(0.3, 0.1, 40_000, "fail"), (0.1, 0.1, 400, "unknown"), (0.1, 0.3, 40_000, "pass"), (0.1, 0.1, 120_000, "pass")],
)
def test_the_anchor_being_better_is_a_fail(rest_loss: float, held_loss: float, n: int, verdict: str) -> None:
    tenants, held, rest = rows(n)
    losses = np.full(n, rest_loss)
    losses[held] = held_loss
    found = groups(margin=0.05)
    found.advance(losses, tenants, held=held, rest=rest)
    assert found.compare().verdict == verdict


def test_however_the_windows_are_cut_the_same_is_found() -> None:
    losses = np.random.default_rng(5).uniform(0, 1, 3000)
    whole = compared(losses)
    cut = groups()
    for start in range(0, 3000, 700):
        part = losses[start : start + 700]
        names = np.arange(start, start + part.size) % 200
        tenants = Strings.of(f"t{name}" for name in names.tolist())
        cut.advance(part, tenants, held=np.flatnonzero(names < 10), rest=np.flatnonzero(names >= 10))
    assert cut.compare() == whole


def test_windows_without_a_loss_are_counted_and_left_out() -> None:
    losses = np.full(400, 0.5)
    losses[::4] = np.nan
    found = groups()
    tenants, held, rest = rows(400)
    found.advance(losses, tenants, held=held, rest=rest)
    assert found.skipped == 100
    assert found.compare().rest.n + found.compare().held.n == 300


def test_a_few_tenants_tell_nothing_of_the_models() -> None:
    losses = np.full(40_000, 0.4)
    tenants = Strings.of(f"t{i % 4}" for i in range(40_000))
    held = np.flatnonzero(np.arange(40_000) % 4 == 0)
    rest = np.flatnonzero(np.arange(40_000) % 4 != 0)
    losses[held] = 0.1
    found = groups()
    found.advance(losses, tenants, held=held, rest=rest)
    assert (found.compare().verdict, found.compare().reason) == (
        Verdict.UNKNOWN,
        "1 held out tenants with outcomes, at least 5 are needed",
    )
    assert found.compare().low > 0.2  # whatever the bounds say


def test_too_few_outcomes_are_unknown_even_where_a_bound_would_do() -> None:
    found = compared(np.zeros(205))
    assert (found.verdict, found.reason) == (Verdict.UNKNOWN, "15 outcomes of held out tenants, at least 20 are needed")


def test_nothing_at_all_is_unknown() -> None:
    found = groups().compare()
    assert (found.verdict, found.value, found.rest.mean, found.low, found.high) == ("unknown", None, None, -1.0, 1.0)


def test_equal_groups_are_hardly_ever_told_apart_however_often_one_looks() -> None:
    wrong = 0
    for seed in range(25):
        chance = np.random.default_rng(seed)
        found = groups(alpha=0.2)
        for _ in range(8):  # looks
            tenants, held, rest = rows(2000)
            found.advance((chance.random(2000) < 0.3).astype(float), tenants, held=held, rest=rest)
            now = found.compare()
            wrong += now.low > 0 or now.high < 0
            if now.low > 0 or now.high < 0:
                break
    assert wrong <= 5  # of 25 streams, at a level of 0.2


@pytest.mark.parametrize("given", [{"alpha": 0.0}, {"alpha": 1.0}, {"margin": 0.0}])
def test_impossible_terms_are_refused(given: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="alpha and margin"):
        groups(**given)
