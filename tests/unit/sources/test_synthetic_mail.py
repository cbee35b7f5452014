import json
from datetime import UTC, datetime

import numpy as np
import pytest
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression

from upm_cli.sources import synthetic
from upm_cli.sources.synthetic import Shift, TriageSpec

NEW_YEAR = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000)


def make(n: int, seed: int = 1, **changes: object) -> list[dict]:
    spec = TriageSpec(**{"messages": n, "start_ms": NEW_YEAR, **changes})
    return [json.loads(line) for line in synthetic.lines(spec, np.random.default_rng(seed))]


def flat(message: dict) -> dict:
    features = dict(message["features"])
    words = {f"subject={word}": 1 for word in features.pop("subject")}
    return {**words, **{f"sender.{k}": v for k, v in features.pop("sender").items()}, **features}


def test_the_same_seed_makes_the_same_messages_and_another_seed_others() -> None:
    assert make(500) == make(500)
    assert make(500) != make(500, seed=2)


def test_messages_follow_each_other_at_the_given_spacing() -> None:
    windows = make(3, spacing_ms=1500)
    assert [w["window_start"][17:23] for w in windows] == ["00.000", "01.500", "03.000"]
    assert [w["window_end"] for w in windows[:2]] == [w["window_start"] for w in windows[1:]]
    assert len({w["window_id"] for w in windows}) == 3


def test_a_linear_model_finds_what_makes_a_message_urgent() -> None:
    windows = make(6000)
    urgent = np.array([w["label"] for w in windows])
    x = DictVectorizer().fit_transform(map(flat, windows))
    model = LogisticRegression(max_iter=2000).fit(x[:4000], urgent[:4000])
    base = max(urgent[4000:].mean(), 1 - urgent[4000:].mean())
    assert 0.2 < urgent.mean() < 0.45
    assert model.score(x[4000:], urgent[4000:]) > base + 0.1


def test_an_inverted_feed_differs_from_the_true_one_only_in_the_labels_after_the_shift() -> None:
    true, wrong = make(2000), make(2000, shift_at=1200)
    assert true[:1200] == wrong[:1200]
    assert [{**w, "label": not w["label"]} for w in wrong[1200:]] == true[1200:]


def test_a_concept_shift_turns_what_is_urgent_and_leaves_the_messages_alone() -> None:
    true, turned = make(4000), make(4000, shift_at=0, shift=Shift.CONCEPT)
    assert [w["features"] for w in true] == [w["features"] for w in turned]
    incident = [i for i, w in enumerate(true) if "outage" in w["features"]["subject"]]
    assert np.mean([true[i]["label"] for i in incident]) > np.mean([turned[i]["label"] for i in incident]) + 0.3


def test_a_spec_that_makes_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="messages must be at least 1"):
        TriageSpec(messages=0, start_ms=0)
