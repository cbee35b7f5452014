"""Predictions of an agent: the same, to the last bit, as what `upm predict` says of the snapshot."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from upm_cli.agent import FeaturesError, Prediction, encoding
from upm_cli.app import main
from upm_cli.core.learning.labels import LabelCodec
from upm_cli.core.learning.model import LinearModel
from upm_cli.core.window import Csr
from upm_cli.errors import IntegrityError
from upm_cli.sources.decoder import Decoder

Site = Any


def test_an_agent_predicts_what_upm_predict_says(
    site: Site, messages: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    file = site.folder / "windows.jsonl"
    file.write_text("".join(json.dumps(features) + "\n" for features in messages))
    capsys.readouterr()
    assert main(["-C", str(site.trained.project), "predict", str(file), "-t", "main", "--version", "1", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["predictions"]
    expected = [{key: value for key, value in row.items() if key != "window_id"} for row in said]
    site.publish(site.publisher())
    agent = site.open()
    assert [dict(agent.predict(features).decoded) for features in messages] == expected
    assert [dict(made.decoded) for made in agent.predict_many(messages)] == expected


names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=6)
numbers = st.one_of(
    st.floats(-3.5e38, 3.5e38),
    st.integers(-(10**39), 10**39),
    st.sampled_from([1e30, -1e30, 1.1e30, 9e29, -0.0, 5e-324]),
)
leaves = st.one_of(numbers, st.booleans(), names, st.none(), st.lists(names, max_size=3), st.lists(numbers, max_size=3))
features_strategy = st.dictionaries(
    names, st.recursive(leaves, lambda inner: st.dictionaries(names, inner, max_size=3), max_leaves=6), max_size=8
)


def ingested(windows: list[dict[str, Any]]) -> Csr | None:
    """Return what ingest makes of the windows as JSON; None when it refuses one."""
    lines = [
        json.dumps({"window_id": f"w{n}", "window_start": 0, "window_end": 1, "features": each}, ensure_ascii=False)
        for n, each in enumerate(windows)
    ]
    decoded = Decoder().decode_lines("".join(line + "\n" for line in lines).encode())
    return None if decoded.rejects else decoded.batch.x


@dataclass
class Shape:
    """A model that weighs everything, with limits."""

    bits: int
    outputs: int
    link: str

    def model(self) -> LinearModel:
        slots = np.arange((1 << self.bits) + 1, dtype=np.uint32)
        chance = np.random.default_rng(self.bits)
        arrays = {
            "slots": slots,
            "weights": (chance.normal(size=(slots.size, self.outputs)) * 1e3).astype(np.float32),
            "limits": np.abs(chance.normal(size=slots.size) * 1e10).astype(np.float32),
        }
        if self.outputs == 1:
            del arrays["limits"]
        meta = {
            "kind": "linear",
            "format": 1,
            "task": "",
            "link": self.link,
            "bits": self.bits,
            "outputs": self.outputs,
        }
        return LinearModel.load(arrays, meta)


MODELS = [Shape(4, 1, "logistic").model(), Shape(4, 3, "softmax").model(), Shape(6, 2, "identity").model()]


@given(features_strategy)
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_both_ways_to_encode_are_what_ingest_does(features: dict[str, Any]) -> None:
    expected = ingested([features])
    if expected is None:
        for encode in (lambda: encoding.plain(features), lambda: encoding.encode([features])):
            try:
                assert encode() is None
            except FeaturesError as exc:
                assert exc.code == "UPM-E137"
        return
    long_way = encoding.encode([features])
    assert long_way.index.tolist() == expected.index.tolist()
    assert long_way.value.tobytes() == expected.value.tobytes()
    plain = encoding.plain(features)
    for model in MODELS:
        answer = model.predict_many(expected)
        assert np.isfinite(answer).all()
        if plain is not None:
            assert model.predict_one(*plain).tobytes() == answer.tobytes()


def test_the_short_way_is_taken_by_ordinary_features_and_no_others() -> None:
    ordinary = {"a": 1, "b": 2.5, "c": "x", "d": True, "e": {"f": ["x", "y"], "g": {"h": 1}}, "n": None}
    assert encoding.plain(ordinary) is not None
    deep: dict[str, Any] = {"x": 1}
    for _ in range(8):
        deep = {"x": deep}
    for other in ({"a": 1e30}, {"a": float("nan")}, {"a": [1, 2]}, {"a": np.float32(1)}, {"a": (1,)}, deep, [1]):
        assert encoding.plain(other) is None  # type: ignore[arg-type]
    assert encoding.plain({str(n): 1 for n in range(5000)}) is None


def test_many_windows_are_predicted_as_each_alone_whatever_is_beside_them(site: Site) -> None:
    site.publish(site.publisher())
    agent = site.open()
    windows = [{"x": n * 1.7 ** (n % 60), "y": f"v{n % 7}", **{str(k): k for k in range(n % 5)}} for n in range(300)]
    together = [dict(made.decoded) for made in agent.predict_many(windows)]
    assert together == [dict(agent.predict(features).decoded) for features in windows]


def test_numpys_numbers_tuples_and_other_mappings_count_as_what_they_hold(site: Site) -> None:
    site.publish(site.publisher())
    agent = site.open()

    class Word(str):
        pass

    exotic = {"hour": np.int64(9), "sender": {"reputation": np.float32(0.5), "known": np.True_}, "subject": ("re",)}
    exotic |= {Word("language"): Word("en"), "scores": np.array([0.25, 0.5])}
    usual = {"hour": 9, "sender": {"reputation": 0.5, "known": True}, "subject": ["re"], "language": "en"}
    usual |= {"scores": [0.25, 0.5]}
    assert agent.predict(exotic).decoded == agent.predict(usual).decoded
    assert [made.decoded for made in agent.predict_many([exotic])] == [agent.predict(usual).decoded]


@pytest.mark.parametrize(
    "features",
    [
        {"a": float("nan")},
        {"a": float("inf")},
        {"a": 1e39},
        {"a": 10**400},
        {"a": [1, "x"]},
        {"a": [[1]]},
        {"a": b"x"},
        {"a": object()},
        {"a": np.array([[1.0]])},
        {1: 2},
        {"a": {1: 2}},
        {("a", "b"): 1},
        {"\ud800": 1},
        {"a": "\ud800"},
        {"a": ["\ud800"], "b": 1e30},
        [("a", 1)],
        None,
        "a",
        7,
    ],
)
def test_what_no_model_takes_is_refused_in_words(site: Site, features: Any) -> None:
    site.publish(site.publisher())
    agent = site.open()
    with pytest.raises(FeaturesError, match="can't be predicted"):
        agent.predict(features)
    with pytest.raises(FeaturesError, match="can't be predicted"):
        agent.predict_many([{"a": 1}, features])


def test_the_first_of_many_windows_that_can_not_be_predicted_is_named_by_its_place(site: Site) -> None:
    site.publish(site.publisher())
    with pytest.raises(FeaturesError, match=r"features 2 of the list can't be predicted: .*not finite"):
        site.open().predict_many([{"a": 1}, {}, {"a": 1e39}, {"b": [[]]}])


def test_a_prediction_says_what_it_is_and_of_which_model(site: Site) -> None:
    pointer = site.publish(site.publisher(), 4)
    made = site.open().predict({"hour": 9}, window_id="w-1")
    assert isinstance(made, Prediction)
    assert (made.window_id, made.version, made.epoch, made.digest) == ("w-1", 5, 1, pointer.digest)
    assert made.value is made.decoded["prediction"]
    assert made.value in (True, False)
    assert made.probability == made.decoded["probability"]
    assert made.probabilities is None
    assert made.to_json() == {
        "prediction_id": made.id,
        "window_id": "w-1",
        "version": 5,
        "epoch": 1,
        "prediction": made.value,
        "probability": made.probability,
    }


def test_ids_come_from_the_clock_and_chance_that_are_handed_in(site: Site) -> None:
    import random

    site.publish(site.publisher())
    first, second = (site.open(chance=random.Random(5)).predict({}) for _ in range(2))
    assert first.id == second.id
    assert site.open().predict({}).id != first.id
    assert int(first.id.replace("-", "")[:12], 16) == site.clock.now_ms()


@pytest.mark.parametrize("change", [{"bits": 0}, {"bits": 40}, {"bits": -1}, {"outputs": -1}, {"outputs": 10**9}])
def test_a_model_of_impossible_size_is_refused_before_a_table_is_made(change: dict[str, int]) -> None:
    meta = {"kind": "linear", "format": 1, "task": "", "link": "identity", "bits": 4, "outputs": 1, **change}
    with pytest.raises(IntegrityError):
        LinearModel.load({"slots": np.array([16], np.uint32), "weights": np.zeros((1, 1), np.float32)}, meta)


def test_a_model_without_classes_predicts_nothing_in_either_way() -> None:
    model = LinearModel.load(
        {"slots": np.array([16], np.uint32), "weights": np.zeros((1, 0), np.float32)},
        {"kind": "linear", "format": 1, "task": "multiclass", "link": "softmax", "bits": 4, "outputs": 0},
    )
    one = model.predict_one([1], [1.0])
    assert one.shape == (1, 0)
    assert LabelCodec.begin("multiclass").decode(one) == LabelCodec.begin("multiclass").decode(
        model.predict_many(Csr.empty(1))
    )
