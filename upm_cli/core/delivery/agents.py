"""Counting the agents that share one place, by what each wrote about itself."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from upm_cli.core.delivery.memo import Agents

SILENT_MS: Final = 300_000  # agents write once a minute: whoever has not for so long is gone, or can't
FORGOTTEN_MS: Final = 7 * 86_400_000  # an agent that was switched off for good leaves its last word behind


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """Which model one agent said it serves, and when it said so."""

    digest: str
    at_ms: int


def standing(word: Word, digest: str | None, now_ms: int) -> str | None:
    """Return how an agent stands that should serve `digest`: on, behind or stale; None: it does not count any more."""
    silent_ms = now_ms - word.at_ms
    if silent_ms >= FORGOTTEN_MS:
        return None
    if silent_ms >= SILENT_MS:
        return "stale"
    return "on" if word.digest == digest else "behind"


def count(words: Iterable[Word], digest: str | None, now_ms: int) -> Agents | None:
    """Return how many agents stand how; None when there are none."""
    found = [said for word in words if (said := standing(word, digest, now_ms)) is not None]
    if not found:
        return None
    return Agents(on=found.count("on"), behind=found.count("behind"), stale=found.count("stale"))
