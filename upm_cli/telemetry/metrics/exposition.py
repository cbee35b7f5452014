"""Samples and their text form for Prometheus (text format 0.0.4)."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from upm_cli.telemetry.metrics.families import Kind
from upm_cli.telemetry.metrics.table import FAMILIES

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SUFFIXES = {
    Kind.GAUGE: ("",),
    Kind.COUNTER: ("",),
    Kind.SUMMARY: ("_sum", "_count"),
    Kind.HISTOGRAM: ("_bucket", "_sum", "_count"),
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One number. `suffix` names the part of a summary or histogram (`_sum`, `_count`, `_bucket`)."""

    family: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    suffix: str = ""

    @property
    def name(self) -> str:
        return self.family + self.suffix

    @property
    def key(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        """What makes it another sample than any other."""
        return self.name, tuple(sorted(self.labels.items()))


class Histogram:
    """Counts of observations up to each bound, for a family without labels."""

    def __init__(self, family: str, bounds: Sequence[float]) -> None:
        self._family, self._bounds = family, bounds
        self._counts, self._sum, self._count = [0] * len(bounds), 0.0, 0

    def observe(self, value: float) -> None:
        self._counts = [count + (value <= most) for count, most in zip(self._counts, self._bounds, strict=True)]
        self._sum, self._count = self._sum + value, self._count + 1

    def samples(self) -> Iterator[Sample]:
        for most, count in zip(self._bounds, self._counts, strict=True):
            yield Sample(self._family, count, {"le": f"{most:g}"}, "_bucket")
        yield Sample(self._family, self._count, {"le": "+Inf"}, "_bucket")
        yield Sample(self._family, self._sum, {}, "_sum")
        yield Sample(self._family, self._count, {}, "_count")


def render(samples: Iterable[Sample], constant: Mapping[str, str] | None = None) -> str:
    """Return the samples as text, in the order of the table; `constant` labels are put on every one.

    Raises ValueError for a sample that is not as the table says, for one that is there twice and for one that is not
    finite: what is not known has to be left out.
    """
    by_family: dict[str, list[Sample]] = {}
    seen = set()
    for sample in samples:
        _check(sample)
        if sample.key in seen:
            raise ValueError(f"{sample.name}{_labels(sample.labels)} is there twice")
        seen.add(sample.key)
        by_family.setdefault(sample.family, []).append(sample)
    return "".join(line + "\n" for name in FAMILIES for line in _family(name, by_family.get(name, []), constant or {}))


def _family(name: str, samples: Sequence[Sample], constant: Mapping[str, str]) -> Iterator[str]:
    if not samples:
        return
    family = FAMILIES[name]
    yield f"# HELP {name} {_escape(family.doc)}"
    yield f"# TYPE {name} {family.kind}"
    for sample in samples:
        yield f"{sample.name}{_labels({**sample.labels, **constant})} {_number(sample.value)}"


def _check(sample: Sample) -> None:
    family = FAMILIES.get(sample.family)
    if family is None or sample.suffix not in _SUFFIXES[family.kind]:
        raise ValueError(f"no metric {sample.name}")
    extra = ("le",) if sample.suffix == "_bucket" else ()
    if set(sample.labels) != {*family.labels, *extra}:
        raise ValueError(f"{sample.name} has the labels {', '.join(family.labels)}, got {', '.join(sample.labels)}")
    if not math.isfinite(sample.value):
        raise ValueError(f"{sample.name}{_labels(sample.labels)} is {sample.value}")


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escape(value, quotes=True)}"' for name, value in labels.items()) + "}"


def _escape(text: str, *, quotes: bool = False) -> str:
    """Escape what would end a line or a label; what is no text in UTF-8 is replaced."""
    text = text.encode(errors="replace").decode().replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quotes else text


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() and abs(value) < 2**53 else repr(float(value))
