"""What is made from the table of settings: the schema, the reference page, the file that init writes."""

import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from upm_cli.config.json_schema import json_schema
from upm_cli.config.load import load
from upm_cli.config.problems import ConfigError
from upm_cli.config.reference import settings_tables
from upm_cli.config.schema import SPECS, Settings
from upm_cli.config.template import render_template

ROOT = Path(__file__).resolve().parents[3]

DOCUMENTS = [
    "",
    "drift_monitor:\n",
    "drift_monitor: {sample_size: 10, drift_threshold: 0.5}",
    "drift_monitor: {sample_size: 0}",
    "drift_monitor: {drift_threshold: 0}",
    "drift_monitor: {drift_threshold: '0.2'}",
    "drift_monitor: {unknown: 1}",
    "unknown: {}",
    "drift_monitor: [1]",
    "learner: {momentum: 1}",
    "learner: {optimizer: sgd, momentum: 0.5}",
    "learner: {bits: 18.5}",
    "trainer_worker: {learning_rate: null}",
    "trainer_worker: {batch_size: null}",
    "trainer_worker: {batch_size: true}",
    "snapshot_manager: {compression: lz4}",
    "supervisor: {default_trainers: [{name: a, sources: [x.jsonl]}]}",
    "supervisor: {default_trainers: [{name: A}]}",
    "supervisor: {default_trainers: [{mode: shadow}]}",
    "supervisor: {default_trainers: [{name: a, sources: [3]}]}",
    "policy: {canary_tenants: [a, b], actors: {alice: admin}}",
    "policy: {canary_tenants: [a, a]}",
    "policy: {actors: {alice: 3}}",
]


@pytest.mark.parametrize("text", DOCUMENTS)
def test_the_published_schema_and_the_loader_agree(tmp_path: Path, text: str) -> None:
    file = tmp_path / "upm.yaml"
    file.write_text(text)
    validator = jsonschema.Draft202012Validator(json_schema())
    by_schema = validator.is_valid(yaml.safe_load(text))
    try:
        load(file)
        by_loader = True
    except ConfigError:
        by_loader = False
    assert by_schema == by_loader


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())


def test_a_new_configuration_is_valid_and_all_defaults(tmp_path: Path) -> None:
    file = tmp_path / "upm.yaml"
    file.write_text(render_template())
    assert load(file).settings == Settings()


def test_every_line_of_a_new_configuration_is_explained() -> None:
    for line in render_template().splitlines():
        if re.match(r" +(- )?\w+: ", line) and "- name" not in line:
            assert "# " in line, line


def test_the_reference_page_lists_every_setting_as_it_is() -> None:
    page = (ROOT / "docs/reference/config.md").read_text()
    assert settings_tables() in page
    for spec in SPECS.values():
        assert f"| `{spec.key}` |" in page
