"""Feedback that is kept as rows: dead letters, and outcomes that came too late."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from upm_cli.core.feedback.lines import OUTCOME, Outcome, Prediction
from upm_cli.core.records import SourcePosition
from upm_cli.core.window import LabelKind
from upm_cli.ids import iso
from upm_cli.ops.dead_rows import MAX_RAW_BYTES, DeadLetter
from upm_cli.sources.base import Chunk
from upm_cli.sources.feedback import Line, decode_outcome

KIND = "feedback"  # of a dead letter
LATE = "outcome"  # of a row of the late ledger


def of_line(line: Line, chunk: Chunk, reason: str, trainer: str, at_ms: int) -> dict[str, Any]:
    """Return the dead letter of a line that was read and could not be used."""
    raw = chunk.data[line.offset - chunk.offset : line.end - chunk.offset].strip()
    return DeadLetter(
        reason=reason,
        source=chunk.source,
        offset=line.offset,
        raw=raw[:MAX_RAW_BYTES],
        kind=KIND,
        whole=len(raw) <= MAX_RAW_BYTES,
        trainer=trainer,
        at_ms=at_ms,
    ).row()


def of_outcome(outcome: Outcome, source: str, reason: str, trainer: str, at_ms: int) -> dict[str, Any]:
    """Return the dead letter of an outcome that can't be compared with its prediction."""
    raw = outcome_line(outcome)
    return DeadLetter(reason=reason, source=source, offset=0, raw=raw, kind=KIND, trainer=trainer, at_ms=at_ms).row()


def chunk_of(letter: DeadLetter) -> Chunk:
    """Return the line of a dead letter as it was read."""
    position = SourcePosition(stream="", key="", path=letter.source)
    return Chunk(letter.raw + b"\n", letter.offset, position, letter.source)


def late_row(outcome: Outcome, trainer: str) -> dict[str, Any]:
    """Return an outcome as a row of the late ledger, with the columns that late windows have."""
    served = outcome.served
    return {
        "kind": LATE,
        "trainer": trainer,
        "prediction_id": outcome.prediction_id,
        "window_id": served.window_id if served else None,
        "window_start": served.start_ms if served else outcome.observed_at_ms,
        "window_end": served.end_ms if served else outcome.observed_at_ms,
        "tenant_id": (served.tenant or None) if served else None,
        "label_kind": int(outcome.label.kind),
        "label_value": outcome.label.plain_value,
        "label_text": outcome.label.text,
        "line": outcome_line(outcome).decode(),
    }


def late_outcomes(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Outcome]]:
    """Return the outcomes among rows of the late ledger, by trainer; the reverse of `late_row`."""
    found: dict[str, list[Outcome]] = {}
    for row in rows:
        if is_outcome(row):
            found.setdefault(row["trainer"], []).append(decode_outcome(row["line"].encode()))
    return found


def is_outcome(row: Mapping[str, Any]) -> bool:
    """Say whether a row of the late ledger is an outcome; the others are windows."""
    return row.get("kind") == LATE


def outcome_line(outcome: Outcome) -> bytes:
    """Return an outcome as the line that tells it."""
    label: Any = outcome.label.plain_value
    match outcome.label.kind:
        case LabelKind.BOOL:
            label = bool(label)
        case LabelKind.CLASS:
            label = outcome.label.text
        case LabelKind.MAP:
            label = json.loads(outcome.label.text)
    line: dict[str, Any] = {
        "type": OUTCOME,
        "prediction_id": outcome.prediction_id,
        "label": label,
        "acted": outcome.acted,
        "observed_at": iso(outcome.observed_at_ms),
        "agent": outcome.agent,
    }
    if outcome.served is not None:
        line["served"] = _served(outcome.served)
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode()


def _served(made: Prediction) -> dict[str, Any]:
    return {
        "prediction_id": made.prediction_id,
        "window_id": made.window_id,
        "trainer": made.trainer,
        "tenant_id": made.tenant or None,
        "version": made.version,
        "digest": made.digest,
        "epoch": made.epoch,
        "agent": made.agent,
        "predicted_at": iso(made.predicted_at_ms),
        "window_start": iso(made.start_ms),
        "window_end": iso(made.end_ms),
        "prediction": dict(made.answer),
    }
