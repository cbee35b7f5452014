"""What a setting is: its type, default, bounds and one line of documentation, kept with the dataclass field.

The sections in `schema` are written with `setting(…)`; everything else (checks, `upm config schema`, the
reference page, the file that `upm init` writes) is derived from `specs()`.
"""

import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from typing import Any


def setting(
    default: Any,
    doc: str,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] = (),
    nullable: str = "",
    learning: bool = False,
) -> Any:
    """Declare one field of a section.

    `nullable` says what null means, for fields that may be null. `learning` marks settings that change what is learned
    from a given log: they make up the configuration digest.
    """
    meta = {
        "doc": doc,
        "at_least": at_least,
        "above": above,
        "at_most": at_most,
        "below": below,
        "choices": choices,
        "nullable": nullable,
        "learning": learning,
    }
    if isinstance(default, Mapping):
        return field(default_factory=lambda: dict(default), metadata=meta)
    return field(default=default, metadata=meta)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """One setting as data. `kind`: bool, int, float, str, names (list of text), mapping (name → text), items."""

    path: str  # drift_monitor.drift_threshold
    kind: str
    default: Any
    doc: str
    at_least: float | None
    above: float | None
    at_most: float | None
    below: float | None
    choices: tuple[str, ...]
    nullable: str
    learning: bool
    item: type[Any] | None = None  # the dataclass of each item, for kind "items"

    @property
    def key(self) -> str:
        return self.path.rpartition(".")[2]

    def bounds(self) -> str:
        """Say what numbers are allowed, as in "at least 1 and below 2"; empty when all are."""
        words = (("at least", self.at_least), ("above", self.above), ("at most", self.at_most), ("below", self.below))
        return " and ".join(f"{word} {limit:,g}" for word, limit in words if limit is not None)

    def allows(self, number: float) -> bool:
        """Return whether `number` is inside the bounds."""
        return not (
            (self.at_least is not None and number < self.at_least)
            or (self.above is not None and number <= self.above)
            or (self.at_most is not None and number > self.at_most)
            or (self.below is not None and number >= self.below)
        )


def specs(section: type[Any], prefix: str = "") -> dict[str, Spec]:
    """Return the settings of a dataclass of sections, or of one section, by dotted path, in order."""
    found: dict[str, Spec] = {}
    hints = typing.get_type_hints(section)
    for one in fields(section):
        path = f"{prefix}{one.name}"
        hint = hints[one.name]
        if is_dataclass(hint):
            found |= specs(typing.cast("type[Any]", hint), f"{path}.")
        else:
            kind, item = _kind(hint)
            found[path] = Spec(path=path, kind=kind, item=item, default=default_of(one), **one.metadata)
    return found


def default_of(one: "Field[Any]") -> Any:
    """Return the default of a dataclass field; MISSING when it has to be given."""
    return one.default_factory() if one.default_factory is not MISSING else one.default


def _kind(hint: Any) -> tuple[str, type[Any] | None]:
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        hint = next(arm for arm in typing.get_args(hint) if arm is not type(None))
    if hint in (bool, int, float, str):
        return str(hint.__name__), None
    if typing.get_origin(hint) is tuple:
        item: type[Any] = typing.get_args(hint)[0]
        return ("names", None) if item is str else ("items", item)
    return "mapping", None
