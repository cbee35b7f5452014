"""Why records were refused, told briefly: equal reasons together, the most common first, each with examples."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from upm_cli.core.lookalikes import in_words, lookalikes

SHOWN_REASONS: Final = 5
SHOWN_EXAMPLES: Final = 3
_MOST_GROUPS: Final = 100  # distinct reasons that are told apart
_REST: Final = "other reasons"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a refused record looks like: its fields, or what to do about something that has none."""

    names: tuple[str, ...] = ()
    advice: str = ""


@dataclass(slots=True)
class _Group:
    reason: str
    hint: str = ""
    examples: list[dict[str, Any]] = field(default_factory=list)
    meant: dict[str, str] = field(default_factory=dict)


class Tally:
    """Counts refused records by reason. Reasons that differ in numbers only are one; the first stands for them."""

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}
        self._counts: Counter[str] = Counter()
        self._advice = ""  # on the very first record: the beginning of a file tells most of what it is

    @property
    def count(self) -> int:
        return self._counts.total()

    def add(self, reason: str, source: str, offset: int, look: Callable[[], Look], *, is_window: bool = True) -> None:
        """Count one record that begins at `offset` of `source`.

        `look` is a look at it, taken once a reason, and only at what should be a window.
        """
        key = re.sub(r"\d+", "#", reason)
        if key not in self._groups and len(self._groups) >= _MOST_GROUPS:
            key = reason = _REST
        group = self._groups.setdefault(key, _Group(reason))
        if not group.examples and is_window:
            seen = look()
            group.meant = lookalikes(seen.names)
            group.hint = in_words(group.meant) or seen.advice
            self._advice = self._advice or ("" if self._counts else seen.advice)
        if len(group.examples) < SHOWN_EXAMPLES:
            group.examples.append({"source": source, "offset": offset})
        self._counts[key] += 1

    def reasons(self, most: int = SHOWN_REASONS) -> list[dict[str, Any]]:
        """Return the most common reasons: `{reason, count, examples: [{source, offset}], meant, hint}`.

        `meant` are fields of the first example that look like required ones: its name → the required one. `hint` says
        that in words, or what else to do.
        """
        return [
            {
                "reason": group.reason,
                "count": count,
                "examples": list(group.examples),
                "meant": dict(group.meant),
                "hint": group.hint or self._advice,
            }
            for key, count in self._counts.most_common(most)
            for group in (self._groups[key],)
        ]
