"""Records ↔ rows: the one place where instants, enums and mappings change their form.

A field `x_at_ms` or `x_ms` (Unix milliseconds) is the UTC TIMESTAMP column `x_at` or `x`; an enum is its value;
mappings and tuples are JSON. All other fields are columns of the same name.
"""

import json
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Generic, TypeVar

from upm_cli.errors import InvalidError

R = TypeVar("R")
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - columns are UTC without a zone; DuckDB's zoned type needs more packages
_MS = timedelta(milliseconds=1)


def instant(ms: int | None) -> datetime | None:
    """Return the column value of an instant in Unix milliseconds."""
    if ms is None:
        return None
    try:
        return _EPOCH + ms * _MS
    except OverflowError as exc:
        raise InvalidError(f"{ms} ms is no instant between the years 1 and 9999", code="UPM-E034") from exc


def milliseconds(value: datetime | None) -> int | None:
    """Return the Unix milliseconds of a column value."""
    return None if value is None else (value - _EPOCH) // _MS


def to_json(value: Any) -> str:
    """Return canonical JSON: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _same(value: Any) -> Any:
    return value


def _to_tuple(text: str) -> tuple[Any, ...]:
    return tuple(json.loads(text))


class Codec(Generic[R]):
    """How one kind of record is written to and read from its table."""

    def __init__(self, record: type[R]) -> None:
        self._record = record
        hints = typing.get_type_hints(record)
        self._fields = {f.name: _conversion(f.name, hints[f.name]) for f in fields(record)}  # type: ignore[arg-type]

    @property
    def columns(self) -> list[str]:
        return [column for column, _, _ in self._fields.values()]

    def encode(self, record: R) -> dict[str, Any]:
        """Return `record` as parameters named like the columns."""
        return {column: write(getattr(record, name)) for name, (column, write, _) in self._fields.items()}

    def decode(self, row: Mapping[str, Any]) -> R:
        """Return the record of `row`."""
        return self._record(**{name: read(row[column]) for name, (column, _, read) in self._fields.items()})


_codecs: dict[type, Codec[Any]] = {}


def codec(record: type[R]) -> Codec[R]:
    """Return the codec of a record class; made once."""
    found = _codecs.get(record)
    if found is None:
        found = _codecs[record] = Codec(record)
    return found


def _conversion(name: str, hint: Any) -> tuple[str, Callable[[Any], Any], Callable[[Any], Any]]:
    if name.endswith("_ms"):
        return name.removesuffix("_ms"), instant, milliseconds
    plain = _without_none(hint)
    if isinstance(plain, type) and issubclass(plain, Enum):
        return name, _value_of, plain
    origin = typing.get_origin(plain)
    if origin is tuple:
        return name, to_json, _to_tuple
    if origin is not None and issubclass(origin, Mapping):
        return name, to_json, json.loads
    return name, _same, _same


def _value_of(member: Enum) -> Any:
    return member.value


def _without_none(hint: Any) -> Any:
    if isinstance(hint, types.UnionType):
        (hint,) = (part for part in typing.get_args(hint) if part is not types.NoneType)
    return hint
