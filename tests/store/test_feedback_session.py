"""Feedback over real state: every line in one place, compared and learned once, whatever order it comes in."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from upm_cli.clock import ManualClock
from upm_cli.core.feedback.join import JoinPolicy
from upm_cli.core.feedback.names import positions_key
from upm_cli.core.feedback.served import Served
from upm_cli.core.records import Feedback, Mode, Snapshot, SourcePosition, Stream, Trainer
from upm_cli.core.replay import ReplayPolicy
from upm_cli.core.window import Acted, RowKind, WindowBatch
from upm_cli.errors import IntegrityError, NotFoundError
from upm_cli.ops import dead_letters, served
from upm_cli.ops.dead_rows import DeadLetter
from upm_cli.ops.feedback import FeedbackSession
from upm_cli.ops.ingest import IngestSession
from upm_cli.ops.ingest_state import KEPT_STATES
from upm_cli.sources.base import Chunk
from upm_cli.sources.decoder import Decoder
from upm_cli.sources.discover import open_sources
from upm_cli.sources.feedback import FeedbackDecoder, Part
from upm_cli.store import feedback, fsio, log, segments, snapshots, sources, streams, trainers
from upm_cli.store.session import Store
from upm_cli.testing import MADE_UP_DIGEST, T0, of_agent

CLOCK = ManualClock(T0)
REPLAY = ReplayPolicy(release_delay_ms=5_000, late_window_tolerance_ms=60_000, max_buffer_size=100)
HOUR = 3_600_000
Event = dict[str, Any] | bytes


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.create(tmp_path / ".upm", CLOCK)
    with store.write() as tx:
        for name in ("main", "other"):
            trainers.put(tx, Trainer(name=name, stream="main", last_version=3))
        snapshots.put(tx, snapshot(3))
    yield store
    store.close()


def snapshot(version: int) -> Snapshot:
    return Snapshot(
        trainer="main",
        version=version,
        mode=Mode.SHADOW,
        digest=MADE_UP_DIGEST,
        file_digest="0" * 64,
        codec="none",
        path=f"blobs/{version}",
        size_bytes=1,
        raw_bytes=1,
    )


def chunk_of(*events: Event, offset: int = 0, source: str = "log.jsonl", stream: str = "main") -> Chunk:
    data = b"".join((e if isinstance(e, bytes) else json.dumps(e).encode()) + b"\n" for e in events)
    position = SourcePosition(stream=stream, key=source, path=source, offset=offset + len(data))
    return Chunk(data, offset, position, source)


class Site:
    """A worker's sessions on the stream and the feedback of trainer main."""

    def __init__(self, store: Store, policy: JoinPolicy | None = None, trainer: str = "main") -> None:
        self.store = store
        self.ingest = IngestSession.open(store, CLOCK, REPLAY, "main")
        self.decoder = Decoder(self.ingest.known_names())
        self.feedback = FeedbackSession.open(store, CLOCK, policy or JoinPolicy(), self.ingest, trainer)

    def told(self, *events: Event, source: str = "log.jsonl") -> Feedback:
        chunk = chunk_of(*events, source=source, stream=positions_key(self.feedback.row.trainer))
        decoded = FeedbackDecoder(self.decoder).decode(chunk)
        self.feedback.take([Part(chunk, decoded, decoded.lines, chunk.position)])
        self.ingest.commit()
        return check(self.feedback.row)

    def windows(self, *events: dict[str, Any]) -> None:
        chunk = chunk_of(*events)
        self.ingest.take(self.decoder.decode(chunk), chunk)
        self.ingest.commit()

    def end(self) -> Stream:
        self.ingest.end_input()
        return self.ingest.commit()


def check(row: Feedback) -> Feedback:
    assert row.read == row.predictions + row.outcomes + row.duplicate + row.dead_letter + row.elsewhere
    assert row.outcomes == row.compared + row.waiting + row.late
    assert row.compared == row.labelled + row.parked + row.unused
    return row


def window(number: int, **more: Any) -> dict[str, Any]:
    told, _ = of_agent(number)
    return {key: told[key] for key in ("window_id", "window_start", "window_end", "tenant_id", "features")} | more


def log_of(store: Store) -> WindowBatch:
    with store.read() as reader:
        files = segments.list_for(reader, "log", "main")
    return WindowBatch.concat([rows for _, rows in log.scan(store.home, files, 0)])


def rows_of(store: Store) -> list[tuple[str, str, float | None, int, int]]:
    """Return (kind, window, label, version asked, whether it acted) of each row that is no mark."""
    rows = log_of(store)
    asked = rows.influence
    return [
        (
            RowKind(int(rows.kind[i])).name,
            rows.window_id[i],
            None if np.isnan(rows.label_value[i]) else float(rows.label_value[i]),
            0 if asked is None else int(asked.version[i]),
            0 if asked is None else int(asked.acted[i]),
        )
        for i in np.flatnonzero(rows.kind < RowKind.END).tolist()
    ]


def served_of(store: Store, trainer: str = "main") -> Served:
    return Served.concat(list(served.follow(store, trainer)))


def letters_of(store: Store) -> list[DeadLetter]:
    return dead_letters.find(store, "main")


def test_a_prediction_is_a_window_and_its_outcome_the_label_that_comes_later(store: Store) -> None:
    site = Site(store)
    first, second = of_agent(1), of_agent(2, acted=False, label=0)
    row = site.told(first[0], second[0])
    assert (row.predictions, row.windows, row.open, row.compared) == (2, 2, 2, 0)
    site.end()
    row = site.told(second[1], first[1])
    site.end()
    assert (row.outcomes, row.compared, row.labelled, row.open) == (2, 2, 2, 0)
    assert rows_of(store) == [
        ("WINDOW", "w1", None, 3, Acted.UNKNOWN),
        ("WINDOW", "w2", None, 3, Acted.UNKNOWN),
        ("LABEL", "w2", 0.0, 3, Acted.NO),
        ("LABEL", "w1", 1.0, 3, Acted.YES),
    ]
    rows = log_of(store)
    assert rows.tenant.to_list()[:2] == ["t1", "t2"]
    assert rows.start_ms[:2].tolist() == [T0 + 1000, T0 + 2000]
    assert np.diff(rows.x.indptr)[:2].tolist() == [2, 2]


def test_what_met_is_kept_as_a_comparison_of_the_version_that_was_served(store: Store) -> None:
    site = Site(store)
    site.told(*of_agent(1, probability=None), of_agent(2)[0])
    site.told(of_agent(2, label=0, acted=False)[1])
    table = served_of(store)
    assert table.table.seq.tolist() == [0, 1]
    assert table.prediction_id.to_list() == [of_agent(n)[0]["prediction_id"] for n in (1, 2)]
    assert (table.version.tolist(), table.epoch.tolist(), table.acted.tolist()) == ([3, 3], [12, 12], [True, False])
    assert (table.digest.to_list(), table.agent.to_list()) == ([MADE_UP_DIGEST] * 2, ["edge-1"] * 2)
    np.testing.assert_allclose(table.table.score, [0.25, 0.75])
    np.testing.assert_allclose(table.table.brier, [0.0625, 0.5625])
    np.testing.assert_allclose(table.table.base_brier, [0.25, (2 / 3) ** 2], rtol=1e-6)  # before: nothing; one 1
    assert table.table.start_ms.tolist() == [T0 + 1000, T0 + 2000]
    assert table.task.to_list() == ["binary", "binary"]
    with store.read() as reader:
        assert segments.owners(reader, "comparisons") == ["main:served"]


def test_an_outcome_that_brings_its_prediction_is_compared_at_once_and_learned_when_the_window_comes(
    store: Store,
) -> None:
    told, outcome = of_agent(1)
    site = Site(store)
    row = site.told(outcome)
    assert (row.compared, row.parked, row.windows) == (1, 1, 0)
    site = Site(store)  # what waits is kept
    row = site.told(told)
    site.end()
    assert (row.predictions, row.parked, row.labelled, row.windows, row.open) == (1, 0, 1, 1, 0)
    assert rows_of(store) == [("WINDOW", "w1", 1.0, 3, Acted.YES)]
    assert len(served_of(store)) == 1


def test_a_window_that_came_by_another_way_is_labelled_by_the_outcome(store: Store) -> None:
    site = Site(store)
    site.windows(window(1))
    site.end()
    site.windows(window(200))  # the watermark is far behind the window by now
    told, outcome = of_agent(1)
    row = site.told(told, outcome)
    stream = site.end()
    assert (row.predictions, row.windows, row.labelled) == (1, 1, 1)
    assert (stream.read, stream.released, stream.duplicate, stream.late) == (3, 2, 1, 0)
    assert rows_of(store)[1] == ("LABEL", "w1", 1.0, 3, Acted.YES)


def test_a_window_that_comes_by_another_way_later_is_labelled_by_the_next_worker(store: Store) -> None:
    told, outcome = of_agent(1)
    del told["features"]
    row = Site(store).told(told, outcome)
    assert (row.predictions, row.windows, row.compared, row.parked) == (1, 0, 1, 1)
    windows_only = IngestSession.open(store, CLOCK, REPLAY, "main")
    chunk = chunk_of(window(1))
    windows_only.take(Decoder().decode(chunk), chunk)
    windows_only.end_input()
    windows_only.commit()
    site = Site(store)
    site.end()
    assert (check(site.feedback.row).labelled, site.feedback.row.parked) == (1, 0)
    assert rows_of(store)[-1] == ("LABEL", "w1", 1.0, 3, Acted.YES)


def test_the_first_label_of_a_window_wins_and_the_outcome_is_compared_all_the_same(store: Store) -> None:
    site = Site(store)
    site.windows(window(1, label=0))
    told, outcome = of_agent(1)
    row = site.told(told, outcome)
    site.end()
    assert (row.compared, row.labelled, row.unused) == (1, 0, 1)
    assert [row[:3] for row in rows_of(store)] == [("WINDOW", "w1", 0.0)]


def test_repeated_lines_are_dropped_and_counted(store: Store) -> None:
    told, outcome = of_agent(1)
    site = Site(store)
    assert site.told(told, told, outcome, outcome).duplicate == 2
    row = Site(store).told(told, outcome, source="a copy")
    site = Site(store)
    site.end()
    assert (row.read, row.predictions, row.outcomes, row.duplicate) == (6, 1, 1, 4)
    assert len(served_of(store)) == 1
    assert rows_of(store) == [("WINDOW", "w1", 1.0, 3, Acted.YES)]


def test_an_outcome_waits_for_its_prediction_over_a_restart(store: Store) -> None:
    told, outcome = of_agent(1)
    del outcome["served"]
    row = Site(store).told(outcome)
    assert (row.outcomes, row.waiting, row.compared) == (1, 1, 0)
    site = Site(store)
    row = site.told(told)
    site.end()
    assert (row.waiting, row.compared, row.labelled) == (0, 1, 1)
    assert rows_of(store) == [("WINDOW", "w1", 1.0, 3, Acted.YES)]


def test_an_outcome_that_waited_in_vain_is_kept_and_can_be_taken_again(store: Store) -> None:
    policy = JoinPolicy(horizon_ms=2 * HOUR)
    told, outcome = of_agent(1)
    del outcome["served"]
    site = Site(store, policy)
    site.told(outcome)
    row = site.told(*of_agent(20_000))
    assert (row.waiting, row.late, row.outcomes) == (0, 1, 2)
    (late,) = dead_letters.late_windows(store, "main")
    assert (late["kind"], late["prediction_id"], late["label_value"]) == ("outcome", outcome["prediction_id"], 1.0)
    site.told({**told, "predicted_at": of_agent(20_000)[0]["predicted_at"]})
    site.end()
    done = dead_letters.readmit_late(store, CLOCK, REPLAY, "main", join=policy)
    assert done.ingested == 2  # the outcome, and the window, which was late as well
    row = check(Site(store, policy).feedback.row)
    assert (row.late, row.compared, row.labelled, row.waiting) == (0, 2, 2, 0)
    assert dead_letters.late_windows(store, "main") == []
    assert [each[:3] for each in rows_of(store) if each[1] == "w1"] == [("WINDOW", "w1", None), ("LABEL", "w1", 1.0)]


def test_an_outcome_of_a_prediction_made_long_ago_is_late_and_kept_with_it(store: Store) -> None:
    policy = JoinPolicy(horizon_ms=2 * HOUR)
    site = Site(store, policy)
    site.told(of_agent(20_000)[0])
    row = site.told(of_agent(1)[1])
    assert (row.late, row.compared) == (1, 0)
    dead_letters.readmit_late(store, CLOCK, REPLAY, "main", join=policy)
    row = check(Site(store, policy).feedback.row)
    assert (row.late, row.compared) == (0, 1)
    assert served_of(store).version.tolist() == [3]


def test_a_model_that_was_never_made_can_not_have_answered(store: Store) -> None:
    site = Site(store)
    row = site.told(of_agent(1, version=9)[0], of_agent(2, digest="cd" * 32)[1], of_agent(3, version=2)[0])
    assert (row.dead_letter, row.predictions) == (2, 1)  # what became of version 2 nobody knows any more
    assert [letter.reason for letter in letters_of(store)] == [
        "main has made no version 9 yet",
        "version 3 of main has another digest",
    ]
    assert json.loads(letters_of(store)[0].raw) == of_agent(1, version=9)[0]


def test_a_version_that_is_made_meanwhile_is_known(store: Store) -> None:
    site = Site(store)
    with store.write() as tx:
        snapshots.put(tx, snapshot(4))
    assert site.told(of_agent(1, version=4)[0]).predictions == 1


def test_what_is_for_another_trainer_is_left_to_it(store: Store) -> None:
    told, outcome = of_agent(1, trainer="other")
    bare = {key: value for key, value in outcome.items() if key != "served"}
    site = Site(store)
    row = site.told(told, outcome, bare)
    assert (row.elsewhere, row.predictions, row.outcomes) == (3, 0, 0)
    assert letters_of(store) == []
    assert Site(store).told(bare).elsewhere == 4
    row = Site(store, trainer="other").told(told, outcome)
    assert (row.predictions, row.compared) == (1, 1)
    assert len(served_of(store, "other")) == 1


def test_what_can_not_be_compared_is_a_dead_letter_with_its_reason(store: Store) -> None:
    site = Site(store)
    number = {"prediction": 2.5}
    row = site.told(*of_agent(1), *of_agent(2, label="spam"), *of_agent(3, prediction=number, label=2.0))
    assert (row.predictions, row.compared, row.dead_letter) == (3, 1, 2)
    assert [letter.reason for letter in letters_of(store)] == [
        "the label is of another kind than binary labels are",
        "the prediction is regression, those before were binary",
    ]
    assert [letter.kind for letter in letters_of(store)] == ["feedback", "feedback"]
    done = dead_letters.retry(store, CLOCK, REPLAY, "main")
    assert (done.tried, done.ingested, done.left) == (2, 0, 2)
    assert check(Site(store).feedback.row).dead_letter == 2


def test_dead_letters_of_agents_are_taken_again_once_the_cause_is_gone(store: Store) -> None:
    site = Site(store)
    site.told(of_agent(1, version=4)[0], of_agent(1, version=4)[1], b"not JSON")
    with store.write() as tx:
        snapshots.put(tx, snapshot(4))
    done = dead_letters.retry(store, CLOCK, REPLAY, "main")
    assert (done.tried, done.ingested, done.left) == (3, 2, 1)
    row = check(Site(store).feedback.row)
    assert (row.read, row.predictions, row.compared, row.labelled, row.dead_letter) == (3, 1, 1, 1, 1)
    assert [letter.raw for letter in letters_of(store)] == [b"not JSON"]


@pytest.mark.parametrize(
    ("answer", "label", "score"),
    [
        ({"prediction": 2.5}, 4.0, 1.5),
        (
            {"prediction": "spam", "probability": 0.5, "probabilities": {"ham": 0.25, "spam": 0.5, "ads": 0.25}},
            "ham",
            1,
        ),
        ({"prediction": "spam", "probability": 0.5, "probabilities": {"ham": 0.5, "spam": 0.5}}, "new", 1),
        ({"prediction": {"height": 2.0, "width": 1.0}}, {"height": 2.5, "width": 3.0, "depth": 1.0}, 1.25),
    ],
)
def test_answers_of_every_task_are_scored(store: Store, answer: Any, label: Any, score: float) -> None:
    site = Site(store)
    row = site.told(*of_agent(1, prediction=answer, label=label))
    assert (row.compared, row.dead_letter) == (1, 0)
    table = served_of(store)
    np.testing.assert_allclose(table.table.score, [score])
    if "probabilities" in answer:
        wrong = sum(share**2 for name, share in answer["probabilities"].items() if name != label)
        right = (1 - answer["probabilities"].get(label, 0.0)) ** 2
        np.testing.assert_allclose(table.table.brier, [wrong + right], rtol=1e-6)
        assert table.label_text.to_list() == [label]
    state = Site(store).feedback.row.state_digest
    assert state is not None


def shuffled(seed: int) -> list[Event]:
    """Predictions and outcomes out of order, some twice, some without features or prediction, some broken."""
    chance = random.Random(seed)
    events: list[Event] = []
    for number in range(60):
        told, outcome = of_agent(number, label=number % 2, acted=number % 4 != 0)
        if number % 7 == 0:
            del told["features"]
        if number % 5 == 0:
            del outcome["served"]
        events += [told, outcome, *([told] if number % 6 == 0 else []), *([outcome] if number % 9 == 0 else [])]
    places = {id(event): place + chance.uniform(0, 30) for place, event in enumerate(events)}
    events.sort(key=lambda event: places[id(event)])
    return [each for event in events for each in ([event, b"{broken"] if chance.random() < 0.05 else [event])]


def outcome_of(store: Store) -> dict[str, Any]:
    """Everything that has to be the same however often a worker died."""
    with store.read() as reader:
        row, stream = feedback.get(reader, "main"), streams.find(reader, "main")
        read = [(each.key, each.offset) for each in sources.list_for(reader, positions_key("main"))]
    assert stream is not None
    table = served_of(store)
    numbers = ("read", "released", "pending", "duplicate", "late", "labels_read", "labels_joined", "labels_orphan")
    return {
        "feedback": {name: getattr(row, name) for name in Feedback.__slots__ if name not in ("state_digest",)},
        "stream": {name: getattr(stream, name) for name in numbers},
        "log": rows_of(store),
        "served": [
            *zip(table.prediction_id.to_list(), table.table.seq.tolist(), table.table.score.tolist(), strict=True)
        ],
        "letters": [letter.raw for letter in letters_of(store)],
        "read": read,
    }


class Died(BaseException):
    """The worker is gone."""


def run(home: Path, path: Path, *, die_at: int = 0) -> None:
    """Do what a worker does with a file of an agent; die before the `die_at`-th durable operation (0: never)."""
    left = [die_at]

    def before(operation: str, where: Path) -> None:
        left[0] -= 1
        if not left[0]:
            raise Died

    store = Store(home, CLOCK)
    fsio.faults.before = before
    try:
        site = Site(store)
        decode = FeedbackDecoder(site.decoder).decode
        known = {each.key: each for each in site.feedback.positions()}
        for source in open_sources(str(path), "jsonl", stream=positions_key("main"), known=[*known.values()]):
            for chunk in source.chunks(known.get(source.key), 9_000):
                decoded = decode(chunk)
                site.feedback.take([Part(chunk, decoded, decoded.lines, chunk.position)])
                site.ingest.commit()
        site.end()
    finally:
        fsio.faults.before = None
        store.close()


def new_home(folder: Path) -> Path:
    store = Store.create(folder / ".upm", CLOCK)
    with store.write() as tx:
        trainers.put(tx, Trainer(name="main", stream="main", last_version=3))
        snapshots.put(tx, snapshot(3))
    store.close()
    return folder / ".upm"


def test_a_worker_that_dies_anywhere_leaves_nothing_lost_and_nothing_twice(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"".join((e if isinstance(e, bytes) else json.dumps(e).encode()) + b"\n" for e in shuffled(1)))
    calm = new_home(tmp_path / "calm")
    run(calm, path)
    expected = outcome_of(Store(calm, CLOCK))
    check(Feedback(state_digest=None, **expected["feedback"]))
    assert expected["feedback"]["compared"] == 60
    assert expected["feedback"]["labelled"] + expected["feedback"]["parked"] == 60
    windows = sum(row[0] == "WINDOW" for row in expected["log"])
    assert windows == expected["stream"]["read"] == expected["feedback"]["windows"] == 51  # 9 have no features
    assert len({row[1] for row in expected["log"] if row[2] is not None}) == expected["feedback"]["labelled"] == 51

    stormy = new_home(tmp_path / "stormy")
    deaths = 0
    for die_at in range(1, 400, 5):
        try:
            run(stormy, path, die_at=die_at)
            break
        except Died:
            deaths += 1
    assert deaths > 5
    assert outcome_of(Store(stormy, CLOCK)) == expected


def test_a_damaged_state_is_refused_and_named(store: Store) -> None:
    site = Site(store)
    site.told(of_agent(1)[0])
    digest = site.feedback.row.state_digest
    assert digest is not None
    (blob,) = (store.home / "blobs").rglob(f"{digest}.*")
    blob.write_bytes(b"nothing")
    with pytest.raises(IntegrityError):
        Site(store)
    blob.unlink()
    with pytest.raises(IntegrityError, match="feedback of trainer main"):
        Site(store)


def test_feedback_of_a_trainer_that_is_not_there_is_refused(store: Store) -> None:
    with pytest.raises(NotFoundError):
        Site(store, trainer="nobody")


def test_old_states_of_what_waits_do_not_pile_up(store: Store) -> None:
    site = Site(store)
    for number in range(20):
        site.told(of_agent(number)[0])
    assert len(list((store.home / "blobs").rglob("*.zst"))) == 2 * KEPT_STATES
