"""Which rows of a list are shown: `acme`, `~acm`, `!acme`, `tenant=eu state=errored`.

Words are separated by spaces, and a row must satisfy each: a regular expression found anywhere in it (small letters
find large ones too), `~` letters in that order, `key=value` a field that contains the value. `!` before any of them
turns it round.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from upm_cli.errors import UsageError

Fields = Mapping[str, str]
Test = Callable[[str, Fields], bool]


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter as it was typed, and as tests that all must pass."""

    text: str = ""
    tests: tuple[Test, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Filter":
        """Raises UsageError for a regular expression that is none."""
        return cls(text.strip(), tuple(_test(word) for word in text.split()))

    def __bool__(self) -> bool:
        return bool(self.tests)

    def matches(self, text: str, fields: Fields) -> bool:
        """Say whether a row with this text and these fields is to be shown."""
        return all(test(text, fields) for test in self.tests)


def _test(word: str) -> Test:
    if word.startswith("!") and len(word) > 1:
        inner = _test(word[1:])
        return lambda text, fields: not inner(text, fields)
    key, equals, value = word.partition("=")
    if equals and key.isidentifier():
        return lambda text, fields: key in fields and _has(fields[key], value)
    if word.startswith("~") and len(word) > 1:
        return lambda text, fields: is_subsequence(word[1:], text)
    try:
        pattern = re.compile(word, 0 if any(c.isupper() for c in word) else re.IGNORECASE)
    except re.error as exc:
        raise UsageError(
            f"{word!r} is no regular expression: {exc}", hint="\\ before a sign takes it as it is"
        ) from exc
    return lambda text, fields: pattern.search(text) is not None


def _has(found: str, value: str) -> bool:
    return value.lower() in found.lower()


def is_subsequence(letters: str, text: str) -> bool:
    """Say whether `letters` come in `text` in that order, large or small."""
    rest = iter(text.lower())
    return all(letter in rest for letter in letters.lower())
