"""One value against what its setting allows. Problems are collected, not raised: all of them are told at once."""

import math
from dataclasses import dataclass, field
from typing import Any

from upm_cli.config.fields import Spec, specs
from upm_cli.config.nodes import Node
from upm_cli.config.problems import Place, Problem
from upm_cli.errors import UsageError
from upm_cli.ids import check_name
from upm_cli.nearest import did_you_mean

_WRONG = object()
_SWITCH = {"1": True, "yes": True, "on": True, "true": True, "0": False, "no": False, "off": False, "false": False}
_WORDS = {"bool": "true or false", "int": "a whole number", "float": "a number", "str": "text"}


@dataclass
class Checker:
    """Turns nodes into values of settings.

    `lenient` is for variables and --set: it also takes "a,b" for a list, and 1, yes, on (0, no, off) for a switch.
    """

    lenient: bool = False
    problems: list[Problem] = field(default_factory=list)

    def value(self, spec: Spec, node: Node, path: str = "") -> tuple[bool, Any]:
        """Return (True, value), or (False, None) after noting what is wrong."""
        before = len(self.problems)
        found = self._value(spec, node, path or spec.path)
        return len(self.problems) == before, found

    def add(self, code: str, message: str, place: Place, key: str, fix: str = "") -> Any:
        self.problems.append(Problem(code=code, message=message, place=place, key=key, fix=fix))
        return _WRONG

    def _value(self, spec: Spec, node: Node, path: str) -> Any:
        if node.value is None:
            if spec.nullable:
                return None
            return self.add("UPM-C011", f"{path} is empty", node.place, path, "remove the line for the default")
        if spec.kind in ("names", "mapping", "items"):
            return getattr(self, f"_{spec.kind}")(spec, node, path)
        return self._scalar(spec, node, path)

    def _scalar(self, spec: Spec, node: Node, path: str) -> Any:
        value = node.value
        if self.lenient and spec.kind == "bool":
            value = _SWITCH.get(str(value).lower(), value)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if spec.kind == "int" and isinstance(value, float) and value.is_integer():
            value = int(value)
        fits = {
            "bool": isinstance(value, bool),
            "int": isinstance(value, int) and number,
            "float": number and math.isfinite(value),
            "str": isinstance(value, str),
        }[spec.kind]
        if not fits:
            fix = "put it in quotes" if spec.kind == "str" and not isinstance(value, list | dict) else ""
            said = f"{path} must be {_WORDS[spec.kind]}, got {_shown(value)}"
            return self.add("UPM-C011", said, node.place, path, fix)
        if number and not spec.allows(value):
            said = f"{path} must be {spec.bounds()}, got {_shown(value)}"
            return self.add("UPM-C012", said, node.place, path)
        if spec.choices and value not in spec.choices:
            said = f"{path} must be one of {', '.join(spec.choices)}, got {_shown(value)}"
            return self.add("UPM-C013", said, node.place, path, did_you_mean(value, spec.choices))
        return float(value) if spec.kind == "float" else value

    def _names(self, spec: Spec, node: Node, path: str) -> Any:
        """A list of texts without repetition."""
        if self.lenient and isinstance(node.value, str):
            return tuple(part.strip() for part in node.value.split(",") if part.strip())
        if not isinstance(node.value, list):
            return self.add("UPM-C011", f"{path} must be a list, got {_shown(node.value)}", node.place, path)
        texts = []
        for number, item in enumerate(node.value):
            if not isinstance(item.value, str) or not item.value:
                said = f"{path}[{number}] must be text, got {_shown(item.value)}"
                self.add("UPM-C011", said, item.place, path, "put it in quotes")
            elif item.value in texts:
                self.add("UPM-C015", f"{path} has {item.value!r} twice", item.place, path)
            else:
                texts.append(item.value)
        return tuple(texts)

    def _mapping(self, spec: Spec, node: Node, path: str) -> Any:
        """A mapping of name to text."""
        if not isinstance(node.value, dict):
            return self.add("UPM-C011", f"{path} must be a mapping, got {_shown(node.value)}", node.place, path)
        for name, (_, item) in node.value.items():
            if not isinstance(item.value, str) or not item.value:
                said = f"{path}.{name} must be text, got {_shown(item.value)}"
                self.add("UPM-C011", said, item.place, path, "put it in quotes")
        return {name: item.value for name, (_, item) in node.value.items()}

    def _items(self, spec: Spec, node: Node, path: str) -> Any:
        """A list of small sections, each with a name of its own."""
        assert spec.item is not None
        if not isinstance(node.value, list):
            return self.add("UPM-C011", f"{path} must be a list, got {_shown(node.value)}", node.place, path)
        items: list[Any] = []
        for number, entry in enumerate(node.value):
            item = self._item(spec.item, entry, f"{path}[{number}]")
            if item is None:
                continue
            if any(item.name == other.name for other in items):
                self.add("UPM-C015", f"{path} has {item.name!r} twice", entry.place, path)
            items.append(item)
        return tuple(items)

    def _item(self, kind: type[Any], node: Node, path: str) -> Any:
        if not isinstance(node.value, dict):
            said = f"{path} must be a mapping, got {_shown(node.value)}"
            self.add("UPM-C011", said, node.place, path, "write - name: …")
            return None
        known = specs(kind)
        given: dict[str, Any] = {}
        for name, (place, value) in node.value.items():
            if name not in known:
                self.unknown(name, place, path, list(known))
                continue
            right, found = self.value(known[name], value, f"{path}.{name}")
            if right:
                given[name] = found
        if "name" not in node.value:
            self.add("UPM-C014", f"{path} has no name", node.place, path)
            return None
        if "name" in given:
            self._check_name(given["name"], node.value["name"][1].place, f"{path}.name")
        return kind(**given)

    def unknown(self, name: str, place: Place, parent: str, known: list[str]) -> None:
        """Note a key that does not exist."""
        path = f"{parent}.{name}" if parent else name
        fix = did_you_mean(name, known) or f"known: {', '.join(known)}"
        self.add("UPM-C003", f"unknown key {name!r}", place, path, fix)

    def _check_name(self, name: str, place: Place, path: str) -> None:
        try:
            check_name(name, "trainer")
        except UsageError as exc:
            self.add("UPM-C014", exc.message, place, path, exc.hint)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    return str(value).lower() if isinstance(value, bool) else repr(value)[:80]
