"""Made-up e-mail for the demo and the examples: is this message urgent?

Each message is a feature window with nested objects, a bag of subject words, numbers, booleans and strings, from one
of several teams (tenants), labelled with what a person would have said. The truth is a noisy logistic rule over what
kind of message it is, its words and its sender, so that a linear learner can find most of it, but not all.
"""

import math
from bisect import bisect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from typing import Any, Final, TypeVar

import msgspec
import numpy as np

from upm_cli.ids import iso

T = TypeVar("T")
Throw = Callable[[], float]  # the next random number in [0, 1)


class Shift(StrEnum):
    """What goes wrong at `shift_at`."""

    INVERTED = "inverted"  # the feed starts to deliver yes for no: a broken join upstream
    CONCEPT = "concept"  # people change their minds: newsletters and notices matter now, incidents don't


@dataclass(frozen=True, slots=True, kw_only=True)
class TriageSpec:
    """What to make. `shift_at` is the number of the first message after the shift; None: all stays as it is."""

    messages: int
    start_ms: int  # event time of the first message, Unix milliseconds
    spacing_ms: int = 1000
    tenants: int = 12
    shift_at: int | None = None
    shift: Shift = Shift.INVERTED

    def __post_init__(self) -> None:
        for name in ("messages", "spacing_ms", "tenants"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class _Kind:
    """One kind of message: how often, from where, about what, and how urgent by itself (log odds)."""

    share: float
    urgency: float
    reputation: float  # typical sender reputation, 0-1
    attachment: float  # chance of one
    domains: tuple[str, ...]
    words: tuple[str, ...]


_KINDS: Final = (
    _Kind(
        0.12, 1.2, 0.9, 0.2, ("status.example", "pager.example", "ops.example"),
        ("outage", "down", "incident", "severity", "rollback", "database", "latency", "production", "restore", "alert"),
    ),
    _Kind(
        0.22, -0.7, 0.7, 0.4, ("harbor-foods.example", "lumen-bank.example", "northwind.example", "orchard.example"),
        ("invoice", "overdue", "contract", "delivery", "refund", "complaint", "order", "renewal", "quote", "deadline"),
    ),
    _Kind(
        0.28, -1.8, 0.95, 0.25, ("team.example", "people.example", "finance.example"),
        ("meeting", "review", "notes", "lunch", "planning", "draft", "question", "feedback", "agenda", "schedule"),
    ),
    _Kind(
        0.22, -3.2, 0.45, 0.05, ("letters.example", "deals.example", "events.example", "academy.example"),
        ("sale", "webinar", "digest", "weekly", "discount", "invitation", "trends", "guide", "free", "unsubscribe"),
    ),
    _Kind(
        0.16, -2.4, 0.8, 0.1, ("build.example", "calendar.example", "tickets.example"),
        ("passed", "reminder", "assigned", "merged", "expired", "report", "backup", "completed", "updated", "closed"),
    ),
)  # fmt: skip
_KIND_SHARES: Final = tuple(kind.share for kind in _KINDS)
_COMMON: Final = ("re", "fwd", "today", "please", "new", "your", "update", "important", "tomorrow", "friday", "thanks")
_PULL: Final = {
    "outage": 0.9, "down": 0.7, "severity": 0.5, "overdue": 1.1, "complaint": 0.9, "deadline": 0.8, "today": 0.9,
    "important": 0.4, "expired": 0.8, "restore": 0.5, "refund": 0.4, "tomorrow": 0.3, "friday": -0.3, "thanks": -0.9,
    "fwd": -0.3, "lunch": -0.8, "notes": -0.5, "completed": -0.6, "passed": -0.7, "free": -0.5, "quote": -0.2,
}  # fmt: skip
_LANGUAGES: Final = ("en", "de", "fr", "nl", "es")
_LANGUAGE_SHARES: Final = (0.62, 0.15, 0.1, 0.08, 0.05)
_CLARITY: Final = 1.6  # how sure the rule is
_MOOD: Final = 0.4  # standard deviation of what a person adds to the log odds
_DICE: Final = 32  # random numbers set aside for a message, more than any of them needs
_BLOCK: Final = 1024  # messages whose numbers are drawn together


def messages(spec: TriageSpec, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Make `spec.messages` feature windows, in event-time order; the same generator state gives the same windows."""
    leaning = rng.normal(0.0, 0.4, spec.tenants).tolist()  # some teams call more things urgent
    for number in range(spec.messages):
        if number % _BLOCK == 0:
            moods, dice = rng.normal(0.0, _MOOD, _BLOCK).tolist(), rng.random((_BLOCK, _DICE)).tolist()
        throw = iter(dice[number % _BLOCK]).__next__
        kind = _pick(_KINDS, _KIND_SHARES, throw())
        tenant = int(throw() * spec.tenants)
        start_ms = spec.start_ms + number * spec.spacing_ms
        features, pull = _message(kind, start_ms, throw)
        shifted = spec.shift_at is not None and number >= spec.shift_at
        odds = kind.urgency + pull
        odds = (-2.5 - odds if shifted and spec.shift is Shift.CONCEPT else odds) + leaning[tenant]
        urgent = throw() < 1.0 / (1.0 + math.exp(-_CLARITY * odds - moods[number % _BLOCK]))
        yield {
            "window_id": f"mail-{number:08d}",
            "window_start": iso(start_ms),
            "window_end": iso(start_ms + spec.spacing_ms),
            "tenant_id": f"team-{tenant + 1:02d}",
            "features": features,
            "label": urgent is not (shifted and spec.shift is Shift.INVERTED),
        }


def lines(spec: TriageSpec, rng: np.random.Generator) -> Iterator[bytes]:
    """Make the same windows as JSON lines, newline included."""
    encode = msgspec.json.Encoder().encode
    for message in messages(spec, rng):
        yield encode(message) + b"\n"


def _message(kind: _Kind, start_ms: int, throw: Throw) -> tuple[dict[str, Any], float]:
    """Make the features of one message, and what they add to the log odds of its kind."""
    words = _subject(kind, throw)
    reputation = round(kind.reputation + 0.9 * (1.0 - kind.reputation) * throw() - 0.3 * throw() ** 2, 3)
    known = throw() < reputation
    thread_length = _geometric(0.45, throw())
    recipients = _geometric(0.5, throw())
    features = {
        "sender": {
            "domain": kind.domains[int(throw() * len(kind.domains))],
            "reputation": reputation,
            "known": known,
        },
        "subject": words,
        "language": _pick(_LANGUAGES, _LANGUAGE_SHARES, throw()),
        "hour": start_ms // 3_600_000 % 24,
        "has_attachment": throw() < kind.attachment,
        "thread_length": thread_length,
        "recipients": recipients,
    }
    pull = sum(_PULL.get(word, 0.0) for word in words)
    pull += 0.5 * known + 0.8 * (reputation - 0.7) + 0.12 * (thread_length - 2) - 0.1 * (recipients - 2)
    return features, pull


def _subject(kind: _Kind, throw: Throw) -> list[str]:
    """Draw up to 7 different words, most of them about what the message is about."""
    pools = [kind.words if throw() < 0.65 else _COMMON for _ in range(3 + int(throw() * 5))]
    return list(dict.fromkeys(pool[int(throw() * len(pool))] for pool in pools))


def _pick(choices: Sequence[T], shares: Sequence[float], chance: float) -> T:
    """Return the choice that `chance`, in [0, 1), falls on."""
    return choices[min(bisect(list(accumulate(shares)), chance), len(choices) - 1)]


def _geometric(p: float, chance: float) -> int:
    """Return how many tries a success of probability `p` takes: 1, 2, …"""
    return 1 + int(math.log1p(-chance) / math.log1p(-p))
