"""Specifications: defaults, what is refused, and how the rate changes."""

from dataclasses import asdict
from typing import Any

import pytest

from upm_cli.core.learning import LearnerSpec, create, restore
from upm_cli.core.learning.schedules import rate_at
from upm_cli.errors import IntegrityError, InvalidError


def test_plain_sgd_has_the_rate_of_the_seed_and_others_have_their_own() -> None:
    assert LearnerSpec(optimizer="sgd").rate == 0.001
    assert LearnerSpec().rate == 0.45
    assert LearnerSpec(learning_rate=0.2).rate == 0.2


def test_a_specification_survives_being_stored() -> None:
    spec = LearnerSpec(task="structured", outputs=4, optimizer="sgd", momentum=0.5, schedule="cosine")
    assert LearnerSpec.from_meta(asdict(spec)) == spec


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"optimizer": "rmsprop"}, "optimizer"),
        ({"bits": 40}, "bits"),
        ({"bits": True}, "bits"),
        ({"batch_size": 0}, "batch_size"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"momentum": 1.0}, "momentum"),
        ({"huber_delta": 0}, "huber_delta"),
        ({"task": "binary", "loss": "squared"}, "loss"),
        ({"task": "structured"}, "outputs"),
        ({"task": "binary", "outputs": 2}, "outputs"),
        ({"optimizer": "adagrad", "momentum": 0.9}, "momentum"),
        ({"optimizer": "adagrad", "l1": 0.1}, "l1"),
        ({"optimizer": "ftrl", "weight_decay": 0.1}, "weight_decay"),
        ({"optimizer": "ftrl", "schedule": "cosine"}, "schedule"),
    ],
)
def test_what_can_not_work_is_refused_by_name(values: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidError) as caught:
        LearnerSpec(**values)
    assert [problem["field"] for problem in caught.value.context["problems"]] == [field]


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(InvalidError, match=r"bits.*batch_size.*clip"):
        LearnerSpec(bits=0, batch_size=-1, clip=-2.0)


def test_a_learner_needs_a_decided_task() -> None:
    with pytest.raises(InvalidError, match="auto"):
        create(LearnerSpec())
    assert create(LearnerSpec().resolved("structured", 3)).outputs == 3


def test_a_checkpoint_of_something_else_is_refused() -> None:
    learner = create(LearnerSpec(task="binary", bits=4))
    meta, arrays = learner.meta(), learner.arrays()
    with pytest.raises(IntegrityError):
        restore({**meta, "kind": "forest"}, arrays)
    with pytest.raises(IntegrityError):
        restore({**meta, "format": 99}, arrays)
    with pytest.raises(IntegrityError, match="squares"):
        restore(meta, {name: array for name, array in arrays.items() if name != "squares"})
    with pytest.raises(InvalidError, match="later_idea"):
        restore({**meta, "spec": {**meta["spec"], "later_idea": 1}}, arrays)


def test_schedules_follow_their_formulas() -> None:
    assert rate_at(LearnerSpec(learning_rate=2.0), 10**9) == 2.0
    inverse = LearnerSpec(learning_rate=2.0, schedule="inverse_scaling", schedule_power=0.5)
    assert [rate_at(inverse, t) for t in (0, 3, 99)] == pytest.approx([2.0, 1.0, 0.2])
    cosine = LearnerSpec(learning_rate=2.0, schedule="cosine", schedule_windows=100)
    assert [rate_at(cosine, t) for t in (0, 50, 100, 10**6)] == pytest.approx([2.0, 1.01, 0.02, 0.02])
    warm = LearnerSpec(learning_rate=2.0, warmup_windows=4)
    assert [rate_at(warm, t) for t in range(5)] == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.0])
