"""Stages as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upm_cli.core.records import Ring
from upm_cli.core.rollouts.policy import Stage
from upm_cli.core.rollouts.stage_text import parse_stage, stage_text

STAGES = st.builds(
    Stage,
    ring=st.sampled_from([Ring.CANARY, Ring.GLOBAL]),
    percent=st.integers(0, 100),
    hold_ms=st.integers(0, 10**9).map(lambda ms: ms * 1000),
)


@given(STAGES)
def test_a_stage_is_read_back_from_its_own_words(stage: Stage) -> None:
    assert parse_stage(stage_text(stage)) == stage


@pytest.mark.parametrize(
    ("text", "stage"),
    [
        ("shadow", Stage(ring=Ring.SHADOW, percent=0, hold_ms=0)),
        ("shadow for 2h", Stage(ring=Ring.SHADOW, percent=0, hold_ms=7_200_000)),
        ("Canary  5 % for 1.5h", Stage(ring=Ring.CANARY, percent=5, hold_ms=5_400_000)),
        ("global 100%", Stage(ring=Ring.GLOBAL, percent=100, hold_ms=0)),
        ("canary 25% for 2d", Stage(ring=Ring.CANARY, percent=25, hold_ms=172_800_000)),
    ],
)
def test_people_may_write_it_as_they_like(text: str, stage: Stage) -> None:
    assert parse_stage(text) == stage


@pytest.mark.parametrize("text", ["", "beta 5%", "canary", "canary 5", "shadow 5%", "canary 5% for 2w", "canary -1%"])
def test_what_is_no_stage_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"write shadow, canary 5% for 24h"):
        parse_stage(text)
