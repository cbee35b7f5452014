"""A made-up project with adapters, for tests of adapter sync."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from simulated import MADE, World


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state in which trainer main has learned two versions; not to be changed: take `world`."""
    home = tmp_path_factory.mktemp("template") / ".upm"
    world = World(home)
    world.learn(MADE)
    world.store.close()
    return home


@pytest.fixture
def world(tmp_path: Path, template: Path) -> Iterator[World]:
    shutil.copytree(template, tmp_path / "project" / ".upm")
    world = World(tmp_path / "project" / ".upm")
    yield world
    world.store.close()
