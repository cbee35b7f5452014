"""Features as a program holds them → what a model takes; the same as `upm ingest` makes of them as JSON.

`sources/features.py` defines it. One window of plain numbers and texts takes a shorter way to the same result.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from upm_cli.agent.errors import FeaturesError
from upm_cli.core.hashing import hash_name, hash_pair
from upm_cli.core.window import Csr
from upm_cli.sources.features import FeatureColumns
from upm_cli.sources.refusal import Refusal

Features = Mapping[str, Any]
Elements = tuple[list[int], list[float]]

_REMEMBERED: Final = 1 << 16  # names; more are hashed each time
_PLAIN: Final = 9e29  # larger numbers take the long way, which knows where the limits are
_FEW: Final = 4096  # elements
_LOW: Final = 0xFFFFFFFF


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
    """Return the elements of features that are all numbers and texts; None: they have to go the long way.

    Raises FeaturesError for names that are no text.
    """
    index: list[int] = []
    value: list[float] = []
    add_index, add_value = index.append, value.append
    try:
        for name, given in features.items():
            kind = type(given)
            if kind is float or kind is int:
                if not -_PLAIN < given < _PLAIN:
                    return None
                add_index(_numbers[name])
                add_value(given)
            elif kind is str:
                add_index(_texts[name, given])
                add_value(1.0)
            elif kind is bool:
                add_index(_numbers[name])
                add_value(1.0 if given else 0.0)
            else:
                return None
    except (TypeError, UnicodeEncodeError) as exc:
        raise _unfit(str(exc), None) from exc
    return (index, value) if len(index) <= _FEW else None


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


def as_json(value: Any) -> Any:
    """Return `value` made of what JSON has. Raises FeaturesError where its names are no text."""
    try:
        return _json(value)
    except TypeError as exc:
        raise _unfit(str(exc), None) from exc


def _json(features: Any) -> Any:
    """Return features made of what JSON has: NumPy's numbers and arrays, tuples and other mappings become that."""
    kind = type(features)
    if kind in (float, str, int, bool, type(None)):
        return features
    if isinstance(features, Mapping):
        return {_name(name): _json(value) for name, value in features.items()}
    if isinstance(features, list | tuple):
        return [_json(value) for value in features]
    if isinstance(features, np.ndarray | np.generic):
        return features.tolist()
    for base in (bool, int, float, str):
        if isinstance(features, base):
            return base(features)
    return features


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
