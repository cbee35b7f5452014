"""What the gates said when they refused: before the error, each with its number and what would satisfy it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from upm_cli.commands._context import Context
from upm_cli.errors import RefusedError

_WORDS: Final = ("gate", "allowed", "detail", "satisfy")


@contextmanager
def telling(ctx: Context, override: str = "") -> Iterator[None]:
    """Print what each gate said to a refusal inside the block, and the line that excepts them where that is possible.

    `override` is that line, empty where there is none.
    """
    try:
        yield
    except RefusedError as exc:
        for line in _lines(exc.context.get("gates"), override):
            ctx.say.note(line)
        raise


def _lines(gates: Any, override: str) -> Iterator[str]:
    said = [gate for gate in gates or () if isinstance(gate, Mapping)]
    refused = [gate for gate in said if not gate.get("allowed", True)]
    if not refused:
        return
    open_ones = [str(gate["gate"]) for gate in said if gate.get("allowed", True)]
    for gate in refused:
        yield f"  ✗ {gate['gate']:<10} {gate['detail']}{numbers(gate)}"
        if gate.get("satisfy"):
            yield f"    {'':<10} → {gate['satisfy']}"
    if open_ones:
        yield f"  ✓ {', '.join(open_ones)}"
    if override and all(_can_be_excepted(gate) for gate in refused):
        yield f"  override: {override}   (needs the role admin; on the record)"


def numbers(gate: Mapping[str, Any]) -> str:
    """Return the numbers a gate went by, in brackets; empty where it has none."""
    found = {key: value for key, value in gate.items() if key not in _WORDS}
    told = [
        f"{key} {_value(value)}" for key, value in found.items() if not (value is None or isinstance(value, Mapping))
    ]
    return f"   ({', '.join(told)})" if told else ""


def _value(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


def _can_be_excepted(gate: Mapping[str, Any]) -> bool:
    from upm_cli.core.gates import may_be_excepted

    return may_be_excepted(gate["gate"], gate)
