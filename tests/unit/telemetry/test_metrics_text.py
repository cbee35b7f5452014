"""The text for Prometheus is read back by another program as what it was made from."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from upm_cli.telemetry.metrics.cardinality import OTHER, bound
from upm_cli.telemetry.metrics.exposition import Histogram, Sample, render
from upm_cli.telemetry.metrics.families import Fold
from upm_cli.telemetry.metrics.table import FAMILIES

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r"), min_size=1, max_size=12)


def parsed(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return what the parser of prometheus_client makes of `text`."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@settings(deadline=None)
@given(st.dictionaries(TEXT, st.floats(allow_nan=False, allow_infinity=False), max_size=5))
def test_names_and_numbers_come_back_as_they_were(lags: dict[str, float]) -> None:
    samples = [Sample("upm_trainer_lag_seconds", value, {"trainer": name}) for name, value in lags.items()]
    assert parsed(render(samples)) == {sample.key: sample.value for sample in samples}


def test_what_would_end_a_line_or_a_label_is_escaped() -> None:
    text = render([Sample("upm_trainer_lag_rows", 3, {"trainer": 'a"b\\c\nd'})])
    assert text.splitlines()[-1] == 'upm_trainer_lag_rows{trainer="a\\"b\\\\c\\nd"} 3'
    assert render([Sample("upm_trainer_lag_rows", 3, {"trainer": "\ud800"})]).endswith('{trainer="?"} 3\n')


def test_each_metric_is_told_once_with_its_help_and_type() -> None:
    lines = render(
        [
            Sample("upm_trainer_lag_rows", 1, {"trainer": "b"}),
            Sample("upm_windows_read_total", 2.0, {"trainer": "a"}),
            Sample("upm_trainer_lag_rows", 0.5, {"trainer": "a"}),
        ],
        {"project": "shop"},
    ).splitlines()
    assert lines == [
        "# HELP upm_windows_read_total Windows read from sources.",
        "# TYPE upm_windows_read_total counter",
        'upm_windows_read_total{trainer="a",project="shop"} 2',
        "# HELP upm_trainer_lag_rows Log rows that the trainer has not learned yet.",
        "# TYPE upm_trainer_lag_rows gauge",
        'upm_trainer_lag_rows{trainer="b",project="shop"} 1',
        'upm_trainer_lag_rows{trainer="a",project="shop"} 0.5',
    ]


@pytest.mark.parametrize(
    ("sample", "why"),
    [
        (Sample("upm_no_such", 1), "no metric upm_no_such"),
        (Sample("upm_training_loss", 1, {"trainer": "a"}), "no metric upm_training_loss$"),
        (Sample("upm_trainer_lag_rows", 1), "has the labels trainer"),
        (Sample("upm_state_generation", 1, {"tenant": "x"}), "has the labels"),
        (Sample("upm_state_generation", math.nan), "is nan"),
        (Sample("upm_state_generation", math.inf), "is inf"),
    ],
)
def test_what_the_table_does_not_know_is_a_bug(sample: Sample, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        render([sample])


def test_the_same_sample_twice_is_a_bug() -> None:
    twice = [Sample("upm_active_version", n, labels) for n, labels in enumerate([{"trainer": "a", "ring": "x"}] * 2)]
    with pytest.raises(ValueError, match="is there twice"):
        render(twice)


def test_a_histogram_counts_up_to_each_bound() -> None:
    histogram = Histogram("upm_metrics_collect_duration_seconds", (0.1, 1.0))
    for seconds in (0.05, 0.1, 0.5, 7):
        histogram.observe(seconds)
    found = parsed(render(histogram.samples()))
    name = "upm_metrics_collect_duration_seconds"
    assert found == {
        (f"{name}_bucket", (("le", "0.1"),)): 2,
        (f"{name}_bucket", (("le", "1"),)): 3,
        (f"{name}_bucket", (("le", "+Inf"),)): 4,
        (f"{name}_sum", ()): pytest.approx(7.65),
        (f"{name}_count", ()): 4,
    }


def lags(names: list[str], family: str) -> list[Sample]:
    return [Sample(family, n + 1, {"trainer": name}) for n, name in enumerate(names)]


def values(samples: list[Sample]) -> dict[str, float]:
    return {sample.labels["trainer"]: sample.value for sample in samples}


def test_as_many_names_as_allowed_are_told_apart() -> None:
    samples = lags(["a", "b", "c"], "upm_trainer_lag_rows")
    assert bound(samples, {"trainer": 3}) == samples


@pytest.mark.parametrize(
    ("family", "rest"),
    [
        ("upm_trainer_lag_rows", 3 + 4 + 2),
        ("upm_trainer_lag_seconds", 4),
        ("upm_drift_threshold", 2),
        ("upm_trainer_epoch", None),
    ],
)
def test_the_rest_is_summed_or_the_worst_or_nothing(family: str, rest: float | None) -> None:
    found = values(bound(lags(["a", "z", "x", "y"], family), {"trainer": 2}))
    assert found == ({"a": 1} if rest is None else {"a": 1, OTHER: rest})


def test_a_trainer_that_is_called_other_belongs_to_the_rest() -> None:
    assert values(bound(lags([OTHER, "a", "b"], "upm_trainer_lag_rows"), {"trainer": 2})) == {"a": 2, OTHER: 1 + 3}


@settings(deadline=None)
@given(st.lists(st.sampled_from("abcdefgh"), unique=True), st.integers(1, 5))
def test_nothing_that_is_counted_gets_lost(names: list[str], cap: int) -> None:
    samples = lags(names, "upm_windows_read_total")
    samples.append(Sample("upm_state_generation", 5))
    found = bound(samples, {"trainer": cap})
    assert sum(sample.value for sample in found) == sum(sample.value for sample in samples)
    assert len({sample.labels.get("trainer", "") for sample in found} - {""}) <= cap
    assert len({sample.key for sample in found}) == len(found)


def test_every_counter_can_be_summed_over_trainers() -> None:
    counters = [family for family in FAMILIES.values() if family.name.endswith("_total")]
    assert len(counters) > 10
    assert {family.fold for family in counters} == {Fold.SUM}
