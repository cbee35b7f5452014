"""One event for each comparison, in the order of the log, with the label as it was written."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from upm_cli.clock import SystemClock
from upm_cli.core.comparisons import Comparisons
from upm_cli.core.event import EVENTS
from upm_cli.core.records import Trainer
from upm_cli.core.window import Csr, LabelKind, RowKind, Strings, WindowBatch
from upm_cli.ops.events import cloud_events
from upm_cli.store import log, relation, segments, trainers
from upm_cli.store.session import Store

LABELS = [(LabelKind.BOOL, 1.0, ""), (LabelKind.NUMBER, 2.5, ""), (LabelKind.CLASS, np.nan, "spam"),
          (LabelKind.MAP, np.nan, '{"a":1.0}'), (LabelKind.NONE, np.nan, "")]  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.create(tmp_path / ".upm", SystemClock())
    with store.write() as tx:
        trainers.put(tx, Trainer(name="main", stream="mail"))
        for first in (0, 5):  # two segments of the log
            n = len(LABELS)
            kind, value, text = zip(*LABELS, strict=True)
            batch = WindowBatch(
                np.full(n, RowKind.WINDOW, np.uint8), Strings.of([f"w{first + i}" for i in range(n)]),
                Strings.of(["acme"] * n), np.arange(first, first + n) * 1000, np.arange(first, first + n) * 1000 + 999,
                np.array(kind, np.uint8), np.array(value), Strings.of(text), Csr.empty(n),
            )  # fmt: skip
            segments.add(tx, log.write(store.home, "mail", batch, first, 0))
        seq = np.array([0, 1, 2, 3, 5, 8])
        scores = np.array([0.25, np.nan, 1, 0.5, 0.75, 0.125], np.float32)
        table = Comparisons(
            seq, seq * 1000, Strings.of([f"w{i}" for i in seq]), Strings.of(["acme"] * 6),
            np.array([0.75, 2.0, 0.1, np.nan, 0.25, np.nan], np.float32), np.array([1, 2.5, 0, np.nan, 1, np.nan]),
            scores, scores, scores, scores,
        )  # fmt: skip
        segments.add(tx, log.write_comparisons(store.home, "main", table.slice(0, 5), 0))
        segments.add(tx, log.write_comparisons(store.home, "main", table.slice(5, 6), 0))
    return store


def deltas(store: Store, *patterns: str, since_ms: int | None = None) -> list[dict[str, Any]]:
    return [event for event in cloud_events(store, patterns, since_ms) if event["type"] == "ai.upm.shadow_delta"]


def test_every_comparison_is_an_event_with_the_fields_it_should_have(store: Store) -> None:
    found = deltas(store, "ai.upm.shadow_delta")
    assert [event["data"]["prediction_id"] for event in found] == ["0/w0", "1/w1", "2/w2", "3/w3", "5/w5", "8/w8"]
    assert [event["data"]["ground_truth"] for event in found] == [True, 2.5, "spam", {"a": 1.0}, True, {"a": 1.0}]
    assert [event["data"]["shadow_prediction"] for event in found] == [0.75, 2.0, 0.1, None, 0.25, None]
    assert [event["data"]["drift_score"] for event in found] == [0.25, None, 1.0, 0.5, 0.75, 0.125]
    assert found[-1]["data"]["timestamp"] == found[-1]["time"] == "1970-01-01T00:00:08.000Z"
    assert found[0]["source"] == "/trainers/main"
    for event in found:
        assert EVENTS["ai.upm.shadow_delta"].problems(event["data"]) == []
    assert json.loads(json.dumps(found)) == found


def test_bulk_comes_only_by_its_name(store: Store) -> None:
    assert deltas(store) == []
    assert deltas(store, "ai.upm.*") == []
    assert len(deltas(store, "ai.upm.shadow_*")) == 6


def test_since_is_the_event_time_of_the_window(store: Store) -> None:
    assert [event["data"]["prediction_id"] for event in deltas(store, "ai.upm.shadow_delta", since_ms=5000)] == [
        "5/w5",
        "8/w8",
    ]


def test_sql_has_them_as_a_view(store: Store) -> None:
    found = relation.query(store, "SELECT * FROM shadow_delta WHERE tenant_id = 'acme' ORDER BY seq")
    assert found.columns[:6] == [*EVENTS["ai.upm.shadow_delta"].fields]
    assert found.rows[3][:5] == ("main", "3/w3", None, None, 0.5)
    assert found.rows[0][:5] == ("main", "0/w0", 0.75, 1.0, 0.25)
