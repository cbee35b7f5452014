"""Nested, named features → flat (name, value) pairs."""

from collections import defaultdict
from typing import Any, Final

import numpy as np

from upm_cli.core.hashing import hash_pairs
from upm_cli.core.window import F32Array, I64Array, Strings, U32Array
from upm_cli.sources.base import MAX_DEPTH, MAX_FEATURES
from upm_cli.sources.refusal import Refusal

FLOAT32_LIMIT: Final = 3.4028235677973366e38  # from here on a double rounds to infinity in float32

Name = str | tuple[str, str]  # of a number `k`, or of the text `v` under `k`


class FeatureColumns:
    """Features of many windows as they come; names are numbered here and hashed all at once at the end."""

    def __init__(self) -> None:
        self._numbers: defaultdict[Name, int] = defaultdict()
        self._numbers.default_factory = self._numbers.__len__
        self._ids: list[int] = []
        self._values: list[float] = []
        self._ends: list[int] = [0]

    def add(self, features: "dict[str, Any] | Pairs") -> int:
        """Append one window's features; return how many strings, keys included, they are made of.

        Raises Refusal, and then nothing was appended.
        """
        start = self._ends[-1]
        try:
            strings = self._walk("", features, 1)
            if len(self._values) - start > MAX_FEATURES:
                raise Refusal(f"more than {MAX_FEATURES} features")
        except Refusal:
            del self._ids[start:], self._values[start:]
            raise
        self._ends.append(len(self._values))
        return strings

    def skip(self) -> None:
        """Append a window without features."""
        self._ends.append(self._ends[-1])

    def undo(self) -> None:
        """Take the last window back."""
        self._ends.pop()
        del self._ids[self._ends[-1] :], self._values[self._ends[-1] :]

    def _walk(self, prefix: str, features: "dict[str, Any] | Pairs", depth: int) -> int:
        if depth > MAX_DEPTH:
            raise Refusal(f"features are nested deeper than {MAX_DEPTH}")
        numbers, add_id, add_value = self._numbers, self._ids.append, self._values.append
        items = features.items() if isinstance(features, dict) else features
        strings = len(features)
        for key, value in items:
            name = prefix + key
            kind = type(value)
            if kind is float:
                if not -FLOAT32_LIMIT < value < FLOAT32_LIMIT:
                    raise Refusal(f"feature {name[:80]!r} is not finite in 32-bit floating point")
                add_id(numbers[name])
                add_value(value)
            elif kind is str:
                strings += 1
                add_id(numbers[name, value])
                add_value(1.0)
            elif kind is int or kind is bool:
                add_id(numbers[name])
                add_value(_number(name, value))
            elif kind is dict or kind is Pairs:
                strings += self._walk(name + ".", value, depth + 1)
            elif kind is list:
                strings += self._list(name, value)
            elif value is not None:
                raise Refusal(f"feature {name[:80]!r} is a {kind.__name__}")
        return strings

    def _list(self, name: str, elements: list[Any]) -> int:
        texts = sum(type(element) is str for element in elements)
        if texts and texts != len(elements):
            raise Refusal(f"feature {name[:80]!r} is a list of text and other things")
        for at, element in enumerate(elements):
            if texts:
                self._ids.append(self._numbers[name, element])
                self._values.append(1.0)
            elif isinstance(element, int | float):
                self._ids.append(self._numbers[f"{name}.{at}"])
                self._values.append(_number(name, element))
            elif element is not None:
                raise Refusal(f"feature {name[:80]!r} is a list of lists or objects")
        return texts

    def finish(self) -> tuple[I64Array, U32Array, F32Array, list[Name], U32Array]:
        """Return `indptr`, `index`, `value` as of a Csr, and every distinct name with its index."""
        names = list(self._numbers)
        hashes = _hash_names(names)
        ids = np.array(self._ids, np.int64)
        value = np.array(self._values, np.float64).astype(np.float32) + np.float32(0)  # no negative zeros
        used = np.unique(ids)  # names of refused windows are not
        return np.array(self._ends, np.int64), hashes[ids], value, [names[at] for at in used.tolist()], hashes[used]


class Pairs(list[tuple[str, Any]]):
    """A JSON object as its (key, value) pairs, every duplicate kept."""


def name_text(name: Name) -> str:
    """Return `name` as people read it: `k`, or `k=v`."""
    return name if isinstance(name, str) else f"{name[0]}={name[1]}"


def _number(name: str, value: float) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = float("inf")
    if not -FLOAT32_LIMIT < number < FLOAT32_LIMIT:
        raise Refusal(f"feature {name[:80]!r} is not finite in 32-bit floating point")
    return number


def _hash_names(names: list[Name]) -> U32Array:
    pairs = np.array([isinstance(name, tuple) for name in names], bool)
    hashes = Strings.of(name[0] if isinstance(name, tuple) else name for name in names).hashes()
    values = Strings.of(name[1] for name in names if isinstance(name, tuple)).hashes()
    hashes[pairs] = hash_pairs(hashes[pairs], values)
    return hashes.astype(np.uint32)
