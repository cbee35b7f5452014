"""Labels whose window has not come yet: kept for a while, and handed out when it does."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from upm_cli.core.feedback.lines import Label
from upm_cli.core.window import LabelKind


@dataclass(frozen=True, slots=True)
class ParkedLabel:
    """The label of one window, and the version that was asked about it; `acted`: whether that had an influence."""

    window_id: str
    label: Label
    version: int
    acted: bool


class Parked:
    """At most `limit` labels by the id of their window; the one that has waited longest gives way.

    Of two for one window the first stays. Times are those of the join, in Unix milliseconds.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._labels: dict[str, tuple[ParkedLabel, int]] = {}

    def __len__(self) -> int:
        return len(self._labels)

    def add(self, label: ParkedLabel, until_ms: int) -> int:
        """Keep `label` until `until_ms`; return how many labels are lost by that: it, or the oldest."""
        if label.window_id in self._labels:
            return 1
        self._labels[label.window_id] = label, until_ms
        if len(self._labels) <= self.limit:
            return 0
        del self._labels[next(iter(self._labels))]
        return 1

    def take(self, window_ids: Iterable[str]) -> list[ParkedLabel]:
        """Hand out the labels of these windows, in their order."""
        return [self._labels.pop(key)[0] for key in dict.fromkeys(window_ids) if key in self._labels]

    def expire(self, now_ms: int) -> int:
        """Let go of the labels that have waited long enough; return how many."""
        count = 0
        while self._labels and next(iter(self._labels.values()))[1] < now_ms:
            del self._labels[next(iter(self._labels))]
            count += 1
        return count

    @property
    def window_ids(self) -> list[str]:
        """The windows whose labels are kept, the longest wait first."""
        return list(self._labels)

    def to_plain(self) -> list[list[Any]]:
        return [
            [
                each.window_id,
                int(each.label.kind),
                each.label.plain_value,
                each.label.text,
                each.version,
                each.acted,
                until,
            ]
            for each, until in self._labels.values()
        ]

    @classmethod
    def from_plain(cls, limit: int, plain: Iterable[Sequence[Any]]) -> Self:
        self = cls(limit)
        for window_id, kind, value, text, version, acted, until in plain:
            label = Label(LabelKind(kind), float("nan") if value is None else value, text)
            self._labels[window_id] = ParkedLabel(window_id, label, version, acted), until
        return self
