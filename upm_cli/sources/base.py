"""What a source is: bytes in whole records with a position to go on from, and what decoding makes of them."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from upm_cli.core.records import SourcePosition
from upm_cli.core.window import Strings, U32Array, WindowBatch

MAX_LINE_BYTES: Final = 4 << 20  # a longer line is a dead letter
MAX_FEATURES: Final = 65_536  # of one window
MAX_ID_BYTES: Final = 256  # of a window id or tenant
MAX_DEPTH: Final = 8  # of nested objects inside `features`

FORMATS: Final = ("auto", "jsonl", "csv", "parquet")


def storable(path: str) -> str:
    """Return a path as text that any store takes: bytes of it that are not UTF-8 are written as \\xNN."""
    return os.fsencode(path).decode(errors="backslashreplace")


@dataclass(frozen=True, slots=True)
class Reject:
    """One record that is not a window: where it began, why it was refused, and what it was.

    `offset` is in bytes from the start of the (uncompressed) source, or the row of a Parquet file.
    """

    offset: int
    reason: str
    raw: bytes


@dataclass(slots=True)
class Decoded:
    """What one chunk held. Every record is either a row of `batch` or a reject: `lines = len(batch) + len(rejects)`.

    `names` are feature names not seen before by this decoder, `k` or `k=v`, and `name_hashes` (n,) their index in
    `batch.x`. Blank lines are no records.
    """

    batch: WindowBatch
    names: Strings
    name_hashes: U32Array
    rejects: list[Reject]
    lines: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some whole records of one source: `data` begins at `offset`, and `position` is where the next chunk begins.

    `format` is jsonl, csv or parquet; `header` is the first line of a CSV file. The rows of a Parquet file come as an
    Arrow stream. Chunks depend only on the position they are read from, never on time.
    """

    data: bytes
    offset: int
    position: SourcePosition
    source: str
    format: str = "jsonl"
    header: bytes = b""


class Source(Protocol):
    """One file (or standard input) of records. `key` stays the same when the file grows or is renamed."""

    @property
    def key(self) -> str: ...

    @property
    def path(self) -> str: ...

    def chunks(self, position: SourcePosition | None, max_bytes: int, *, final: bool = True) -> Iterator[Chunk]:
        """Read from `position` (None: from the start) to the present end, about `max_bytes` at a time.

        A last line without a newline is read when `final`, and otherwise left until it is complete.
        Raises UpmError when the source can't be read.
        """
        ...
