"""What an HTTP agent counts, and how Prometheus reads it."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

BUCKETS_S: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5)

Labels = Mapping[str, str]


@dataclass(slots=True)
class Histogram:
    """How long things took, in seconds."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_S) + 1))
    total_s: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS_S, seconds)] += 1
        self.total_s += seconds


@dataclass(slots=True)
class Meter:
    """The counts of one process since its start. Used by the event loop's thread alone."""

    requests: Counter[tuple[str, str, int]] = field(default_factory=Counter)  # method, path as documented, status
    problems: Counter[str] = field(default_factory=Counter)  # by code
    pointers: Counter[str] = field(default_factory=Counter)  # by what became of them
    predictions: Counter[tuple[str, str]] = field(default_factory=Counter)  # by trainer and tenant
    predicting: Histogram = field(default_factory=Histogram)
    answering: Histogram = field(default_factory=Histogram)
    models: int = 0
    model_bytes: int = 0
    outcomes: int = 0


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its samples are (suffix of the name, labels, value)."""

    name: str
    kind: str  # counter | gauge | histogram
    help: str
    samples: Iterable[tuple[str, Labels, float]]


def exposition(families: Iterable[Family]) -> str:
    """Return the metrics in Prometheus' text format, version 0.0.4."""
    return "".join(f"{line}\n" for family in families for line in _lines(family))


def histogram(name: str, help: str, found: Histogram) -> Family:
    """Return the family of a histogram."""
    seen = 0
    samples: list[tuple[str, Labels, float]] = []
    for limit, count in zip((*BUCKETS_S, float("inf")), found.counts, strict=True):
        seen += count
        samples.append(("_bucket", {"le": "+Inf" if limit == float("inf") else f"{limit:g}"}, seen))
    samples += [("_sum", {}, found.total_s), ("_count", {}, seen)]
    return Family(name, "histogram", help, samples)


def single(name: str, kind: str, help: str, value: float) -> Family:
    """Return the family of one number without labels."""
    return Family(name, kind, help, [("", {}, value)])


def _lines(family: Family) -> Iterator[str]:
    yield f"# HELP {family.name} {family.help}"
    yield f"# TYPE {family.name} {family.kind}"
    for suffix, labels, value in family.samples:
        inside = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
        yield f"{family.name}{suffix}{f'{{{inside}}}' if inside else ''} {value:.17g}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
