"""The numbers of a ledger entry as lines: what each gate said, and every value under its name."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

_GATE: Final = ("gate", "allowed", "detail", "satisfy")


def gates_of(details: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what each gate said in a decision; they are among its numbers."""
    return [number for number in (details.get("numbers") or {}).values() if is_gate(number)]


def is_gate(number: Any) -> bool:
    """Say whether one of the numbers of an entry is what a gate said."""
    return isinstance(number, Mapping) and "gate" in number and "allowed" in number


def gate_line(gate: Mapping[str, Any]) -> str:
    """Return what a gate said on one line, with its numbers."""
    mark = "✓" if gate["allowed"] else "✗"
    numbers = {key: value for key, value in gate.items() if key not in _GATE}
    told = ", ".join(f"{key} {_value(value)}" for key, value in numbers.items() if value is not None)
    text = "   ".join(filter(None, (str(gate.get("detail", "")), told and f"({told})")))
    return f"  {mark} {gate['gate']:<12} {text}".rstrip()


def pairs(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield one line for each value, those of nested mappings under dotted names."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from pairs(value, f"{prefix}{key}.")
        elif value not in (None, "", [], {}):
            yield f"  {prefix + key:<22} {_value(value)}"


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        shown = ", ".join(_value(each) for each in value[:12])
        return shown + (f" … ({len(value)})" if len(value) > 12 else "")
    return json.dumps(value, ensure_ascii=False) if isinstance(value, Mapping) else str(value)
