"""The trainer's fold against a slow obvious loop, for any rows cut into any pieces and for a restart anywhere."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upm_cli.core import training
from upm_cli.core.comparisons import Comparisons
from upm_cli.core.learning import LearnerSpec, create
from upm_cli.core.learning.labels import LabelCodec
from upm_cli.core.training import Fold
from upm_cli.core.window import Csr, Influence, LabelKind, RowKind, Strings, WindowBatch

Label = int | float | bool | str | dict[str, float] | None
NAMES = ("height", "width")
MAX_CLASSES = 3
GOOD: dict[str, list[Label]] = {
    "binary": [0, 1, True, False],
    "multiclass": ["mail", "chat", "call"],
    "regression": [0.0, -2.5, 3],
    "structured": [{"height": 1.0, "width": -2.0}, {"width": 0.5}, {"height": 3.0, "unknown": 9.0}],
}
BAD: dict[str, list[Label]] = {
    "binary": [2, "yes", {"height": 1.0}, 1e13],
    "multiclass": [1, False, {"height": 1.0}],
    "regression": ["three", 2e12, True, {"height": 1.0}],
    "structured": [1, "wide", {"unknown": 1.0}, {"height": 1e13}],
}


@dataclass(frozen=True)
class Row:
    kind: RowKind
    label: Label = None
    x: tuple[tuple[int, float], ...] = ()
    of: int = -1  # LABEL: position of its window in the log


@dataclass
class Oracle:
    """What a person with a pencil would do: queue what can be learned, learn whenever the queue is full or flushed."""

    task: str
    batch_size: int
    outcome: dict[int, str] = field(default_factory=dict)  # position of a window → trained | unlabelled | dead_letter
    compared: list[tuple[int, float, float]] = field(default_factory=list)  # (seq, prediction, truth)
    refused: set[int] = field(default_factory=set)
    last_loss: float | None = None

    def __post_init__(self) -> None:
        spec = spec_of(self.task, self.batch_size)
        self.learner = create(spec)
        self.queue: list[tuple[int, Row, list[float]]] = []
        self.classes: list[str] = []

    def run(self, rows: Sequence[Row]) -> None:
        for seq, row in enumerate(rows):
            if row.kind is RowKind.END:
                self.learn()
            elif row.kind in (RowKind.WINDOW, RowKind.LABEL):
                self.see(seq, row)
            if len(self.queue) == self.batch_size:
                self.learn()
        self.waiting = [seq for seq, _, _ in self.queue]

    def see(self, seq: int, row: Row) -> None:
        if row.label is None:
            self.outcome[seq] = "unlabelled"
            return
        target = self.target(row.label)
        if target is not None:
            self.queue.append((seq, row, target))
            return
        self.refused.add(seq)
        if row.kind is RowKind.WINDOW:
            self.outcome[seq] = "dead_letter"

    def target(self, label: Label) -> list[float] | None:
        number = isinstance(label, int | float)
        if self.task == "binary":
            return [float(label)] if number and label in (0, 1) else None  # type: ignore[arg-type]
        if self.task == "regression":
            return [float(label)] if number and not isinstance(label, bool) and abs(label) <= 1e12 else None  # type: ignore[arg-type]
        if self.task == "multiclass":
            if not isinstance(label, str) or (label not in self.classes and len(self.classes) == MAX_CLASSES):
                return None
            if label not in self.classes:
                self.classes.append(label)
            return [float(self.classes.index(label))]
        if not isinstance(label, dict) or not set(label) & set(NAMES) or max(map(abs, label.values())) > 1e12:
            return None
        return [label.get(name, float("nan")) for name in NAMES]

    def learn(self) -> None:
        if not self.queue:
            return
        x = csr([row.x for _, row, _ in self.queue])
        y = np.array([target for _, _, target in self.queue], np.float32)
        done = self.learner.learn_many(x, y)
        if not done.rejected.all():
            self.last_loss = float(np.mean(done.losses[~done.rejected]))
        for k, (seq, row, target) in enumerate(self.queue):
            if done.rejected[k]:
                self.refused.add(seq)
                if row.kind is RowKind.WINDOW:
                    self.outcome[seq] = "dead_letter"
                continue
            self.outcome[seq if row.kind is RowKind.WINDOW else row.of] = "trained"
            prediction, truth = float(done.predictions[k, 0]), target[0]
            if self.task == "multiclass":
                prediction = float(done.predictions[k, int(truth)]) if truth < done.predictions.shape[1] else 0.0
            if self.task == "structured":
                prediction = truth = float("nan")
            self.compared.append((seq, prediction, truth))
        self.queue = []


def spec_of(task: str, batch_size: int) -> LearnerSpec:
    outputs = len(NAMES) if task == "structured" else 0
    return LearnerSpec(task=task, bits=4, batch_size=batch_size, max_classes=MAX_CLASSES, outputs=outputs)


def begin(task: str, batch_size: int) -> Fold:
    names = NAMES if task == "structured" else ()
    return Fold.begin(spec_of(task, batch_size), LabelCodec.begin(task, names, MAX_CLASSES))


def csr(rows: Sequence[Sequence[tuple[int, float]]]) -> Csr:
    flat = [pair for row in rows for pair in row]
    indptr = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    return Csr(indptr, np.array([i for i, _ in flat], np.uint32), np.array([v for _, v in flat], np.float32))


def batch_of(rows: Sequence[Row]) -> WindowBatch:
    n = len(rows)
    kind, value, text = np.zeros(n, np.uint8), np.full(n, np.nan), [""] * n
    for i, row in enumerate(rows):
        if isinstance(row.label, bool):
            kind[i], value[i] = LabelKind.BOOL, row.label
        elif isinstance(row.label, int | float):
            kind[i], value[i] = LabelKind.NUMBER, row.label
        elif isinstance(row.label, str):
            kind[i], text[i] = LabelKind.CLASS, row.label
        elif row.label is not None:
            kind[i], text[i] = LabelKind.MAP, json.dumps(row.label, sort_keys=True)
    is_mark = [row.kind >= RowKind.END for row in rows]
    ids = [
        "" if mark else f"w{row.of if row.of >= 0 else i}"
        for i, (row, mark) in enumerate(zip(rows, is_mark, strict=True))
    ]
    return WindowBatch(
        np.array([row.kind for row in rows], np.uint8),
        Strings.of(ids),
        Strings.of(["" if mark else f"t{i % 3}" for i, mark in enumerate(is_mark)]),
        np.arange(n, dtype=np.int64) * 1000,
        np.arange(n, dtype=np.int64) * 1000 + 999,
        kind,
        value,
        Strings.of(text),
        csr([row.x for row in rows]),
    )


FEATURES: list[tuple[tuple[int, float], ...]] = [
    (),
    ((0, 1.0),),
    ((1, -2.0), (7, 0.25)),
    ((3, 3.0), (3, 1.0), (15, -0.5)),
    ((7, 1.0), (0, 1.0)),
    ((2, 2e30),),  # refused by the learner
]
some_row = st.tuples(
    st.sampled_from([RowKind.WINDOW] * 8 + [RowKind.LABEL] * 2 + [RowKind.CUT, RowKind.END]),
    st.integers(0, 31),
    st.integers(0, len(FEATURES) - 1),
)


def logs(task: str) -> st.SearchStrategy[list[Row]]:
    """Rows as ingest writes them: a LABEL row belongs to an earlier window that came bare, and to one only."""
    labels = [*GOOD[task] * 3, *BAD[task]]

    def build(drawn: list[tuple[RowKind, int, int]]) -> list[Row]:
        rows: list[Row] = []
        bare: list[int] = []
        for kind, choice, which in drawn:
            label = labels[choice % len(labels)]
            if kind is RowKind.WINDOW:
                if choice >= 24:
                    bare.append(len(rows))
                rows.append(Row(kind, label if choice < 24 else None, FEATURES[which]))
            elif kind is RowKind.LABEL and bare:
                of = bare.pop(choice % len(bare))
                rows.append(Row(kind, label, rows[of].x, of))
            elif kind in (RowKind.END, RowKind.CUT):
                rows.append(Row(kind))
        return rows

    return st.lists(some_row, max_size=45).map(build)


cuttings = st.lists(st.integers(0, 45), max_size=8)
batch_sizes = st.sampled_from([1, 2, 3, 5, 32])
every_task = pytest.mark.parametrize("task", ["binary", "multiclass", "regression", "structured"])


def pieces(rows: WindowBatch, cuts: Sequence[int]) -> list[WindowBatch]:
    bounds = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})
    return [rows.slice(a, b) for a, b in pairwise(bounds)]


def knowledge(fold: Fold) -> dict[str, Any]:
    """Everything that decides how the fold goes on, comparable; weights bit by bit."""
    arrays, meta = fold.to_parts()
    return {
        "arrays": {name: (str(a.dtype), a.shape, a.tobytes()) for name, a in arrays.items()},
        "meta": json.dumps(meta, sort_keys=True),
        "tally": asdict(fold.tally),
        "manifest": json.dumps(fold.manifest_fields(), sort_keys=True),
        "position": fold.position,
    }


@dataclass
class Outcome:
    knowledge: dict[str, Any]
    comparisons: Comparisons
    refused: list[tuple[int, str, str]]
    at_marks: list[dict[str, Any]]


def run(fold: Fold, parts: Sequence[WindowBatch]) -> Outcome:
    compared, refused, at_marks = [], [], []
    for part in parts:
        for step in fold.advance(part):
            compared.append(step.comparisons)
            refused += [(one.seq, one.window_id, one.reason) for one in step.refused]
            if step.cut:
                at_marks.append(knowledge(fold))
    return Outcome(knowledge(fold), Comparisons.concat(compared), sorted(refused), at_marks)


def same(left: Comparisons, right: Comparisons) -> bool:
    for name in Comparisons.__slots__:
        a, b = getattr(left, name), getattr(right, name)
        a, b = (a.to_list(), b.to_list()) if isinstance(a, Strings) else (a.tobytes(), b.tobytes())
        if a != b:
            return False
    return True


@every_task
@settings(max_examples=100, deadline=None)
@given(data=st.data(), batch_size=batch_sizes, cuts=cuttings, span=st.integers(1, 12))
def test_however_the_rows_are_cut_into_pieces_the_same_is_known_at_every_mark(
    task: str, data: st.DataObject, batch_size: int, cuts: list[int], span: int
) -> None:
    rows = batch_of(data.draw(logs(task)))
    whole = run(begin(task, batch_size), [rows])
    with mock.patch.object(training, "SPAN_ROWS", span):
        cut = run(begin(task, batch_size), pieces(rows, cuts))
    assert cut.knowledge == whole.knowledge
    assert cut.refused == whole.refused
    assert same(cut.comparisons, whole.comparisons)
    assert cut.at_marks == whole.at_marks


@every_task
@settings(max_examples=40, deadline=None)
@given(data=st.data(), batch_size=batch_sizes, cuts=cuttings, seed=st.integers(0, 99))
def test_which_model_was_asked_is_counted_and_changes_nothing_else(
    task: str, data: st.DataObject, batch_size: int, cuts: list[int], seed: int
) -> None:
    rows = data.draw(logs(task))
    chance = np.random.default_rng(seed)
    asked = [(int(version), int(acted)) for version, acted in chance.integers(0, 3, (len(rows), 2))]
    influence = Influence(np.array([v for v, _ in asked], np.int32), np.array([a for _, a in asked], np.uint8))
    bare = run(begin(task, batch_size), [batch_of(rows)])
    fold = begin(task, batch_size)
    noted = run(fold, pieces(replace(batch_of(rows), influence=influence), cuts))
    expected: dict[int, list[int]] = {}
    for seq in noted.comparisons.seq.tolist():
        version, acted = asked[seq]
        if version:
            expected.setdefault(version, [0, 0, 0])[acted] += 1
    assert noted.knowledge["tally"].pop("influence") == expected
    assert bare.knowledge["tally"].pop("influence") == {}
    assert noted.knowledge == bare.knowledge
    assert same(noted.comparisons, bare.comparisons)


@every_task
@settings(max_examples=100, deadline=None)
@given(data=st.data(), batch_size=batch_sizes, cuts=cuttings)
def test_the_fold_learns_what_a_slow_loop_over_batches_learns(
    task: str, data: st.DataObject, batch_size: int, cuts: list[int]
) -> None:
    rows = data.draw(logs(task))
    oracle = Oracle(task, batch_size)
    oracle.run(rows)
    fold = begin(task, batch_size)
    done = run(fold, pieces(batch_of(rows), cuts))

    weights = {name: array.tobytes() for name, array in fold.learner.arrays().items()}
    assert weights == {name: array.tobytes() for name, array in oracle.learner.arrays().items()}
    compared = done.comparisons
    assert compared.seq.tolist() == [seq for seq, _, _ in oracle.compared]
    assert compared.window_id.to_list() == [f"w{rows[s].of if rows[s].of >= 0 else s}" for s, _, _ in oracle.compared]
    np.testing.assert_array_equal(compared.prediction, np.array([p for _, p, _ in oracle.compared], np.float32))
    np.testing.assert_array_equal(compared.truth, [t for _, _, t in oracle.compared])
    consumed = oracle.waiting[0] if oracle.waiting else len(rows)
    assert fold.position == consumed
    assert fold.next_seq == len(rows)
    assert fold.tally.last_loss == oracle.last_loss
    assert [seq for seq, _, _ in done.refused] == sorted(seq for seq in oracle.refused if seq < consumed)


@every_task
@settings(max_examples=100, deadline=None)
@given(data=st.data(), batch_size=batch_sizes)
def test_every_consumed_window_is_trained_unlabelled_or_a_dead_letter(
    task: str, data: st.DataObject, batch_size: int
) -> None:
    rows = data.draw(logs(task))
    fold = begin(task, batch_size)
    at = 0
    for row in range(len(rows)):
        run(fold, [batch_of(rows).slice(row, row + 1)])
        seen = Oracle(task, batch_size)
        seen.run(rows[: row + 1])
        windows = [seq for seq in range(fold.position) if rows[seq].kind is RowKind.WINDOW]
        expected = [seen.outcome[seq] for seq in windows]
        tally = fold.tally
        assert tally.trained + tally.unlabelled + tally.dead_letter == len(windows)
        assert tally.trained == expected.count("trained")
        assert tally.unlabelled == expected.count("unlabelled")
        assert tally.dead_letter == expected.count("dead_letter")
        assert fold.position >= at
        at = fold.position


@every_task
@settings(max_examples=80, deadline=None)
@given(data=st.data(), batch_size=batch_sizes, cuts=cuttings)
def test_a_restart_at_any_step_changes_nothing(
    task: str, data: st.DataObject, batch_size: int, cuts: list[int]
) -> None:
    rows = batch_of(data.draw(logs(task)))
    whole = run(begin(task, batch_size), [rows])
    fold = begin(task, batch_size)
    for part in pieces(rows, cuts):
        start = fold.position
        assert fold.next_seq == start  # nothing waits in a fold that was just restored
        for _ in fold.advance(rows.slice(start, _end(rows, part))):
            pass
        arrays, meta = fold.to_parts()
        again = Fold.from_parts({name: array.copy() for name, array in arrays.items()}, json.loads(json.dumps(meta)))
        again.position, again.tally = fold.position, replace(fold.tally)
        fold = again
    assert knowledge(fold) == whole.knowledge


def _end(rows: WindowBatch, part: WindowBatch) -> int:
    """Return the position after `part`, which is a slice of `rows` and tells by its times where it stands."""
    return int(part.start_ms[-1]) // 1000 + 1


@every_task
@settings(max_examples=80, deadline=None)
@given(data=st.data(), batch_size=batch_sizes)
def test_cut_marks_never_change_what_is_learned(task: str, data: st.DataObject, batch_size: int) -> None:
    rows = data.draw(logs(task))
    without = [row for row in rows if row.kind is not RowKind.CUT]
    where = {old: new for new, old in enumerate(i for i, row in enumerate(rows) if row.kind is not RowKind.CUT)}
    without = [replace(row, of=where[row.of]) if row.of >= 0 else row for row in without]
    marked, plain = begin(task, batch_size), begin(task, batch_size)
    a, b = run(marked, [batch_of(rows)]), run(plain, [batch_of(without)])
    assert a.knowledge["arrays"] == b.knowledge["arrays"]
    np.testing.assert_array_equal(a.comparisons.prediction, b.comparisons.prediction)
    ours, theirs = replace(marked.tally, last_window_id=""), replace(plain.tally, last_window_id="")
    waiting = marked.next_seq > marked.position
    assert (ours.trained, ours.loss_sum, ours.last_loss) == (theirs.trained, theirs.loss_sum, theirs.last_loss)
    if not waiting:
        assert ours == theirs
