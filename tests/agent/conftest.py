"""A model that has learned, made once, and a directory that models are published to."""

import gc
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from upm_cli.agent import Agent, loading
from upm_cli.app import main
from upm_cli.clock import ManualClock
from upm_cli.core import snapshot as codec
from upm_cli.testing import Publisher

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/triage.jsonl"
CONFIG = "supervisor: {default_trainers: [{name: main}]}\nlearner: {bits: 12}\n"
NOW_MS = 1_764_000_000_000


@dataclass(frozen=True)
class Trained:
    """A project that has learned from the example file, and the model in its snapshot."""

    project: Path
    arrays: dict[str, codec.Array]
    manifest: dict[str, Any]

    def variant(self, number: int) -> dict[str, codec.Array]:
        """Return another model of the same shape, by which every answer is another."""
        return {**self.arrays, "weights": np.asarray(self.arrays["weights"] * np.float32(1 + number / 16), np.float32)}


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Train a project as a user does, take a snapshot, and export it."""
    project = tmp_path_factory.mktemp("project")
    (project / "upm.yaml").write_text(CONFIG)
    for words in (
        ("init", str(project), "--no-input"),
        ("-C", str(project), "train", "main", "--source", str(EXAMPLE), "--once"),
        ("-C", str(project), "snapshot", "create", "main"),
        ("-C", str(project), "snapshot", "export", "main", "1", "--to", str(project / "model")),
    ):
        assert main([*words]) == 0, words
    (file,) = (project / "model").glob("*.safetensors")
    return Trained(project, *codec.decode(file.read_bytes()))


@dataclass
class Site:
    """A model directory, the clock of its agents, and the agents that were opened there."""

    folder: Path
    trained: Trained
    clock: Any = field(default_factory=lambda: ManualClock(NOW_MS))
    agents: list[Agent] = field(default_factory=list)

    @property
    def root(self) -> Path:
        return self.folder / "models"

    def publisher(self, **more: Any) -> Publisher:
        return Publisher(self.root, **more)

    def publish(self, to: Publisher, number: int = 0, **more: Any) -> Any:
        """Publish variant `number` as version `number + 1`, unless told otherwise."""
        return to.publish(self.trained.variant(number), self.trained.manifest, **{"version": number + 1, **more})

    def prepare(self, to: Publisher, number: int = 0, **more: Any) -> Any:
        """Put variant `number` there as `publish` does, and return its pointer, which is not put."""
        return to.prepare(self.trained.variant(number), self.trained.manifest, **{"version": number + 1, **more})

    def open(self, **more: Any) -> Agent:
        agent = Agent.open(
            more.pop("location", self.root),
            **{"cache": self.folder / "state", "poll_s": 0, "name": "edge-1", "clock": self.clock, **more},
        )
        self.agents.append(agent)
        return agent


@pytest.fixture
def site(tmp_path: Path, trained: Trained) -> Any:
    made = Site(tmp_path, trained)
    yield made
    for agent in made.agents:
        agent.close()
    if loading._shared.models:  # an exception that was caught holds one; the next test is to load its own
        gc.collect()


@pytest.fixture(scope="session")
def messages() -> list[dict[str, Any]]:
    """The features of the example's windows."""
    lines = EXAMPLE.read_text().splitlines()
    return [json.loads(line)["features"] for line in lines[:200]]
