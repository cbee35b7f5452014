from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from upm_cli.core.rollouts.exposure import Exposure, admit, bucket, exposed

TENANTS = st.frozensets(st.text(max_size=8), max_size=30)
PERCENTS = st.lists(st.integers(0, 100), min_size=1, max_size=6).map(sorted)


@given(TENANTS, PERCENTS, st.text(max_size=20))
def test_a_larger_share_has_everybody_a_smaller_one_has(tenants: frozenset[str], shares: list[int], salt: str) -> None:
    before: frozenset[str] = frozenset()
    for share in shares:
        now = exposed(tenants, Exposure(salt=salt, percent=share))
        assert before <= now
        before = now
    assert exposed(tenants, Exposure(salt=salt, percent=100)) == tenants


@given(st.lists(st.tuples(TENANTS, st.integers(0, 100), TENANTS), min_size=1, max_size=6), st.integers(0, 10), TENANTS)
def test_nobody_leaves_while_a_rollout_grows_but_who_is_held_back(
    looks: list[tuple[frozenset[str], int, frozenset[str]]], min_tenants: int, deny: frozenset[str]
) -> None:
    exposure = Exposure(salt="r1", percent=0, min_tenants=min_tenants, deny=deny)
    known: frozenset[str] = frozenset()
    before: frozenset[str] = frozenset()
    for tenants, percent, harmed in looks:
        known |= tenants  # tenants join late
        exposure = replace(exposure, percent=max(percent, exposure.percent), held=exposure.held | harmed)
        exposure = replace(exposure, admitted=exposure.admitted | admit(known, exposure))
        now = exposed(known, exposure)
        assert before - exposure.held <= now
        assert not now & (deny | exposure.held)
        if exposure.percent:
            assert len(now) >= min(min_tenants, len(known - deny - exposure.held))
        before = now


@given(TENANTS, st.integers(1, 100), st.integers(0, 10))
def test_who_is_let_in_early_has_the_lowest_places(tenants: frozenset[str], percent: int, min_tenants: int) -> None:
    exposure = Exposure(salt="r1", percent=percent, min_tenants=min_tenants)
    inside = exposed(tenants, exposure) | admit(tenants, exposure)
    places = {name: bucket(name, "r1") for name in tenants}
    by_place = sorted(tenants, key=lambda name: (places[name], name))
    below = sum(place < percent / 100 for place in places.values())
    assert inside == set(by_place[: max(min_tenants, below)])
