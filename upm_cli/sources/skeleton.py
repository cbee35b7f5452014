"""The part of a JSON line that does not change from line to line, learned from one line.

Producers write the same keys in the same order again and again. From one line that the strict decoder took, `learn`
makes a `Skeleton`: which bytes must be there, and where between the quotation marks the values lie and what they mean.
A line whose fixed bytes are equal has the same structure, so only its values have to be looked at.
"""

import re
from bisect import bisect_left
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
_CONTAINERS: Final = (b"{", b"[")

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
    """Where a value lies: `start[1]` bytes after quotation mark `start[0]` of its line, up to `end` likewise.

    Ids and instants may be an integer instead of text.
    """

    role: Role
    name: str
    start: tuple[int, int]
    end: tuple[int, int]
    is_text: bool = True


@dataclass(frozen=True, slots=True)
class Fixed:
    """Bytes, `PIECE` at most, that must lie `delta` bytes after quotation mark `mark`."""

    mark: int
    delta: int
    text: bytes


@dataclass(frozen=True, slots=True)
class Skeleton:
    """One shape of line: `marks` quotation marks, the first of them `lead` bytes after the line begins.

    With a `hole` the features are open: any may stand in there, after `before_hole` marks and before the others.
    `colons`, if every stretch of fixed bytes has one, are how the marks are found from these instead.
    """

    kind: RowKind
    marks: int
    lead: int
    fixed: tuple[Fixed, ...]
    values: tuple[Value, ...]
    hole: Value | None = None
    before_hole: int = 0
    spaced: bool = False  # in the hole a space comes after each colon and comma
    colons: "Colons | None" = None

    def with_role(self, *roles: Role) -> list[Value]:
        """Return the values with one of `roles`, in their order."""
        return [value for value in self.values if value.role in roles]


@dataclass(frozen=True, slots=True)
class Colons:
    """The `count` colons of a line, the first of them `lead` bytes after it begins; they are fewer than the marks.

    `marks` has for each quotation mark the colon in the same stretch of fixed bytes (or `LINE_END`) and how many bytes
    after it the mark lies.
    """

    count: int
    lead: int
    marks: tuple[tuple[int, int], ...]


def learn(line: bytes, event: dict[str, Any]) -> Skeleton | None:
    """Return the skeleton of `line`, which the strict decoder has taken as `event`; None if it has no usable one.

    Lines with escapes, two numbers side by side in a list, or a map as label have none.
    """
    return _learn(line, event, -1)


def learn_open(line: bytes, event: dict[str, Any]) -> Skeleton | None:
    """Like `learn`, but with a hole where the features are, which must not be nested."""
    prefix = _prefix(event)
    body = event["data"] if prefix else event
    if b"\\" in line or any(isinstance(value, dict | list) for value in body.get("features", {}).values()):
        return None
    for path, begin, end in _nodes(line):
        if path == (*prefix, "features"):
            hollow = {**body, "features": {}}
            emptied = line[: begin + 1] + line[end - 1 :]
            return _learn(emptied, {**event, "data": hollow} if prefix else hollow, begin + 1)
    return None


def _learn(line: bytes, event: dict[str, Any], hole: int) -> Skeleton | None:
    if b"\\" in line:
        return None
    marks = [at for at, byte in enumerate(line) if byte == ord('"')]
    kind = read_row(event)[0][0]
    prefix = _prefix(event)
    values: list[Value] = []
    fixed: list[Fixed] = []
    stretches: list[tuple[int, int]] = []
    done = 0  # bytes already described
    for path, begin, end in _nodes(line):
        role = _role(path, line[begin : begin + 1], prefix, kind)
        if role is Role.FIXED:
            continue
        text = line[begin] == ord('"')
        first, last = (begin + 1, end - 1) if text else (begin, end)
        if role is Role.UNREADABLE or b'"' not in line[done:first]:
            return None
        stretches.append((done, first))
        fixed.extend(_pieces(line, done, first, marks, hole))
        values.append(Value(role, _name(path, prefix, role), _after(first, marks), _before(line, last, marks), text))
        done = last
    fixed.extend(_pieces(line + b"\n", done, len(line) + 1, marks, hole))
    if hole < 0:
        colons = _find_colons(line, marks, stretches)
        return Skeleton(kind, len(marks), marks[0], tuple(fixed), tuple(values), colons=colons)
    place = Value(Role.FIXED, "", _after(hole, marks), _before(line, hole, marks))
    spaced = line[hole - 2 : hole - 1] == b" "
    return Skeleton(kind, len(marks), marks[0], tuple(fixed), tuple(values), place, bisect_left(marks, hole), spaced)


def _find_colons(line: bytes, marks: list[int], stretches: list[tuple[int, int]]) -> Colons | None:
    """Say how the marks, all of which lie in `stretches` of fixed bytes or after them, are found from colons."""
    found: list[tuple[int, int]] = []
    for start, stop in stretches:
        colon = line.find(b":", start, stop)
        if colon < 0:
            return None
        number = line.count(b":", 0, colon)
        found.extend((number, mark - colon) for mark in marks if start <= mark < stop)
    found.extend((LINE_END, mark - len(line)) for mark in marks[len(found) :])
    return Colons(line.count(b":"), line.index(b":"), tuple(found))


def _prefix(event: dict[str, Any]) -> Path:
    return ("data",) if "specversion" in event else ()


def _nodes(line: bytes) -> Iterator[tuple[Path, int, int]]:
    """Yield path, start and end of every value in `line`, which is good JSON without escapes."""
    tokens = _TOKEN.finditer(line)

    def walk(path: Path, opening: re.Match[bytes]) -> Iterator[tuple[Path, int, int]]:
        if opening.group() not in _CONTAINERS:
            yield path, opening.start(), opening.end()
            return
        for at in count():
            token = next(tokens)
            if token.group() == b",":
                token = next(tokens)
            if token.group() in (b"}", b"]"):
                yield path, opening.start(), token.end()
                return
            if opening.group() == b"[":
                yield from walk((*path, at), token)
            else:
                next(tokens)  # the colon
                yield from walk((*path, token.group()[1:-1].decode()), next(tokens))

    return walk((), next(tokens))


def _role(path: Path, first: bytes, prefix: Path, kind: RowKind) -> Role:
    """Return what the value at `path` that begins with `first` is to us."""
    if first in _CONTAINERS:
        return Role.FIXED
    text, number = first == b'"', first in b"-0123456789"
    other = Role.OTHER_TEXT if text else Role.OTHER_NUMBER if number else Role.FIXED
    if path[: len(prefix)] != prefix:
        return Role.FIXED if path in (("specversion",), ("type",)) else other
    key, *deeper = path[len(prefix) :]
    if key in ("window_id", "tenant_id"):
        role = Role.WINDOW_ID if key == "window_id" else Role.TENANT
        return role if text or number else Role.FIXED
    if key in ("label", "labels"):
        return Role.UNREADABLE if deeper else Role.LABEL_TEXT if text else Role.LABEL_NUMBER
    if kind is RowKind.LABEL:
        return other
    if key in ("window_start", "window_end"):
        return Role.START if key == "window_start" else Role.END
    if key == "features":
        return Role.FEATURE_TEXT if text else Role.FEATURE_NUMBER
    return other


def _name(path: Path, prefix: Path, role: Role) -> str:
    """Return the feature name that `path` stands for."""
    parts = path[len(prefix) + 1 :]
    if role is Role.FEATURE_TEXT and parts and isinstance(parts[-1], int):
        parts = parts[:-1]  # of a bag
    return ".".join(map(str, parts)) if role in (Role.FEATURE_TEXT, Role.FEATURE_NUMBER) else ""


def _after(at: int, marks: list[int]) -> tuple[int, int]:
    """Return byte `at` seen from the last quotation mark before it."""
    mark = bisect_left(marks, at) - 1
    return mark, at - marks[mark]


def _before(line: bytes, at: int, marks: list[int]) -> tuple[int, int]:
    """Return byte `at` seen from the quotation mark at or after it, or else from the end of the line."""
    mark = bisect_left(marks, at)
    return (mark, at - marks[mark]) if mark < len(marks) else (LINE_END, at - len(line))


def _pieces(line: bytes, start: int, stop: int, marks: list[int], hole: int) -> Iterator[Fixed]:
    """Cut up the fixed bytes from `start` to `stop`; none is seen across the hole. `line` ends with its newline."""
    if start < hole < stop:
        yield from _pieces(line, start, hole, marks, -1)
        yield from _pieces(line, hole, stop, marks, -1)
        return
    mark = bisect_left(marks, start)
    seen_from, base = (mark, marks[mark]) if mark < len(marks) and marks[mark] < stop else (LINE_END, len(line) - 1)
    for at in range(start, stop, PIECE):
        yield Fixed(seen_from, at - base, line[at : min(at + PIECE, stop)])
