"""Predictions of an agent: the same, to the last bit, as what `upm predict` says of the snapshot."""

import json
from typing import Any

import pytest

from upm_cli.app import main

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
