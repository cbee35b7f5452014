"""A decoded JSON object → what one row of the log needs of it: bare window, ground truth, or either in an envelope."""

import re
from typing import Any, Final

from upm_cli.core.window import RowKind
from upm_cli.sources.base import MAX_ID_BYTES
from upm_cli.sources.features import Pairs
from upm_cli.sources.labels import Label, parse_label
from upm_cli.sources.refusal import Refusal
from upm_cli.sources.times import parse_time

CREATED: Final = "system.feature_window.created"
LABELLED: Final = "system.feature_window.labelled"
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f]")

Object = dict[str, Any] | Pairs
Head = tuple[RowKind, str, str, int, int]  # kind, window_id, tenant, start_ms, end_ms


def read_row(event: Object) -> tuple[Head, Label, Object | None]:
    """Return head, label and features (None for ground truth) of `event`. Raises Refusal."""
    fields = single(event)
    if "specversion" not in fields:
        return _read_body(fields, None)
    if fields["specversion"] != "1.0":
        raise Refusal("the envelope is not CloudEvents 1.0")
    kind = fields.get("type")
    if kind not in (CREATED, LABELLED):
        raise Refusal(f"the event type is neither {CREATED} nor {LABELLED}")
    data = fields.get("data")
    if not isinstance(data, dict | Pairs):
        raise Refusal("the envelope has no object in data")
    return _read_body(single(data), RowKind.WINDOW if kind == CREATED else RowKind.LABEL)


def single(pairs: Object) -> dict[str, Any]:
    """Return `pairs` as a dict; raises Refusal when a key occurs twice."""
    if isinstance(pairs, dict):
        return pairs
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise Refusal("a key occurs twice")
    return fields


def _read_body(fields: dict[str, Any], kind: RowKind | None) -> tuple[Head, Label, Object | None]:
    if "label" in fields and "labels" in fields:
        raise Refusal("both label and labels are given")
    label = parse_label(fields["labels"] if "labels" in fields else fields.get("label"))
    window_id = _identifier(fields, "window_id")
    if not window_id:
        raise Refusal("window_id is missing")
    tenant = _identifier(fields, "tenant_id")
    if kind is None:
        bare = not fields.keys() & {"features", "window_start", "window_end"}
        kind = RowKind.LABEL if bare and label[0] else RowKind.WINDOW
    if kind is RowKind.LABEL:
        if not label[0]:
            raise Refusal("label is missing")
        return (kind, window_id, tenant, 0, 0), label, None
    start_ms, end_ms = _instant(fields, "window_start"), _instant(fields, "window_end")
    if end_ms < start_ms:
        raise Refusal("window_end is before window_start")
    features = fields.get("features")
    if not isinstance(features, dict | Pairs):
        raise Refusal("features is not an object" if features is not None else "features is missing")
    return (kind, window_id, tenant, start_ms, end_ms), label, features


def _identifier(fields: dict[str, Any], key: str) -> str:
    """Return the id under `key` as text, "" when it is absent or null."""
    value = fields.get(key)
    return "" if value is None else identifier(value, key)


def identifier(value: Any, key: str) -> str:
    """Return the id `value` as text; `key` is what it is called. Raises Refusal."""
    if type(value) is int:
        value = str(value)
    if type(value) is not str:
        raise Refusal(f"{key} is neither text nor an integer")
    if value.isascii() and value.isprintable() and 0 < len(value) <= MAX_ID_BYTES:
        return value
    if not value or len(value.encode()) > MAX_ID_BYTES:
        raise Refusal(f"{key} is empty" if not value else f"{key} is longer than {MAX_ID_BYTES} bytes")
    if _CONTROL.search(value):
        raise Refusal(f"{key} holds control characters")
    return value


def _instant(fields: dict[str, Any], key: str) -> int:
    value = fields.get(key)
    if value is None:
        raise Refusal(f"{key} is missing")
    return parse_time(value, key)
