"""Ground truth as it comes in JSON → kind, value and text of a label."""

import json
import math
from typing import Any

from upm_cli.core.window import LabelKind
from upm_cli.sources.base import MAX_ID_BYTES
from upm_cli.sources.features import Pairs
from upm_cli.sources.refusal import Refusal

Label = tuple[LabelKind, float, str]
NO_LABEL: Label = (LabelKind.NONE, math.nan, "")


def parse_label(value: Any) -> Label:
    """Return kind, value and text of the label `value`; null is no label. Raises Refusal."""
    kind = type(value)
    if value is None:
        return NO_LABEL
    if kind is bool:
        return LabelKind.BOOL, float(value), ""
    if kind is int or kind is float:
        return LabelKind.NUMBER, _finite(value) + 0.0, ""
    if kind is str:
        if not value or len(value.encode()) > MAX_ID_BYTES:
            raise Refusal(f"a class label is 1 to {MAX_ID_BYTES} bytes of text")
        return LabelKind.CLASS, math.nan, value
    if kind is dict or kind is Pairs:
        return LabelKind.MAP, math.nan, _canonical(value)
    raise Refusal("a label is a number, true or false, a class name, or an object of numbers")


def _canonical(value: dict[str, Any] | Pairs) -> str:
    """Return the map as JSON with sorted keys and no spaces, every number as a double."""
    items = dict(value)
    if len(items) != len(value):
        raise Refusal("a key occurs twice in the label")
    if not items:
        raise Refusal("a label object is empty")
    if not all(type(number) in (int, float) for number in items.values()):
        raise Refusal("a label object holds something other than numbers")
    numbers = {key: _finite(number) + 0.0 for key, number in items.items()}
    return json.dumps(numbers, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _finite(value: float) -> float:
    try:
        number = float(value)
    except OverflowError as exc:
        raise Refusal("a label number is too large") from exc
    if not math.isfinite(number):
        raise Refusal("a label number is not finite")
    return number
