"""YAML text → a tree of values that know their place.

Built from PyYAML's event stream, so no tag is ever constructed and nothing recurses on the input. Plain scalars follow
the YAML 1.2 core schema: `1e-3` is a number; `no`, `on` and `12:30` are text. Refused: a key twice, tags, merge keys,
a second document, more than 1 MiB, nesting deeper than 32, more than 10,000 values once aliases are followed.
"""

import re
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from upm_cli.config.problems import Place, Problem

MAX_BYTES: Final = 1 << 20
MAX_DEPTH: Final = 32
MAX_NODES: Final = 10_000

_NULL = re.compile(r"(?:null|Null|NULL|~|)")
_BOOL = re.compile(r"(?:true|True|TRUE|false|False|FALSE)")
_INT = re.compile(r"[-+]?[0-9]{1,300}|0o[0-7]{1,300}|0x[0-9a-fA-F]{1,300}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"([-+]?)\.(?:inf|Inf|INF)")
_NAN = re.compile(r"\.(?:nan|NaN|NAN)")
_STR_TAG = "tag:yaml.org,2002:str"

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(slots=True)
class Node:
    """A scalar (str, int, float, bool, None), a list of nodes, or a dict of key → (place of the key, node)."""

    value: Any
    place: Place
    size: int = 1  # values in here, aliases followed


@dataclass(slots=True)
class _Open:
    """A collection that is still being read."""

    node: Node
    anchor: str | None
    key: tuple[str, Place] | None = None  # of a mapping: the key whose value comes next
    at_key: bool = True


class Malformed(Exception):  # noqa: N818 - it carries problems, and never leaves this package
    """The text is no tree; `problem` says why."""

    def __init__(self, code: str, message: str, place: Place, fix: str = "") -> None:
        super().__init__(message)
        self.problem = Problem(code=code, message=message, place=place, fix=fix)


@dataclass
class _Builder:
    where: str
    problems: list[Problem] = field(default_factory=list)
    root: Node | None = None
    _stack: list[_Open] = field(default_factory=list)
    _anchors: dict[str, Node] = field(default_factory=dict)
    _documents: int = 0
    _size: int = 0

    def feed(self, event: Any) -> None:
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise Malformed("UPM-C002", "a second document begins here; one is read", self._place(event))
        elif isinstance(event, yaml.ScalarEvent):
            self._add(Node(self._scalar(event), self._place(event)), event)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.SequenceStartEvent | yaml.MappingStartEvent):
            self._refuse_tag(event)
            if len(self._stack) >= MAX_DEPTH:
                raise Malformed("UPM-C005", f"nested deeper than {MAX_DEPTH} levels", self._place(event))
            empty: Any = [] if isinstance(event, yaml.SequenceStartEvent) else {}
            self._stack.append(_Open(Node(empty, self._place(event)), event.anchor))
        elif isinstance(event, yaml.SequenceEndEvent | yaml.MappingEndEvent):
            done = self._stack.pop()
            self._put(done.node, done.anchor)

    def _add(self, node: Node, event: Any) -> None:
        self._refuse_tag(event)
        self._put(node, event.anchor)

    def _put(self, node: Node, anchor: str | None) -> None:
        """Hang a finished node into the collection it belongs to."""
        if anchor is not None:
            self._anchors[anchor] = node
        self._size += node.size if not isinstance(node.value, list | dict) else 1
        if self._size > MAX_NODES:
            raise Malformed("UPM-C005", f"more than {MAX_NODES:,} values", node.place)
        if not self._stack:
            self.root = node
            return
        parent = self._stack[-1]
        parent.node.size += node.size
        if isinstance(parent.node.value, list):
            parent.node.value.append(node)
        elif parent.at_key:
            parent.key = self._key(node)
            parent.at_key = False
        else:
            parent.at_key = True
            self._enter(parent, node)

    def _enter(self, parent: _Open, node: Node) -> None:
        assert parent.key is not None
        name, place = parent.key
        if name in parent.node.value:
            first = parent.node.value[name][0]
            self.problems.append(
                Problem(
                    code="UPM-C004",
                    message=f"key {name!r} is there twice",
                    place=place,
                    key=name,
                    fix=f"first in line {first.line}",
                )
            )
            return
        parent.node.value[name] = (place, node)

    def _key(self, node: Node) -> tuple[str, Place]:
        if isinstance(node.value, list | dict):
            raise Malformed("UPM-C002", "a key has to be text", node.place)
        if node.value == "<<":
            raise Malformed("UPM-C006", "merge keys (<<) are not read", node.place, "write the keys out")
        text = node.value if isinstance(node.value, str) else str(node.value).lower()
        return text, node.place

    def _alias(self, event: Any) -> None:
        place = self._place(event)
        node = self._anchors.get(event.anchor)
        if node is None:
            raise Malformed("UPM-C002", f"nothing finished is called '&{event.anchor}'", place)
        self._size += node.size
        self._put(Node(node.value, place, node.size), None)

    def _scalar(self, event: Any) -> Any:
        if event.tag is None and event.implicit[0]:
            return scalar(event.value)
        return event.value

    def _refuse_tag(self, event: Any) -> None:
        if event.tag not in (None, "!", _STR_TAG):
            raise Malformed("UPM-C006", f"tag {event.tag!r} is not read", self._place(event), "remove it")

    def _place(self, event: Any) -> Place:
        start, end = event.start_mark, event.end_mark
        width = end.column - start.column if end.line == start.line else 1
        return Place(where=self.where, line=start.line + 1, column=start.column + 1, width=max(1, width))


def scalar(text: str) -> Any:
    """Return the value of a plain scalar by the YAML 1.2 core schema."""
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text[0] in "tT"
    if _INT.fullmatch(text):
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if infinite := _INFINITE.fullmatch(text):
        return float(f"{infinite[1]}inf")
    return float("nan") if _NAN.fullmatch(text) else text


def parse(text: str, where: str) -> tuple[Node | None, list[Problem]]:
    """Return the tree in `text` (None when it is empty), and the problems that didn't stop the reading.

    Raises Malformed when it can't be read any further.
    """
    if len(text.encode(errors="surrogateescape")) > MAX_BYTES:
        raise Malformed("UPM-C005", f"larger than {MAX_BYTES >> 20} MiB", Place(where=where))
    builder = _Builder(where)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.feed(event)
    except yaml.YAMLError as exc:
        raise _malformed(exc, where) from exc
    root = builder.root
    return (None if root is None or root.value is None else root), builder.problems


def _malformed(exc: yaml.YAMLError, where: str) -> Malformed:
    mark = getattr(exc, "problem_mark", None) or getattr(exc, "context_mark", None)
    place = Place(where=where, line=mark.line + 1, column=mark.column + 1) if mark else Place(where=where)
    reason = getattr(exc, "problem", None) or getattr(exc, "reason", None) or str(exc)
    if "nesting depth" in reason:  # libyaml has a limit of its own, which the scanner may reach before we see an event
        return Malformed("UPM-C005", f"nested deeper than {MAX_DEPTH} levels", place)
    return Malformed("UPM-C002", f"not valid YAML: {reason}", place)
