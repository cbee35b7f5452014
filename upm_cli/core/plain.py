"""Values ↔ plain JSON: what goes on the record, and back into the values that a pure function takes.

Plain is: null, booleans, numbers, strings, lists, and mappings with string keys. A dataclass is a mapping of its
fields, an enum its value, a tuple a list. A number that is not finite is one of the words nan, inf and -inf: that it
was not finite belongs on the record, and it is read back as that number.
"""

import json
import math
import types
import typing
from collections.abc import Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, TypeVar

from upm_cli.errors import InvalidError

T = TypeVar("T")


def to_plain(value: Any, at: str = "value") -> Any:
    """Return `value` in plain JSON values; `at` names it in errors.

    Keys of mappings become text, sets sorted lists, NumPy scalars numbers. Raises TypeError for what has no plain
    form.
    """
    if isinstance(value, Enum):
        return to_plain(value.value, at)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name), f"{at}.{field.name}") for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(to_plain(key, at)): to_plain(each, f"{at}.{key}") for key, each in value.items()}
    if isinstance(value, Set):
        return sorted(to_plain(each, at) for each in value)
    if isinstance(value, Sequence):
        return [to_plain(each, f"{at}[{n}]") for n, each in enumerate(value)]
    if hasattr(value, "item"):  # a NumPy scalar
        return to_plain(value.item(), at)
    raise TypeError(f"{at}: {type(value).__name__} has no plain form")


def canonical(value: Any) -> str:
    """Return a value as canonical JSON: sorted keys, no spaces, no NaN; equal text is an equal value."""
    return json.dumps(to_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def from_plain(kind: type[T], plain: Mapping[str, Any]) -> T:
    """Return the dataclass `kind` that `to_plain` made `plain` of; fields without a value take their default.

    Raises InvalidError naming a field that is unknown, missing or can't be read.
    """
    hints = typing.get_type_hints(kind)
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(set(plain) - names):
        raise _unreadable(f"{kind.__name__} has no {unknown[0]}")
    try:
        return kind(**{name: _restored(hints[name], value) for name, value in plain.items()})
    except (TypeError, ValueError, KeyError) as exc:
        raise _unreadable(f"{kind.__name__}: {exc}") from exc


def _restored(hint: Any, value: Any) -> Any:
    """Return `value` as the type `hint` says; what it says nothing about stays plain."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        (inner,) = [part for part in parts if part is not types.NoneType][:1]
        return None if value is None else _restored(inner, value)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(value)
    if is_dataclass(hint):
        return from_plain(hint, value)  # type: ignore[arg-type]
    if origin is tuple:
        inner = parts if Ellipsis not in parts else (parts[0],) * len(value)
        return tuple(_restored(each, one) for each, one in zip(inner, value, strict=True))
    if origin is list:
        return [_restored(parts[0], one) for one in value]
    if isinstance(origin, type) and issubclass(origin, Set):
        return frozenset(_restored(parts[0], one) for one in value)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {_key(parts[0], key): _restored(parts[1], one) for key, one in value.items()}
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return tuple(_restored(parts[0], one) for one in value)
    if hint in (bool, int, str) and type(value) is not hint:
        raise TypeError(f"{value!r} is no {hint.__name__}")
    return float(value) if hint is float else value


def _key(hint: Any, key: str) -> Any:
    return int(key) if hint is int else _restored(hint, key)


def _unreadable(why: str) -> InvalidError:
    return InvalidError(
        f"a recorded decision can't be read: {why}",
        hint="it may have been written by another version of upm; upm audit show prints it as it is",
        code="UPM-E039",
    )
