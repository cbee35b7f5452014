"""So that a project with very many trainers does not flood Prometheus: the names that are told apart are limited."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from upm_cli.telemetry.metrics.exposition import Sample
from upm_cli.telemetry.metrics.families import Fold
from upm_cli.telemetry.metrics.table import FAMILIES

OTHER: Final = "other"
#: How many values of a label are named. All other labels have a fixed set of values.
CAPS: Final[Mapping[str, int]] = {"trainer": 100, "stream": 100, "worker": 300}


def bound(samples: Iterable[Sample], caps: Mapping[str, int] = CAPS) -> list[Sample]:
    """Return the samples with at most so many values of each label in `caps`; "other" stands for the rest.

    The first names in order are kept, so that series stay the same from one collection to the next. What stands for
    the others is their sum, largest or smallest, as the table says, or nothing.
    """
    bounded = list(samples)
    for label, cap in caps.items():
        values = {sample.labels[label] for sample in bounded if label in sample.labels}
        if len(values) > cap:
            bounded = _fold(bounded, label, set(sorted(values - {OTHER})[: cap - 1]))
    return bounded


def _fold(samples: Sequence[Sample], label: str, kept: set[str]) -> list[Sample]:
    found: dict[object, Sample] = {}
    for sample in samples:
        if label not in sample.labels or sample.labels[label] in kept:
            found[sample.key] = sample
            continue
        fold = FAMILIES[sample.family].fold
        if fold is Fold.DROP:
            continue
        other = replace(sample, labels={**sample.labels, label: OTHER})
        before = found.get(other.key)
        found[other.key] = other if before is None else replace(other, value=_join(fold, before.value, other.value))
    return list(found.values())


def _join(fold: Fold, one: float, two: float) -> float:
    if fold is Fold.SUM:
        return one + two
    return max(one, two) if fold is Fold.MAX else min(one, two)
