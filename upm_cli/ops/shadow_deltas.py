"""`ai.upm.shadow_delta`: one event for each comparison, read from the segments when somebody asks for it.

What agents served comes after a trainer's shadow comparisons, and says so.
"""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from upm_cli.core.comparisons import Comparisons
from upm_cli.core.feedback.served import Served
from upm_cli.core.window import LabelKind, WindowBatch
from upm_cli.ids import iso
from upm_cli.ops import comparisons, served
from upm_cli.store import log, trainers
from upm_cli.store.session import Store


def shadow_deltas(store: Store, since_ms: int | None = None) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Yield (id, source, time, data) of each comparison, in the order of the log, one trainer after the other.

    Only windows that began at or after `since_ms`. The ground truth is the label as it stands in the log.
    """
    with store.read() as reader:
        every = trainers.list_all(reader)
    for trainer in every:
        rows = log.follow(store, trainer.stream, 0)
        first, batch = 0, WindowBatch.empty()
        for table in comparisons.follow(store, trainer.name):
            at = 0
            while at < len(table):
                while int(table.seq[at]) >= first + len(batch):
                    first, batch = next(rows)
                stop = int(table.seq.searchsorted(first + len(batch)))
                yield from _events(trainer.name, table.slice(at, stop), first, batch, since_ms)
                at = stop
        for part in served.follow(store, trainer.name):
            yield from _served(trainer.name, part, since_ms)


def _events(
    trainer: str, table: Comparisons, first: int, batch: WindowBatch, since_ms: int | None
) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    ids = table.window_id.to_list()
    for i in np.flatnonzero(table.start_ms >= (-(2**63) if since_ms is None else since_ms)).tolist():
        seq, at = int(table.seq[i]), iso(int(table.start_ms[i]))
        data = {
            "trainer_id": trainer,
            "prediction_id": f"{seq}/{ids[i]}",
            "shadow_prediction": _number(table.prediction[i]),
            "ground_truth": _label(batch, seq - first),
            "drift_score": _number(table.score[i]),
            "timestamp": at,
        }
        yield f"{trainer}-{seq}", f"/trainers/{trainer}", at, data


def _served(trainer: str, part: Served, since_ms: int | None) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    table, (keys, agents, digests) = part.table, (part.prediction_id, part.agent, part.digest)
    for i in np.flatnonzero(table.start_ms >= (-(2**63) if since_ms is None else since_ms)).tolist():
        at = iso(int(table.start_ms[i]))
        kind = LabelKind(int(part.label_kind[i]))
        data = {
            "trainer_id": trainer,
            "prediction_id": keys[i],
            "shadow_prediction": None,
            "ground_truth": _label_of(kind, float(table.truth[i]), part.label_text[i]),
            "drift_score": _number(table.score[i]),
            "timestamp": at,
            "served": {
                "prediction": _number(table.prediction[i]),
                "window_id": table.window_id[i],
                "tenant_id": table.tenant[i] or None,
                "version": int(part.version[i]),
                "digest": digests[i],
                "epoch": int(part.epoch[i]),
                "agent": agents[i],
                "acted": bool(part.acted[i]),
                "observed_at": iso(int(part.observed_ms[i])),
            },
        }
        yield f"{trainer}-served-{int(table.seq[i])}", f"/trainers/{trainer}/served", at, data


def _number(value: np.floating[Any]) -> float | None:
    """Return a float32 in the digits it has; None when it is not finite."""
    return float(f"{value:.7g}") if np.isfinite(value) else None


def _label(batch: WindowBatch, row: int) -> Any:
    """Return the label of a log row as it was written."""
    return _label_of(LabelKind(int(batch.label_kind[row])), float(batch.label_value[row]), batch.label_text[row])


def _label_of(kind: LabelKind, value: float, text: str) -> Any:
    if kind is LabelKind.BOOL:
        return bool(value)
    if kind is LabelKind.NUMBER:
        return value
    return json.loads(text) if kind is LabelKind.MAP else text
