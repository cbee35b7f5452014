"""Features as a program holds them → what a model takes; the same as `upm ingest` makes of them as JSON.

`sources/features.py` defines it. One window of plain numbers and texts takes a shorter way to the same result.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from upm_cli.agent.errors import FeaturesError
from upm_cli.core.hashing import hash_name, hash_pair
from upm_cli.core.window import Csr
from upm_cli.sources.base import MAX_DEPTH
from upm_cli.sources.features import FeatureColumns
from upm_cli.sources.refusal import Refusal

Features = Mapping[str, Any]
Elements = tuple[list[int], list[float]]

_REMEMBERED: Final = 1 << 16  # names; more are hashed each time
_PLAIN: Final = 9e29  # larger numbers take the long way, which knows where the limits are
_FEW: Final = 4096  # elements
_LOW: Final = 0xFFFFFFFF
_SCALARS: Final = frozenset({float, int, str, bool, type(None)})


class _Numbers(dict[str, int]):
    """The index of each feature that is a number."""

    def __missing__(self, name: str) -> int:
        if type(name) is not str:
            raise TypeError(f"the name {name!r} is a {type(name).__name__}")
        index = hash_name(name) & _LOW
        if len(self) < _REMEMBERED:
            self[name] = index
        return index


class _Texts(dict[tuple[str, str], int]):
    """The index of each feature that is a text under a name."""

    def __missing__(self, pair: tuple[str, str]) -> int:
        name, text = pair
        if type(name) is not str:
            raise TypeError(f"the name {name!r} is a {type(name).__name__}")
        index = hash_pair(hash_name(name), hash_name(text)) & _LOW
        if len(self) < _REMEMBERED:
            self[pair] = index
        return index


_numbers: Final = _Numbers()
_texts: Final = _Texts()


def plain(features: Features) -> Elements | None:
    """Return the elements of ordinary features sooner than `encode`; None: they have to go the long way.

    Ordinary are exact Python types, not too many, and numbers far from any limit. Raises FeaturesError for names that
    are no text.
    """
    index: list[int] = []
    value: list[float] = []
    try:
        is_ordinary = _walk("", features, 1, index, value)
    except (TypeError, UnicodeEncodeError) as exc:
        raise _unfit(str(exc), None) from exc
    except AttributeError:
        return None
    return (index, value) if is_ordinary and len(index) <= _FEW else None


def _walk(prefix: str, features: Features, depth: int, index: list[int], value: list[float]) -> bool:
    """Append the elements of `features`; false when the long way has to be taken."""
    add_index, add_value = index.append, value.append
    for key, given in features.items():
        name = prefix + key if prefix else key
        kind = type(given)
        if kind is float or kind is int:
            if not -_PLAIN < given < _PLAIN:
                return False
            add_index(_numbers[name])
            add_value(given)
        elif kind is str:
            add_index(_texts[name, given])
            add_value(1.0)
        elif kind is bool:
            add_index(_numbers[name])
            add_value(1.0 if given else 0.0)
        elif kind is dict:
            if depth == MAX_DEPTH or not _walk(name + ".", given, depth + 1, index, value):
                return False
        elif kind is list:
            for text in given:
                if type(text) is not str:
                    return False
                add_index(_texts[name, text])
                add_value(1.0)
        elif given is not None:
            return False
    return True


def encode(windows: Sequence[Features], *, is_list: bool = False) -> Csr:
    """Return the elements of `windows`, made of what JSON has or of NumPy's counterparts.

    Raises FeaturesError, naming the first that can't be predicted by its place in the list.
    """
    columns = FeatureColumns()
    for at, features in enumerate(windows):
        try:
            if not isinstance(features, Mapping):
                raise TypeError(f"they are a {type(features).__name__}, not names with values")
            columns.add(_json(features))
        except (Refusal, TypeError) as exc:
            raise _unfit(str(exc), at if is_list else None) from exc
    try:
        index_ptr, index, value, _, _ = columns.finish()
    except UnicodeEncodeError as exc:
        raise _unfit(str(exc), None) from exc
    return Csr(index_ptr, index, value)


def copied(features: Features) -> dict[str, Any]:
    """Return features that a model took as they were, whatever becomes of them; made of what JSON has."""
    return {name: given if type(given) in _SCALARS else _json(given) for name, given in features.items()}


def as_json(value: Any) -> Any:
    """Return `value` made of what JSON has. Raises FeaturesError where its names are no text."""
    try:
        return _json(value)
    except TypeError as exc:
        raise _unfit(str(exc), None) from exc


def _json(value: Any) -> Any:
    """Return `value` made of what JSON has: NumPy's numbers and arrays, tuples and other mappings become that."""
    kind = type(value)
    if kind in _SCALARS:
        return value
    if isinstance(value, Mapping):
        return {_name(name): _json(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_json(each) for each in value]
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    for base in (bool, int, float, str):
        if isinstance(value, base):
            return base(value)
    return value


def _name(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"the name {name!r} is a {type(name).__name__}")
    return name


def _unfit(why: str, at: int | None) -> FeaturesError:
    which = "the features" if at is None else f"features {at} of the list"
    return FeaturesError(
        f"{which} can't be predicted: {why}",
        hint='give names with numbers, booleans, texts, lists or objects: {"hour": 9, "sender": "bank.example"}',
    )
