"""What stands in an agent's prediction log: one JSON object for each prediction, and for each outcome.

docs/reference/delivery.md has the fields; `upm ingest --kind outcomes` reads them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from upm_cli.agent.values import Prediction
from upm_cli.ids import iso

PREDICTION: Final = "ai.upm.prediction"
OUTCOME: Final = "ai.upm.outcome"

_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


@dataclass(frozen=True, slots=True)
class Record:
    """A prediction as it is logged: for which window, and by whom. `features` None: they are not to be logged."""

    prediction: Prediction
    trainer: str
    tenant: str
    start_ms: int
    end_ms: int
    features: Mapping[str, Any] | None = None


def prediction_line(record: Record, agent: str) -> bytes:
    """Return the line of a prediction, newline included."""
    plain = {"type": PREDICTION, **_served(record, agent)}
    if record.features is not None:
        plain["features"] = record.features
    return _line(plain)


def outcome_line(
    prediction_id: str, label: Any, *, acted: bool, observed_at_ms: int, agent: str, record: Record | None
) -> bytes:
    """Return the line of what came of a prediction; `record` is the prediction, where it is still remembered."""
    plain: dict[str, Any] = {
        "type": OUTCOME,
        "prediction_id": prediction_id,
        "label": label,
        "acted": acted,
        "observed_at": iso(observed_at_ms),
        "agent": agent,
    }
    if record is not None:
        plain["served"] = _served(record, agent)
    return _line(plain)


def _served(record: Record, agent: str) -> dict[str, Any]:
    prediction = record.prediction
    at_ms, at = prediction.predicted_at_ms, iso(prediction.predicted_at_ms)
    return {
        "prediction_id": prediction.id,
        "window_id": prediction.window_id,
        "trainer": record.trainer,
        "tenant_id": record.tenant or None,
        "version": prediction.version,
        "digest": prediction.digest,
        "epoch": prediction.epoch,
        "agent": agent,
        "predicted_at": at,
        "window_start": at if record.start_ms == at_ms else iso(record.start_ms),
        "window_end": at if record.end_ms == at_ms else iso(record.end_ms),
        "prediction": prediction.decoded,
    }


def _line(plain: Mapping[str, Any]) -> bytes:
    return _encode(plain).encode() + b"\n"
