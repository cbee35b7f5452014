"""Labels: which task they stand for, how they become numbers and words again."""

import json

import numpy as np
import pytest

from upm_cli.core.learning.labels import LabelCodec, LabelReason, TaskVote, decide_task
from upm_cli.core.window import LabelKind, Strings, WindowBatch
from upm_cli.errors import IntegrityError

Label = float | bool | str | dict[str, float] | None


def rows(*labels: Label) -> WindowBatch:
    """Return windows with these labels, as a source would decode them."""
    batch = WindowBatch.empty(len(labels))
    texts = []
    for row, label in enumerate(labels):
        text = ""
        if isinstance(label, bool):
            batch.label_kind[row], batch.label_value[row] = LabelKind.BOOL, label
        elif isinstance(label, int | float):
            batch.label_kind[row], batch.label_value[row] = LabelKind.NUMBER, label
        elif isinstance(label, str):
            batch.label_kind[row], text = LabelKind.CLASS, label
        elif label is not None:
            batch.label_kind[row], text = LabelKind.MAP, json.dumps(label, sort_keys=True)
        texts.append(text)
    batch.label_text = Strings.of(texts)
    return batch


@pytest.mark.parametrize(
    ("labels", "task"),
    [
        ((0, 1, 1, None), "binary"),
        ((True, False), "binary"),
        ((True, 0, 1.0), "binary"),
        ((0, 1, 2), "regression"),
        ((0.5,), "regression"),
        ((-1, 1), "regression"),
        (("spam", "ham"), "multiclass"),
        (({"a": 1.0}, {"b": 2.0}), "structured"),
        (("spam", "ham", 3.0), "multiclass"),
        ((None, None), None),
    ],
)
def test_the_first_labels_decide_the_task(labels: tuple[Label, ...], task: str | None) -> None:
    batch = rows(*labels)
    assert decide_task(batch.label_kind, batch.label_value) == task
    vote = TaskVote()
    for row in range(len(batch)):
        vote.take(batch.slice(row, row + 1))
    assert vote.task == task


def test_only_the_first_thousand_labels_have_a_vote() -> None:
    vote = TaskVote()
    vote.take(rows(*[None] * 50, *[1.0] * 600))
    assert not vote.is_complete
    vote.take(rows(*[0.0] * 400, 17.5))
    assert vote.is_complete
    assert vote.task == "binary"


def test_structured_outputs_are_the_sorted_names_of_the_first_labels() -> None:
    vote = TaskVote()
    vote.take(rows({"b": 1.0, "a": 2.0}, {"c": 3.0}))
    codec = LabelCodec.begin("structured", vote.names)
    encoded = codec.encode(rows({"c": 3.0, "a": 1.5}, {"b": 2.0, "new": 9.0}, {"new": 9.0}, 4.0))
    assert codec.names == ("a", "b", "c")
    assert encoded.reasons.tolist() == [0, 0, LabelReason.NO_KNOWN_NAME, LabelReason.KIND]
    expected = [[1.5, np.nan, 3.0], [np.nan, 2.0, np.nan], [np.nan] * 3, [np.nan] * 3]
    assert np.array_equal(encoded.targets, np.array(expected, np.float32), equal_nan=True)


@pytest.mark.parametrize(
    ("task", "labels", "reasons"),
    [
        ("binary", (True, 0, 2, "yes", None, {"a": 1.0}), (0, 0, 2, 1, 0, 1)),
        ("regression", (2.5, True, 1e13, float("inf"), "x"), (0, 1, 3, 3, 1)),
        ("multiclass", ("a", 1.0, "b", None), (0, 1, 0, 0)),
    ],
)
def test_labels_of_another_kind_are_refused_with_a_reason(
    task: str, labels: tuple[Label, ...], reasons: tuple[int, ...]
) -> None:
    codec = LabelCodec.begin(task)
    encoded = codec.encode(rows(*labels))
    assert tuple(encoded.reasons.tolist()) == reasons
    usable = [row for row, label in enumerate(labels) if label is not None and not reasons[row]]
    assert encoded.usable.tolist() == usable
    assert np.isfinite(encoded.targets[usable]).all()
    assert all(codec.why(reason) for reason in reasons if reason)


def test_classes_are_numbered_in_the_order_of_the_log_however_it_is_cut() -> None:
    names = ["c", "a", "c", "b", "a", "d"]
    whole, cut = LabelCodec.begin("multiclass"), LabelCodec.begin("multiclass")
    expected = whole.encode(rows(*names)).targets[:, 0].tolist()
    assert expected == [0, 1, 0, 2, 1, 3]
    assert [cut.encode(rows(name)).targets[0, 0] for name in names] == expected
    assert whole.encode(rows(*names)).targets[:, 0].tolist() == expected
    assert cut.meta() == whole.meta()


def test_one_class_too_many_is_refused_and_known_ones_are_not() -> None:
    codec = LabelCodec.begin("multiclass", max_classes=2)
    encoded = codec.encode(rows("a", "b", "c", "a"))
    assert encoded.reasons.tolist() == [0, 0, LabelReason.TOO_MANY_CLASSES, 0]
    assert "2" in codec.why(LabelReason.TOO_MANY_CLASSES)


@pytest.mark.parametrize(
    ("task", "names", "labels"),
    [
        ("binary", (), (True, False)),
        ("multiclass", (), ("x", "y")),
        ("regression", (), (1.5,)),
        ("structured", ("p", "q"), ({"p": 1.0},)),
    ],
)
def test_a_codec_survives_being_stored(task: str, names: tuple[str, ...], labels: tuple[Label, ...]) -> None:
    codec = LabelCodec.begin(task, names)
    codec.encode(rows(*labels))
    restored = LabelCodec.from_meta(json.loads(json.dumps(codec.meta())))
    assert restored.meta() == codec.meta()
    assert restored.encode(rows(*labels)).targets.tobytes() == codec.encode(rows(*labels)).targets.tobytes()


def test_a_description_that_is_none_is_refused() -> None:
    with pytest.raises(IntegrityError):
        LabelCodec.from_meta({"task": "binary"})
    with pytest.raises(IntegrityError):
        LabelCodec.from_meta({**LabelCodec.begin("binary").meta(), "task": "poetry"})


def test_predictions_are_told_in_the_words_of_the_labels() -> None:
    def decoded(codec: LabelCodec, *predictions: list[float]) -> list[dict[str, object]]:
        return codec.decode(np.array(predictions, np.float32))

    booleans, numbers, classes = (LabelCodec.begin(task) for task in ("binary", "binary", "multiclass"))
    booleans.encode(rows(False))
    numbers.encode(rows(1))
    classes.encode(rows("spam", "ham"))
    assert decoded(booleans, [0.83]) == [{"prediction": True, "probability": 0.83}]
    assert decoded(numbers, [0.2]) == [{"prediction": 0, "probability": 0.2}]
    assert decoded(classes, [0.25, 0.75]) == [
        {"prediction": "ham", "probability": 0.75, "probabilities": {"spam": 0.25, "ham": 0.75}}
    ]
    assert decoded(LabelCodec.begin("regression"), [1e6], [0.1]) == [{"prediction": 1e6}, {"prediction": 0.1}]
    assert decoded(LabelCodec.begin("structured", ("p", "q")), [1, 2]) == [{"prediction": {"p": 1.0, "q": 2.0}}]
