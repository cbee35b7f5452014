"""Turn the words of a command line into values without Typer's way, which imports pydantic (about 100 ms of CPU).

Only text, numbers, flags and paths; a parameter of any other kind keeps Typer's own conversion.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

import typer


def use_plain_values(command: Any) -> None:
    """Give the parameters of a command, and of the commands below it, the plain conversion where it will do."""
    for param in command.params:
        plain_value(param)
    for inner in getattr(command, "commands", {}).values():
        use_plain_values(inner)


def plain_value(param: Any) -> Any:
    """Give one parameter the plain conversion where it will do; return it."""
    descriptor = getattr(param, "type_descriptor", None)
    if descriptor is None:
        return param  # another Typer: it converts in its own way
    kind = descriptor.annotation
    kind = get_args(kind)[0] if get_origin(kind) is list else kind
    if kind in _CONVERT and descriptor.parameter_info.parser is None:
        param._runtime_param = _Plain(_CONVERT[kind])
    return param


@dataclass(frozen=True, slots=True)
class _Plain:
    """Stands in for Typer's conversion of one parameter."""

    convert: Callable[[Any], Any]

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        many = param.multiple or param.nargs == -1
        if value is None:
            return () if many else None
        values = [self._one(item, param, ctx) for item in (value if many else [value])]
        return values if many else values[0]

    def _one(self, value: Any, param: Any, ctx: Any) -> Any:
        try:
            found = self.convert(value)
        except ValueError as exc:
            raise typer.BadParameter(f"{value!r} is not {_NAMES[self.convert]}", ctx=ctx, param=param) from exc
        if (param.min is not None and found < param.min) or (param.max is not None and found > param.max):
            limits = " and ".join(
                f"{word} {at}" for word, at in (("at least", param.min), ("at most", param.max)) if at is not None
            )
            raise typer.BadParameter(f"{value} must be {limits}", ctx=ctx, param=param)
        return found


_CONVERT: dict[Any, Callable[[Any], Any]] = {str: str, int: int, float: float, bool: bool, Path: Path}
_NAMES: dict[Any, str] = {int: "a whole number", float: "a number"}
