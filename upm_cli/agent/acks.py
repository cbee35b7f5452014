"""What an agent says it serves, as a small file in the model directory, for whoever filled it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from upm_cli.agent import files
from upm_cli.agent.errors import AgentError
from upm_cli.agent.values import Serving
from upm_cli.core.canonical import canonical_json
from upm_cli.core.delivery import places
from upm_cli.ids import iso

EVERY_S = 60.0


def ack(serving: Serving, agent: str, *, alive_at_ms: int, predictions: int) -> Mapping[str, Any]:
    """Return what is said: what is served, when the agent was last alive, and how often it has predicted."""
    return {**serving.ack(agent), "alive_at": iso(alive_at_ms), "predictions": predictions}


def write(root: Path, serving: Serving, agent: str, *, alive_at_ms: int, predictions: int) -> bool:
    """Write the ack below `root`; return whether that was possible. An agent that may only read leaves it out."""
    said = ack(serving, agent, alive_at_ms=alive_at_ms, predictions=predictions)
    name = places.ack(serving.trainer, serving.tenant or "", agent)
    try:
        files.write_below(root, name, canonical_json(said).encode() + b"\n")
    except (OSError, AgentError):
        return False
    return True
