"""`python -m upm_cli.agent watch …`: an agent that says what it serves, one JSON line whenever that changes.

It predicts nothing. It shows a person, or a program that reads its lines, what an agent at that place would serve, and
acknowledges it as an agent does. It ends with SIGTERM, Ctrl-C, or the end of its standard input.
"""

import json
import os
import select
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from upm_cli.agent.agent import Agent
from upm_cli.agent.errors import NothingToServeError
from upm_cli.agent.values import Serving


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchOptions:
    """What to watch; see `Agent.open`."""

    location: str
    tenant: str | None = None
    trainer: str | None = None
    trust: Path | None = None
    token_file: Path | None = None
    cache: Path | None = None
    name: str | None = None
    every_s: float = 1.0


def watch(options: WatchOptions, tell: Callable[[Mapping[str, Any]], None], fd: int = 0) -> int:
    """Tell what is served now, then each change, until `fd` (standard input) ends; return the exit code.

    Raises AgentError when the place can't be an agent's.
    """
    last: tuple[int, int, int] | None = None
    with Agent.open(
        options.location,
        tenant=options.tenant,
        trainer=options.trainer,
        trust=options.trust,
        token_file=options.token_file,
        cache=options.cache,
        name=options.name,
        poll_s=0,
        required=False,
    ) as agent:
        while True:
            agent.refresh()
            serving = _serving(agent)
            if serving is not None and (now := (serving.epoch, serving.serial, serving.version)) != last:
                last = now
                tell(serving.ack(options.name or "watch") | {"ring": serving.ring, "kind": serving.kind})
            if _ended(fd, options.every_s):
                return 0


def _serving(agent: Agent) -> Serving | None:
    try:
        return agent.serving
    except NothingToServeError:
        return None


def _ended(fd: int, within_s: float) -> bool:
    """Wait for `within_s` at most; say whether the end of `fd` came. What is written there is read and passed over."""
    return bool(select.select([fd], [], [], within_s)[0]) and os.read(fd, 4096) == b""


def say(line: Mapping[str, Any]) -> None:
    """Write one JSON line to standard output."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
