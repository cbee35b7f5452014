"""A process that stays up sees a changed configuration."""

from pathlib import Path

import pytest

from upm_cli.config.problems import ConfigError
from upm_cli.config.reload import reloading
from upm_cli.errors import NotFoundError


def test_a_changed_file_is_read_again_and_an_unchanged_one_is_not(tmp_path: Path) -> None:
    file = tmp_path / "upm.yaml"
    file.write_text("drift_monitor: {drift_threshold: 0.3}\n")
    current = reloading(file, overrides=["drift_monitor.sample_size=7"], environ={})
    first = current()
    assert (first.drift_monitor.drift_threshold, first.drift_monitor.sample_size) == (0.3, 7)
    assert current() is first
    file.write_text("drift_monitor: {drift_threshold: 0.25}\n")
    assert current().drift_monitor.drift_threshold == 0.25


def test_a_file_that_is_not_valid_or_gone_is_an_error_until_it_is_back(tmp_path: Path) -> None:
    file = tmp_path / "upm.yaml"
    file.write_text("{}\n")
    current = reloading(file, overrides=(), environ={})
    before = current()
    file.write_text("nonsense: true\n")
    for _ in range(2):
        with pytest.raises(ConfigError):
            current()
    file.unlink()
    with pytest.raises(NotFoundError):
        current()
    file.write_text("{}\n")
    assert current() == before
