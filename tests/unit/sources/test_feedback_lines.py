"""What agents write is read as it was meant, and what is no prediction or outcome is refused with its reason."""

import json
from typing import Any

import numpy as np
import pytest

from upm_cli.core.feedback.lines import Label, Outcome, Prediction, task_of
from upm_cli.core.records import SourcePosition
from upm_cli.core.window import LabelKind
from upm_cli.ops.feedback_rows import outcome_line
from upm_cli.sources.base import MAX_LINE_BYTES, Chunk, Reject
from upm_cli.sources.decoder import Decoder
from upm_cli.sources.feedback import FeedbackDecoded, FeedbackDecoder, decode_outcome, first_time_ms
from upm_cli.sources.refusal import Refusal
from upm_cli.testing import MADE_UP_DIGEST, T0, of_agent


def read(*events: Any, offset: int = 0) -> FeedbackDecoded:
    data = b"".join((e if isinstance(e, bytes) else json.dumps(e).encode()) + b"\n" for e in events)
    return FeedbackDecoder(Decoder()).decode(Chunk(data, offset, SourcePosition(stream="s", key="k", path="p"), "p"))


def one(event: Any) -> Any:
    (line,) = read(event).lines
    return line.item


def reason(event: Any) -> str:
    found = one(event)
    assert isinstance(found, Reject), found
    return found.reason


def test_a_prediction_is_read_with_its_window() -> None:
    told, _ = of_agent(7)
    found = read(told)
    assert found.lines[0].item == Prediction(
        told["prediction_id"], "w7", "main", "t1", 3, MADE_UP_DIGEST, 12, "edge-1", T0 + 8000, T0 + 7000, T0 + 8000,
        {"prediction": 1, "probability": 0.75},
    )  # fmt: skip
    window = {key: told[key] for key in ("window_id", "window_start", "window_end", "tenant_id", "features")}
    plain = Decoder().decode_lines(json.dumps(window).encode() + b"\n")
    for name in ("window_id", "tenant"):
        assert getattr(found.windows, name).to_list() == getattr(plain.batch, name).to_list()
    assert (found.windows.start_ms[0], found.windows.end_ms[0]) == (plain.batch.start_ms[0], plain.batch.end_ms[0])
    np.testing.assert_array_equal(found.windows.x.index, plain.batch.x.index)
    np.testing.assert_array_equal(found.windows.x.value, plain.batch.x.value)
    assert (found.names.to_list(), found.name_hashes.tolist()) == (plain.names.to_list(), plain.name_hashes.tolist())


def test_an_outcome_is_read_with_what_it_is_about() -> None:
    told, outcome = of_agent(7, acted=False)
    found = one(outcome)
    assert found == Outcome(
        told["prediction_id"], Label(LabelKind.NUMBER, 1.0, ""), False, T0 + 3_607_000, "edge-1", one(told)
    )
    del outcome["served"], outcome["acted"]
    assert (one(outcome).served, one(outcome).acted) == (None, True)


def test_both_may_come_in_an_envelope() -> None:
    for event in of_agent(3):
        wrapped = {"specversion": "1.0", "id": "1", "source": "/edge", "type": event["type"], "data": event}
        assert one(wrapped) == one(event)
    told, _ = of_agent(3, features={"specversion": 2.0})
    assert isinstance(one(told), Prediction)  # a feature of that name is no envelope
    assert reason({"specversion": "0.3", "data": told}) == "the envelope is not CloudEvents 1.0"
    assert reason({"specversion": "1.0", "type": "x"}) == "the envelope has no object in data"


def test_lines_know_where_they_are_and_blank_ones_are_nothing() -> None:
    told, outcome = of_agent(1)
    bare = {key: value for key, value in told.items() if key != "features"}
    found = read(told, b"", b"nonsense", bare, outcome, of_agent(2)[0], offset=1000)
    sizes = [len(json.dumps(told)) + 1, 1, 9, len(json.dumps(bare)) + 1, len(json.dumps(outcome)) + 1]
    starts = [1000 + sum(sizes[:n]) for n in (0, 2, 3, 4, 5)]
    assert [line.offset for line in found.lines] == starts
    assert [line.row for line in found.lines] == [0, -1, -1, -1, 1]
    reject = found.lines[1].item
    assert isinstance(reject, Reject)
    assert (reject.offset, reject.raw) == (starts[1], b"nonsense")
    assert reject.reason.startswith("not JSON: ")
    assert found.windows.window_id.to_list() == ["w1", "w2"]


def test_a_byte_order_mark_is_passed_over() -> None:
    told, _ = of_agent(1)
    assert isinstance(one(b"\xef\xbb\xbf" + json.dumps(told).encode()), Prediction)


@pytest.mark.parametrize("absent", [{"features": None}, {}])
def test_a_prediction_without_features_has_no_window(absent: dict[str, Any]) -> None:
    told, _ = of_agent(1)
    del told["features"]
    found = read({**told, **absent})
    assert isinstance(found.lines[0].item, Prediction)
    assert len(found.windows) == 0


NOTHING = "prediction holds no number, class or object of numbers under prediction"
NAME = "the prediction with probabilities is not the name of a class"
MAP = "probabilities is not an object of numbers between 0 and 1"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"version": 0}, "version is not between 1 and 2147483647"),
        ({"version": "3"}, "neither a prediction nor an outcome: Expected `int`, got `str` - at `$.version`"),
        ({"epoch": -1}, "epoch is not a count"),
        ({"digest": "AB" * 32}, "digest is not a sha256 in lower-case hexadecimal"),
        ({"window_id": ""}, "window_id is empty"),
        ({"prediction_id": "a\u0007"}, "prediction_id holds control characters"),
        ({"agent": "x" * 300}, "agent is longer than 256 bytes"),
        ({"window_end": "2020-01-01T00:00:00Z"}, "window_end is before window_start"),
        ({"predicted_at": "soon"}, "neither a prediction nor an outcome: Invalid RFC3339 encoded datetime - at `$.pre"),
        ({"predicted_at": 10**15}, "1000000000000000 is not between the years 1 and 9999"),
        ({"prediction": {}}, NOTHING),
        ({"prediction": {"prediction": True}}, NOTHING),
        ({"prediction": {"prediction": 1e13}}, NOTHING),
        ({"prediction": {"prediction": {"a": "b"}}}, "the prediction is not an object of numbers"),
        ({"prediction": {"prediction": 1, "probability": 1.5}}, "probability is not a number between 0 and 1"),
        ({"prediction": {"prediction": "a", "probabilities": {}}}, MAP),
        ({"prediction": {"prediction": "a", "probabilities": {"a": True}}}, MAP),
        ({"prediction": {"prediction": 1, "probabilities": {"a": 1}}}, NAME),
        ({"features": [1]}, "features is not an object"),
        ({"features": {"x": 1e39}}, "feature 'x' is not finite in 32-bit floating point"),
        ({"type": "ai.upm.else"}, "neither a prediction nor an outcome: Invalid value 'ai.upm.else' - at `$.type`"),
    ],
)  # fmt: skip
def test_what_is_no_prediction_is_refused(change: dict[str, Any], why: str) -> None:
    told, _ = of_agent(1)
    line = json.dumps({**told, **change}).encode()
    found = read(line)
    (reject,) = [each.item for each in found.lines]
    assert isinstance(reject, Reject)
    assert reject.reason.startswith(why)
    assert reject.raw == line
    assert len(found.windows) == 0


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"label": None}, "label is missing"),
        ({"label": []}, "a label is a number, true or false, a class name, or an object of numbers"),
        ({"prediction_id": "other"}, "served is another prediction than prediction_id"),
        ({"acted": "yes"}, "neither a prediction nor an outcome: Expected `bool | null`, got `str` - at `$.acted`"),
        ({"served": {"version": 1}}, "neither a prediction nor an outcome: Object missing required field"),
    ],
)
def test_what_is_no_outcome_is_refused(change: dict[str, Any], why: str) -> None:
    _, outcome = of_agent(1)
    assert reason({**outcome, **change}).startswith(why)


def test_broken_lines_are_refused() -> None:
    assert reason(b"[1]").startswith("neither a prediction nor an outcome: Expected `object`, got `array`")
    assert reason(b'{"type":"ai.upm.outcome","agent":"\xff"}').startswith(("not JSON", "the line is not UTF-8"))
    assert reason(b'{"a":' * 2000).startswith(("not JSON", "the JSON is nested too deeply"))
    assert reason(b" " + b"x" * (MAX_LINE_BYTES + 1)) == f"the line is longer than {MAX_LINE_BYTES} bytes"


def test_instants_without_an_offset_are_utc_and_milliseconds_are_instants() -> None:
    told, _ = of_agent(1)
    assert one({**told, "predicted_at": "2027-01-15T08:00:02"}).predicted_at_ms == T0 + 2000
    assert one({**told, "predicted_at": "2027-01-15T09:00:02.5+01:00"}).predicted_at_ms == T0 + 2500
    assert one({**told, "predicted_at": T0 + 7}).predicted_at_ms == T0 + 7


@pytest.mark.parametrize("label", [1, 0.5, True, "spam", {"a": 1.0}])
@pytest.mark.parametrize("brings", [True, False])
def test_an_outcome_written_again_says_the_same(label: Any, brings: bool) -> None:
    _, outcome = of_agent(1, label=label, acted=False)
    if not brings:
        del outcome["served"]
    found = one(outcome)
    again = decode_outcome(outcome_line(found))
    assert (again.label.kind, again.label.text) == (found.label.kind, found.label.text)
    assert (again.prediction_id, again.acted, again.observed_at_ms, again.served) == (
        found.prediction_id, False, found.observed_at_ms, found.served
    )  # fmt: skip
    with pytest.raises(Refusal, match="not an outcome"):
        decode_outcome(json.dumps(of_agent(1)[0]).encode())


def test_the_form_of_an_answer_says_what_the_task_is() -> None:
    answers = [
        {"prediction": True, "probability": 0.5},
        {"prediction": "a", "probability": 1.0, "probabilities": {"a": 1.0}},
        {"prediction": 2.5},
        {"prediction": {"a": 1.0}},
    ]
    assert [task_of(answer) for answer in answers] == ["binary", "multiclass", "regression", "structured"]


def test_the_first_good_line_tells_when_a_log_begins() -> None:
    told, outcome = of_agent(4)
    assert first_time_ms(b"junk\n\n" + json.dumps(outcome).encode()) == T0 + 3_604_000
    assert first_time_ms(json.dumps(told).encode() + b"\njunk") == T0 + 5000
    assert first_time_ms(b"junk\n") is None
