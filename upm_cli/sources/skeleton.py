"""The part of a JSON line that does not change from line to line, learned from one line.

Producers write the same keys in the same order again and again. From one line that the strict decoder took, `learn`
makes a `Skeleton`: which bytes must be there, and where between the quotation marks the values lie and what they mean.
A line whose fixed bytes are equal has the same structure, so only its values have to be looked at.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from itertools import count
from typing import Any, Final

from upm_cli.core.window import RowKind
from upm_cli.sources.events import read_row

LINE_END: Final = -1  # stands for the newline where the number of a quotation mark is asked for
PIECE: Final = 32  # fixed bytes that are compared at once
_TOKEN: Final = re.compile(rb'"[^"]*"|[^\s{}\[\],:"]+|[{}\[\],:]')

Path = tuple[str | int, ...]


class Role(Enum):
    """What a value of a line is to us. NUMBER may also be true, false or null; FIXED must be the same in every line."""

    FIXED = auto()
    UNREADABLE = auto()  # not in columns

    WINDOW_ID = auto()
    TENANT = auto()
    START = auto()
    END = auto()
    LABEL_TEXT = auto()
    LABEL_NUMBER = auto()
    FEATURE_TEXT = auto()
    FEATURE_NUMBER = auto()
    OTHER_TEXT = auto()
    OTHER_NUMBER = auto()


@dataclass(frozen=True, slots=True)
class Value:
    """Where a value lies: `start[1]` bytes after quotation mark `start[0]` of its line, up to `end` likewise."""

    role: Role
    name: str
    start: tuple[int, int]
    end: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Fixed:
    """Bytes, `PIECE` at most, that must lie `delta` bytes after quotation mark `mark`."""

    mark: int
    delta: int
    text: bytes


@dataclass(frozen=True, slots=True)
class Skeleton:
    """One shape of line: `marks` quotation marks, the first of them `lead` bytes after the line begins."""

    kind: RowKind
    marks: int
    lead: int
    fixed: tuple[Fixed, ...]
    values: tuple[Value, ...]


def learn(line: bytes, event: dict[str, Any]) -> Skeleton | None:
    """Return the skeleton of `line`, which the strict decoder has taken as `event`; None if it has no usable one.

    Lines with escapes, two numbers side by side in a list, a map as label or an integer as id have none.
    """
    marks = [at for at, byte in enumerate(line) if byte == ord('"')]
    kind = read_row(event)[0][0]
    prefix: Path = ("data",) if "specversion" in event else ()
    values: list[Value] = []
    fixed: list[Fixed] = []
    done = mark = 0  # bytes and quotation marks already described
    for path, begin, end in _scalars(line):
        role = _role(path, line[begin : begin + 1], prefix, kind)
        if role is Role.FIXED:
            continue
        if role is Role.UNREADABLE:
            return None
        text = line[begin] == ord('"')
        first, last = (begin + 1, end - 1) if text else (begin, end)
        after = line.count(b'"', 0, first)
        if after == mark:
            return None
        fixed.extend(_pieces(line, done, first, mark, marks))
        stop = (after, 0) if text else _before(line, last, after, marks)
        values.append(Value(role, _name(path, prefix, role), (after - 1, first - marks[after - 1]), stop))
        done, mark = last, after
    fixed.extend(_pieces(line + b"\n", done, len(line) + 1, mark, marks))
    return Skeleton(kind, len(marks), marks[0], tuple(fixed), tuple(values))


def _scalars(line: bytes) -> Iterator[tuple[Path, int, int]]:
    """Yield path, start and end of every text, number and literal of `line`, which is good JSON without escapes."""
    tokens = _TOKEN.finditer(line)

    def walk(path: Path, opening: re.Match[bytes]) -> Iterator[tuple[Path, int, int]]:
        if opening.group() not in (b"{", b"["):
            yield path, opening.start(), opening.end()
            return
        for at in count():
            token = next(tokens)
            if token.group() == b",":
                token = next(tokens)
            if token.group() in (b"}", b"]"):
                return
            if opening.group() == b"[":
                yield from walk((*path, at), token)
            else:
                next(tokens)  # the colon
                yield from walk((*path, token.group()[1:-1].decode()), next(tokens))

    return walk((), next(tokens))


def _role(path: Path, first: bytes, prefix: Path, kind: RowKind) -> Role:
    """Return what the value at `path` that begins with `first` is to us."""
    text, number = first == b'"', first in b"-0123456789"
    other = Role.OTHER_TEXT if text else Role.OTHER_NUMBER if number else Role.FIXED
    if path[: len(prefix)] != prefix:
        return Role.FIXED if path in (("specversion",), ("type",)) else other
    key, *deeper = path[len(prefix) :]
    if key in ("window_id", "tenant_id"):
        role = Role.WINDOW_ID if key == "window_id" else Role.TENANT
        return role if text else Role.UNREADABLE if number else Role.FIXED
    if key in ("label", "labels"):
        return Role.UNREADABLE if deeper else Role.LABEL_TEXT if text else Role.LABEL_NUMBER
    if kind is RowKind.LABEL:
        return other
    if key in ("window_start", "window_end"):
        role = Role.START if key == "window_start" else Role.END
        return role if text else Role.UNREADABLE
    if key == "features":
        return Role.FEATURE_TEXT if text else Role.FEATURE_NUMBER
    return other


def _name(path: Path, prefix: Path, role: Role) -> str:
    """Return the feature name that `path` stands for."""
    parts = path[len(prefix) + 1 :]
    if role is Role.FEATURE_TEXT and parts and isinstance(parts[-1], int):
        parts = parts[:-1]  # of a bag
    return ".".join(map(str, parts)) if role in (Role.FEATURE_TEXT, Role.FEATURE_NUMBER) else ""


def _before(line: bytes, at: int, mark: int, marks: list[int]) -> tuple[int, int]:
    """Return byte `at` seen from the next quotation mark, or else from the end of the line."""
    return (mark, at - marks[mark]) if mark < len(marks) else (LINE_END, at - len(line))


def _pieces(line: bytes, start: int, stop: int, mark: int, marks: list[int]) -> Iterator[Fixed]:
    """Cut the fixed bytes from `start` to `stop` up; `mark` is the number of quotation marks before them."""
    has_mark = mark < len(marks) and marks[mark] < stop
    for at in range(start, stop, PIECE):
        text = line[at : min(at + PIECE, stop)]
        yield Fixed(mark, at - marks[mark], text) if has_mark else Fixed(LINE_END, at - (len(line) - 1), text)
