"""Shares of alpha add up to no more than alpha, however many there will be."""

import math

import numpy as np
import pytest

from upm_cli.core.judging.spending import arrival_shares, candidate_alpha, stage_alpha


def test_candidates_without_promotions_spend_alpha_and_no_more() -> None:
    spent = sum(candidate_alpha(0.05, j, 0) for j in range(1, 100_001))
    assert 0.9999 * 0.05 < spent < 0.05
    assert candidate_alpha(0.05, 1, 0) == pytest.approx(0.05 * 6 / math.pi**2)


def test_a_promotion_earns_the_next_candidates_more() -> None:
    assert candidate_alpha(0.05, 10, 4) == pytest.approx(5 * candidate_alpha(0.05, 10, 0))
    assert candidate_alpha(0.05, 2, 1) == pytest.approx(0.05 * 6 / (4 * math.pi**2) * 2)
    assert all(candidate_alpha(0.05, j, j - 1) <= 0.05 for j in range(1, 50))


@pytest.mark.parametrize(("candidate", "promoted"), [(0, 0), (1, 1), (3, -1), (2, 5)])
def test_a_candidate_that_cannot_be_is_refused(candidate: int, promoted: int) -> None:
    with pytest.raises(ValueError, match="cannot come after"):
        candidate_alpha(0.05, candidate, promoted)


def test_stages_and_all_their_attempts_stay_within_alpha() -> None:
    spent = 8 * sum(stage_alpha(0.03, 8, attempt) for attempt in range(1, 10_001))
    assert 0.99 * 0.03 < spent <= 0.03
    assert stage_alpha(0.03, 8, 1) == pytest.approx(0.9 * 0.03 / 8)
    for stages, attempt in ((0, 1), (1, 0)):
        with pytest.raises(ValueError, match="count from 1"):
            stage_alpha(0.03, stages, attempt)


def test_tenants_share_alpha_by_order_of_appearance() -> None:
    shares = arrival_shares(2**16 - 1)
    assert shares[:4].tolist() == pytest.approx([1 / 2, 1 / 12, 1 / 12, 1 / 48])
    assert shares.sum() == pytest.approx(1 - 1 / 17)  # sixteen doublings: 1 - 1/(k+2) of it is spent
    assert (np.diff(shares) <= 0).all()
    assert arrival_shares(1000).tolist() == shares[:1000].tolist()
    assert arrival_shares(0).size == 0
