"""The registry against the names that the seed promised, and the page that is made from it."""

from pathlib import Path

from upm_cli.core.event import EVENTS, TELEMETRY
from upm_cli.core.event_docs import markdown

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "events.md"

SEED_EVENTS = {
    "system.feature_window.created": "window_id window_start window_end features",
    "ai.upm.snapshot.created": "snapshot_id trainer_id version created_at metadata",
    "ai.upm.snapshot.activated": "snapshot_id trainer_id version activated_at previous_snapshot_id",
    "ai.upm.shadow_delta": "trainer_id prediction_id shadow_prediction ground_truth drift_score timestamp",
    "ai.upm.drift.quarantine": "trainer_id drift_window_id drift_p95 threshold recommendation quarantined_at",
    "ai.upm.rollback": "trainer_id from_snapshot_id to_snapshot_id reason rolled_back_at",
}
SEED_TELEMETRY = {
    "upm.trainer.update": "loss duration_ms window_count",
    "upm.trainer.snapshot": "snapshot_id version size_bytes",
    "upm.replay_buffer.add": "window_id buffer_size",
    "upm.replay_buffer.release": "count sequence_start sequence_end",
    "upm.replay_buffer.duplicate": "window_id",
    "upm.replay_buffer.late_arrival": "window_id delay_ms",
    "upm.drift.score": "drift_p95 drift_mean drift_max sample_count",
    "upm.drift.quarantine": "trainer_id drift_p95 threshold",
    "upm.adapter.sync.start": "snapshot_id adapter_count",
    "upm.adapter.sync.success": "adapter_id snapshot_id duration_ms",
    "upm.adapter.sync.failure": "adapter_id snapshot_id reason retry_count",
}


def test_every_event_of_the_seed_has_its_fields() -> None:
    assert {name: " ".join(EVENTS[name].fields) for name in SEED_EVENTS} == SEED_EVENTS


def test_every_measurement_of_the_seed_is_there_as_it_was() -> None:
    found = {name: " ".join(each.name for each in kind.measurements) for name, kind in TELEMETRY.items()}
    assert {name: found[name] for name in SEED_TELEMETRY} == SEED_TELEMETRY
    assert found.keys() - SEED_TELEMETRY.keys() == {"upm.evidence.verdict"}


def test_events_say_which_of_their_fields_are_missing_or_unknown() -> None:
    event = EVENTS["ai.upm.rollback"]
    good = dict.fromkeys(event.fields, "x")
    assert event.problems(good) == []
    assert event.problems({**good, "epoch": 3}) == []
    del good["reason"]
    assert event.problems({**good, "raison": "x"}) == [
        "ai.upm.rollback: no field 'reason'",
        "ai.upm.rollback: unknown field 'raison'",
    ]


def test_the_reference_page_is_the_one_made_from_the_registry() -> None:
    assert PAGE.read_text(encoding="utf-8") == markdown(), "write it again: python .ci/write_reference.py"
