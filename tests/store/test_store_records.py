"""Every record comes back from its table as it went in."""

import dataclasses
import itertools
import typing
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from upm_cli.clock import SystemClock
from upm_cli.core import records
from upm_cli.errors import InvalidError, NotFoundError
from upm_cli.store import (
    activations,
    anchors,
    drift,
    dwells,
    evidence,
    feature_watches,
    feedback,
    freezes,
    incidents,
    monitors,
    notifiers,
    overrides,
    pins,
    queries,
    rollouts,
    segments,
    signoffs,
    snapshots,
    sources,
    streams,
    tenant_rules,
    trainers,
)
from upm_cli.store.rows import codec
from upm_cli.store.session import Reader, Store, Tx

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
COUNT = st.integers(0, 2**62)
INSTANT = st.integers(-62_135_596_800_000, 253_402_300_799_999)  # the years 1 to 9999
FLOAT = st.floats(allow_nan=False)
JSON = st.dictionaries(TEXT, st.none() | st.booleans() | st.integers() | st.floats(-1e300, 1e300) | TEXT, max_size=3)
DIGEST = st.text("0123456789abcdef", min_size=64, max_size=64)
SPECIAL: dict[str, st.SearchStrategy[Any]] = {
    "digest": DIGEST,
    "file_digest": DIGEST,
    "codec": st.sampled_from(["zstd", "gzip", "none"]),
    "desired": st.sampled_from(["run", "pause"]),
    "phase": st.sampled_from(["pending", "progressing", "paused", "promoted", "aborted", "degraded"]),
    "kind": st.sampled_from(["lineage", "candidate"]),
    "rule": st.sampled_from(["allow", "deny", "hold"]),
    "item": st.sampled_from(["dashboard", "runbook"]),
    "number": st.integers(1, 2**31),
    "stage": st.integers(0, 100),
    "shadow_s": st.floats(0, 1e12),
    "verdict": st.sampled_from(["pass", "fail", "unknown"]),
    "recommendation": st.sampled_from([None, "rollback", "pause"]),
    "version": st.integers(1, 2**31),
    "percent": st.integers(0, 100),
    "last_seq": st.integers(2**62, 2**63 - 1),
    "lineage": st.lists(JSON, max_size=2).map(tuple),
    "signatures": st.lists(JSON, max_size=2).map(tuple),
    "drifting": st.lists(JSON, max_size=2).map(tuple),
}


def values(name: str, hint: Any) -> st.SearchStrategy[Any]:
    if name in SPECIAL:
        return SPECIAL[name]
    if typing.get_origin(hint) not in (None, Mapping) and type(None) in typing.get_args(hint):
        (inner,) = (part for part in typing.get_args(hint) if part is not type(None))
        return st.none() | values(name, inner)
    if name.endswith("_ms"):
        return INSTANT
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(hint)
    plain = {str: TEXT, int: COUNT, float: FLOAT, bool: st.booleans()}
    return plain.get(hint, JSON)


def any_of(record: type) -> st.SearchStrategy[Any]:
    hints = typing.get_type_hints(record)
    return st.builds(
        record, **{field.name: values(field.name, hints[field.name]) for field in dataclasses.fields(record)}
    )


def key(*fields: str) -> Callable[[Any], list[Any]]:
    return lambda record: [getattr(record, field) for field in fields]


numbers = itertools.count(1)


def drift_windows(r: Reader, w: records.DriftWindow) -> Any:
    return next((x for x in drift.list_for(r, w.trainer) if x.window_id == w.window_id), None)


PUT: dict[type, tuple[Callable[[Tx, Any], None], Callable[[Reader, Any], Any]]] = {
    records.Stream: (streams.put, lambda r, x: streams.find(r, x.name)),
    records.SourcePosition: (
        sources.put,
        lambda r, x: next(p for p in sources.list_for(r, x.stream) if p.key == x.key),
    ),
    records.Trainer: (trainers.put, lambda r, x: trainers.get(r, x.name)),
    records.Snapshot: (snapshots.put, lambda r, x: snapshots.get(r, x.trainer, x.version)),
    records.DriftWindow: (drift.put, drift_windows),
    records.Monitor: (monitors.put, lambda r, x: monitors.get(r, x.trainer)),
    records.Pin: (pins.put, lambda r, x: pins.live(r, x.trainer)[x.ring]),
    records.RolloutRow: (rollouts.put, lambda r, x: rollouts.get(r, x.rollout_id)),
    records.Evidence: (evidence.put, lambda r, x: evidence.of(r, x.trainer)[x.kind]),
    records.TenantRule: (
        tenant_rules.put,
        lambda r, x: next(
            y for y in tenant_rules.list_for(r, x.trainer) if (y.tenant_id, y.rule) == (x.tenant_id, x.rule)
        ),
    ),
    records.Override: (overrides.put, lambda r, x: overrides.get(r, x.override_id)),
    records.Signoff: (signoffs.put, lambda r, x: signoffs.of(r, x.trainer)[x.item]),
    records.Freeze: (freezes.put, lambda r, x: next(y for y in freezes.list_all(r) if y.trainer == x.trainer)),
    records.Dwell: (dwells.put, lambda r, x: dwells.find(r, x.trainer)),
    records.Notifier: (notifiers.put, lambda r, x: notifiers.find(r, x.name)),
    records.FeatureWatch: (feature_watches.put, lambda r, x: feature_watches.find(r, x.trainer)),
    records.Feedback: (feedback.put, lambda r, x: feedback.get(r, x.trainer)),
    records.Anchor: (anchors.put, lambda r, x: anchors.find(r, x.trainer)),
}


@pytest.fixture(scope="module")
def tx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tx]:
    store = Store.create(tmp_path_factory.mktemp("records") / ".upm", SystemClock())
    with store.write() as tx:
        yield tx


@pytest.mark.parametrize("record", PUT, ids=lambda record: record.__name__)
def test_what_is_put_comes_back_whole_and_replaces_what_had_its_key(tx: Tx, record: type) -> None:
    put, find = PUT[record]

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(any_of(record))
    def check(value: Any) -> None:
        put(tx, value)
        assert find(tx, value) == value

    check()


def test_segments_come_back_whole(tx: Tx) -> None:
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(any_of(records.Segment), st.sampled_from(["log", "names", "dead", "late", "comparisons", "telemetry"]))
    def check(segment: records.Segment, kind: str) -> None:
        segment = dataclasses.replace(segment, owner=f"{next(numbers)}{segment.owner}", kind=kind)
        segments.add(tx, segment)
        assert segments.list_for(tx, kind, segment.owner) == [segment]
        segments.remove(tx, [segment])
        assert segments.list_for(tx, kind, segment.owner) == []

    check()


def test_activations_come_back_whole_and_the_newest_of_a_ring_is_live(tx: Tx) -> None:
    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(any_of(records.Activation), min_size=1, max_size=6), st.sampled_from(["activate", "rollback"]))
    def check(moves: list[records.Activation], kind: str) -> None:
        trainer = f"t{next(numbers)}"
        moves = [dataclasses.replace(move, trainer=trainer, epoch=n, kind=kind) for n, move in enumerate(moves)]
        for move in moves:
            activations.append(tx, move)
        assert activations.history(tx, trainer) == moves
        newest = {move.ring: move for move in moves}
        serving = {ring: move for ring, move in newest.items() if move.percent > 0 or ring is records.Ring.SHADOW}
        assert activations.live(tx, trainer) == serving, "at 0 % a ring for tenants serves nobody"

    check()


def test_incidents_come_back_whole(tx: Tx) -> None:
    @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
    @given(any_of(records.Incident))
    def check(incident: records.Incident) -> None:
        incident = dataclasses.replace(incident, incident_id=f"i{next(numbers)}", trainer=f"t{next(numbers)}")
        incidents.append(tx, incident)
        assert incidents.list_for(tx, incident.trainer) == [incident]

    check()


def test_a_monitor_that_never_ran_has_read_nothing(tx: Tx) -> None:
    assert monitors.get(tx, "nobody") == records.Monitor(trainer="nobody")


def test_an_unknown_trainer_is_answered_with_the_nearest_name(tmp_path: Path) -> None:
    store = Store.create(tmp_path / ".upm", SystemClock())
    with store.read() as r, pytest.raises(NotFoundError) as none_yet:
        trainers.get(r, "mian")
    with store.write() as tx:
        for name in ("main", "search", "fraud-eu"):
            trainers.put(tx, records.Trainer(name=name, stream=name))
    with store.read() as r:
        with pytest.raises(NotFoundError) as close:
            trainers.get(r, "mian")
        with pytest.raises(NotFoundError) as far:
            trainers.get(r, "zzzzz")
        assert trainers.find(r, "mian") is None
    assert "upm trainer add mian" in none_yet.value.hint
    assert "did you mean 'main'?" in close.value.hint
    assert "there are 3" in far.value.hint


def test_an_unknown_version_is_named(tx: Tx) -> None:
    with pytest.raises(NotFoundError, match="no snapshot version 99") as missing:
        snapshots.get(tx, "nobody", 99)
    assert missing.value.context == {"trainer": "nobody", "version": 99}


def test_only_drift_windows_that_end_after_an_instant_are_listed_oldest_first(tx: Tx) -> None:
    made = [
        records.DriftWindow(
            trainer="since", window_id=f"since/{n}", version=None, started_at_ms=n * 1000, closed_at_ms=n * 1000 + 1000,
            status=records.DriftStatus.CLOSED, verdict="pass", threshold=0.2, n=1, mean=0.1, p95=0.1, max=0.1,
        )
        for n in (2, 0, 1)
    ]  # fmt: skip
    for window in made:
        drift.put(tx, window)
    assert [w.window_id for w in drift.list_for(tx, "since")] == ["since/0", "since/1", "since/2"]
    assert [w.window_id for w in drift.list_for(tx, "since", since_ms=1000)] == ["since/1", "since/2"]


def test_an_instant_outside_the_calendar_is_refused(tx: Tx) -> None:
    with pytest.raises(InvalidError, match="no instant"):
        streams.put(tx, records.Stream(name="far", watermark_ms=2**60))


@pytest.mark.parametrize(
    "record",
    [records.Activation, records.DriftWindow, records.Incident, records.Monitor, records.OutboxEvent, records.Pin,
     records.Segment, records.Snapshot, records.SourcePosition, records.Stream, records.Trainer],
    ids=lambda record: record.__name__,
)  # fmt: skip
def test_every_record_has_a_table_with_exactly_its_columns(tx: Tx, record: type) -> None:
    table = {records.DriftWindow: "drift_windows", records.OutboxEvent: "outbox", records.SourcePosition: "sources"}
    aggregate = table.get(record, record.__name__.lower() + "s")
    columns = [column for column, *_ in tx._cursor.execute(f"DESCRIBE {aggregate}").fetchall()]
    assert sorted(columns) == sorted(codec(record).columns)


def test_named_sql_that_is_not_there_is_an_internal_error_that_names_what_is(tx: Tx) -> None:
    from upm_cli.errors import UpmError

    with pytest.raises(UpmError, match=r"no SQL named 'trainers.gett'; trainers.sql has .*find"):
        tx.query("trainers.gett")
    with pytest.raises(UpmError, match=r"no named SQL for 'train'"):
        queries.statement("train.get")
