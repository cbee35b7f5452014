"""A look at a record that is no window, to help whoever wrote it."""

import json
import re
from typing import Any, Final

from upm_cli.core.refused import Look

_TABLE: Final = re.compile(rb"[^{}\[\]\x00-\x08]*\w[,;\t]\w[^{}\[\]\x00-\x08]*")


def look_at(raw: bytes) -> Look:
    """Return the names of the fields of a record, and what to do when it is no record at all."""
    text = raw.strip()
    try:
        event: Any = json.loads(text)
    except (ValueError, RecursionError):
        return Look(advice=_advice(text))
    if isinstance(event, dict) and "specversion" in event:
        event = event.get("data")
    if isinstance(event, dict):
        return Look(names=tuple(event))
    return Look(advice=_advice(text))


def _advice(text: bytes) -> str:
    if text.startswith(b"[") or text == b"{":
        return "it looks like one JSON document: each window has a line of its own, as jq -c '.[]' FILE makes it"
    if text.startswith(b"PK\x03\x04"):
        return "it looks like a zip archive: unpack it, or pack it with gzip or zstd"
    return "it looks like a table: try --format csv" if _TABLE.fullmatch(text) else ""
