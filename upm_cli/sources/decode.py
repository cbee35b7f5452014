"""One JSON line at a time: the strict decoder that defines what a line means.

The columnar readers take over the lines they are sure of and must agree with this one bit for bit;
docs/reference/windows.md tells users the same in prose.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeVar

import msgspec
import numpy as np

from upm_cli.core.window import Csr, I64Array, Strings, U32Array, WindowBatch
from upm_cli.sources.base import MAX_LINE_BYTES, Reject
from upm_cli.sources.events import Head, Object, read_row
from upm_cli.sources.features import FeatureColumns, Name, Pairs
from upm_cli.sources.labels import Label
from upm_cli.sources.refusal import Refusal

KEPT_OF_LONG_LINE: Final = 64 << 10  # bytes of an oversized line that go to the dead letters
_decode: Final = msgspec.json.Decoder().decode

T = TypeVar("T")


class RowColumns:
    """Decoded rows as columns, in arrival order."""

    def __init__(self) -> None:
        self._heads: list[Head] = []
        self._labels: list[Label] = []
        self._features = FeatureColumns()

    def add_line(self, line: bytes) -> None:
        """Append the window or ground truth in `line`. Raises Refusal, and then nothing was appended."""
        if len(line) > MAX_LINE_BYTES:
            raise Refusal(f"the line is longer than {MAX_LINE_BYTES} bytes")
        event = parse_line(line)
        if type(event) is not dict:
            raise Refusal("the line is not a JSON object")
        strings = self.add_object(event)
        if b"\\\\" in line or line.count(b'"') - line.count(b'\\"') != 2 * strings:  # a key was lost: it occurs twice
            self._undo()
            self.add_object(_parse_pairs(line))

    def add_object(self, event: Object) -> int:
        """Append the window or ground truth `event`; return how many strings, keys included, it is made of.

        Raises Refusal, and then nothing was appended.
        """
        head, label, features = read_row(event)
        strings = 0
        if features is None:
            self._features.skip()
        else:
            strings = self._features.add(features)
        self._heads.append(head)
        self._labels.append(label)
        return strings + _count_strings(event, features)

    def _undo(self) -> None:
        self._features.undo()
        self._heads.pop()
        self._labels.pop()

    def finish(self) -> tuple[WindowBatch, list[Name], U32Array]:
        """Return the rows, and every distinct feature name with its index."""
        kinds, ids, tenants, starts, ends = zip(*self._heads, strict=True) if self._heads else ((),) * 5
        label_kinds, label_values, label_texts = zip(*self._labels, strict=True) if self._labels else ((),) * 3
        indptr, index, value, names, hashes = self._features.finish()
        batch = WindowBatch(
            np.array(kinds, np.uint8),
            Strings.of(ids),
            Strings.of(tenants),
            np.array(starts, np.int64),
            np.array(ends, np.int64),
            np.array(label_kinds, np.uint8),
            np.array(label_values, np.float64),
            Strings.of(label_texts),
            Csr(indptr, index, value),
        )
        return batch, names, hashes


@dataclass(slots=True)
class Collected:
    """What became of some records: `number` (n,) says which record each row of the batch came from."""

    batch: WindowBatch
    number: I64Array
    names: list[Name]
    hashes: U32Array
    rejects: list[Reject]


def collect(
    records: Iterable[tuple[int, T]], add: Callable[[RowColumns, T], object], raw: Callable[[T], bytes]
) -> Collected:
    """Decode `records` of (offset, record) by `add`; those that it refuses are kept as `raw` says."""
    columns = RowColumns()
    kept: list[int] = []
    rejects: list[Reject] = []
    for number, (offset, record) in enumerate(records):
        try:
            add(columns, record)
        except Refusal as refusal:
            rejects.append(Reject(offset, str(refusal), raw(record)))
        else:
            kept.append(number)
    batch, names, hashes = columns.finish()
    return Collected(batch, np.array(kept, np.int64), names, hashes, rejects)


def decode_lines(lines: Iterable[tuple[int, bytes]]) -> Collected:
    """Decode `lines` of (offset, bytes without the newline)."""
    return collect(lines, RowColumns.add_line, kept_of)


def kept_of(line: bytes) -> bytes:
    """Return what the dead letters keep of `line`: all, unless it is oversized."""
    return line[:KEPT_OF_LONG_LINE] if len(line) > MAX_LINE_BYTES else line


def parse_line(line: bytes) -> Any:
    """Return the JSON value of `line`. Raises Refusal."""
    try:
        return _decode(line)
    except UnicodeDecodeError as exc:
        raise Refusal("the line is not UTF-8") from exc
    except RecursionError as exc:
        raise Refusal("the JSON is nested too deeply") from exc
    except msgspec.DecodeError as exc:
        try:
            line.decode()
        except UnicodeDecodeError:
            raise Refusal("the line is not UTF-8") from exc
        raise Refusal(f"not JSON: {exc}") from exc


def _parse_pairs(line: bytes) -> Any:
    """Parse JSON that is known to be good, keeping every duplicate key."""
    try:
        return json.loads(line, object_pairs_hook=Pairs, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as exc:
        raise Refusal(f"not JSON: {exc}") from exc


def _refuse_constant(text: str) -> NoReturn:
    raise Refusal(f"not JSON: {text}")


def _count_strings(value: Any, features: Object | None) -> int:
    """Return how many strings, keys included, `value` is made of outside `features`."""
    count, parts = 0, value
    if isinstance(value, dict):
        count, parts = len(value), list(value.values())
    for part in parts:
        kind = type(part)
        if kind is str:
            count += 1
        elif (kind is dict or kind is list) and part is not features:
            count += _count_strings(part, features)
    return count
