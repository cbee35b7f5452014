"""What is not learned from as the rows it is kept as: dead letters, and windows that came too late."""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from upm_cli.core.window import Csr, Influence, LabelKind, RowKind, Strings, WindowBatch
from upm_cli.sources.base import Chunk, Reject

MAX_RAW_BYTES: Final = 64 << 10  # of one record; of a longer one the beginning is kept
ORPHAN: Final = (
    "no window with this id waits for a label: it has not come, was labelled already, or was released too long ago"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One record that is not in the log. `offset` is where it begins in its source.

    `kind` is record (it could not be decoded), label (ground truth without a window; then `offset` is where the
    chunk begins that held it) or feedback (a line of an agent, for `trainer`). `whole` tells whether `raw` is all of
    the record.
    """

    reason: str
    source: str
    offset: int
    raw: bytes
    kind: str = "record"
    whole: bool = True
    format: str = "jsonl"
    header: bytes = b""  # of a CSV file
    at_ms: int = 0
    trainer: str = ""

    def row(self) -> dict[str, Any]:
        """Return the JSON object that is stored."""
        row: dict[str, Any] = {"kind": self.kind, "reason": self.reason, "source": self.source, "offset": self.offset}
        row |= _text("raw", self.raw) | {"whole": self.whole, "format": self.format, "at_ms": self.at_ms}
        row |= {"trainer": self.trainer} if self.trainer else {}
        return row | _text("header", self.header) if self.header else row

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "DeadLetter":
        return cls(
            reason=row["reason"],
            source=row["source"],
            offset=row["offset"],
            raw=_bytes("raw", row),
            kind=row["kind"],
            whole=row["whole"],
            format=row["format"],
            header=_bytes("header", row),
            at_ms=row["at_ms"],
            trainer=row.get("trainer", ""),
        )


def of_reject(reject: Reject, chunk: Chunk, at_ms: int) -> dict[str, Any]:
    """Return the row of a record that could not be decoded."""
    is_csv = chunk.format == "csv"
    return DeadLetter(
        reason=reject.reason,
        source=chunk.source,
        offset=reject.offset,
        raw=reject.raw[:MAX_RAW_BYTES],
        whole=len(reject.raw) < MAX_RAW_BYTES,
        format="csv" if is_csv else "jsonl",  # the rows of a Parquet file are kept as JSON
        header=chunk.header if is_csv else b"",
        at_ms=at_ms,
    ).row()


def of_orphans(labels: WindowBatch, chunk: Chunk, at_ms: int) -> list[dict[str, Any]]:
    """Return the rows of labels without a window."""
    return [
        DeadLetter(
            reason=ORPHAN,
            source=chunk.source,
            offset=chunk.offset,
            raw=_label_line(labels, i),
            kind="label",
            at_ms=at_ms,
        ).row()
        for i in range(len(labels))
    ]


def of_late(late: WindowBatch) -> list[dict[str, Any]]:
    """Return windows as rows of the late ledger: times in Unix milliseconds, features as the log keeps them."""
    bounds = late.x.indptr.tolist()
    index, value = late.x.index.tolist(), late.x.value.tolist()
    asked = [{}] * len(late) if late.influence is None else [_asked(late.influence, i) for i in range(len(late))]
    return [
        {
            "window_id": late.window_id[i],
            "window_start": int(late.start_ms[i]),
            "window_end": int(late.end_ms[i]),
            "tenant_id": late.tenant[i] or None,
            "label_kind": int(late.label_kind[i]),
            "label_value": None if math.isnan(late.label_value[i]) else float(late.label_value[i]),
            "label_text": late.label_text[i],
            "index": index[bounds[i] : bounds[i + 1]],
            "value": value[bounds[i] : bounds[i + 1]],
            **asked[i],
        }
        for i in range(len(late))
    ]


def _asked(influence: Influence, row: int) -> dict[str, int]:
    """Return which model was asked about a window, and whether it acted (Acted); nothing where none was."""
    version = int(influence.version[row])
    return {"served_version": version, "acted": int(influence.acted[row])} if version else {}


def late_batch(rows: Sequence[Mapping[str, Any]]) -> WindowBatch:
    """Return the windows of late rows; the reverse of `of_late`."""
    value = [math.nan if row["label_value"] is None else row["label_value"] for row in rows]
    bounds = np.concatenate([[0], np.cumsum([len(row["index"]) for row in rows], dtype=np.int64)])
    return WindowBatch(
        np.full(len(rows), RowKind.WINDOW, np.uint8),
        Strings.of(row["window_id"] for row in rows),
        Strings.of(row["tenant_id"] or "" for row in rows),
        np.array([row["window_start"] for row in rows], np.int64),
        np.array([row["window_end"] for row in rows], np.int64),
        np.array([row["label_kind"] for row in rows], np.uint8),
        np.array(value, np.float64),
        Strings.of(row["label_text"] for row in rows),
        Csr(
            bounds.astype(np.int64),
            np.array([index for row in rows for index in row["index"]], np.uint32),
            np.array([number for row in rows for number in row["value"]], np.float32),
        ),
        _influence(rows),
    )


def _influence(rows: Sequence[Mapping[str, Any]]) -> Influence | None:
    if not any("served_version" in row for row in rows):
        return None
    version = np.array([row.get("served_version", 0) for row in rows], np.int32)
    return Influence(version, np.array([row.get("acted", 0) for row in rows], np.uint8))


def _label_line(labels: WindowBatch, row: int) -> bytes:
    label: Any = float(labels.label_value[row])
    match labels.label_kind[row]:
        case LabelKind.BOOL:
            label = bool(label)
        case LabelKind.CLASS:
            label = labels.label_text[row]
        case LabelKind.MAP:
            label = json.loads(labels.label_text[row])
    event = {"window_id": labels.window_id[row], "label": label}
    if tenant := labels.tenant[row]:
        event["tenant_id"] = tenant
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


def _text(name: str, raw: bytes) -> dict[str, str]:
    try:
        return {name: raw.decode()}
    except UnicodeDecodeError:
        return {name: raw.decode(errors="replace"), f"{name}_base64": base64.b64encode(raw).decode()}


def _bytes(name: str, row: Mapping[str, Any]) -> bytes:
    if f"{name}_base64" in row:
        return base64.b64decode(row[f"{name}_base64"])
    return str(row.get(name, "")).encode()
