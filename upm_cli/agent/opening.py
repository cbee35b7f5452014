"""From what a program says where its models are to everything an agent needs to follow them."""

import os
import re
import socket
from dataclasses import dataclass
from pathlib import Path

from upm_cli.agent.directory import Directory, only_trainer
from upm_cli.agent.errors import AgentUsageError, NothingToServeError
from upm_cli.agent.follower import Follower
from upm_cli.agent.state import State, default_folder
from upm_cli.agent.trust import TrustFile
from upm_cli.clock import Clock
from upm_cli.errors import UsageError
from upm_cli.ids import check_name

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """An agent's parts. `ack_root` is the model directory that acks go to, if any."""

    name: str
    trainer: str
    follower: Follower
    ack_root: Path | None


def open_place(
    location: str | Path,
    *,
    tenant: str | None,
    trainer: str | None,
    trust: Path | str | None,
    token_file: Path | str | None,
    cache: Path | str | None,
    name: str | None,
    clock: Clock,
) -> Opened:
    """Return the parts of an agent of `tenant` at `location`. Raises AgentError for what can't be one."""
    text = os.fspath(location)
    if tenant is not None and not (tenant and tenant.isprintable()):
        raise AgentUsageError(f"{tenant!r} can't name a tenant", hint="leave it out for windows without a tenant")
    own = _checked(name or host_name(), "agent")
    keys = None if trust is None else TrustFile(Path(trust))
    if _URL.match(text):
        raise AgentUsageError(f"{text} can't be followed yet", hint="name a model directory")
    if token_file is not None:
        raise AgentUsageError("a model directory takes no token", hint="leave token_file out")
    root = Path(text).expanduser()
    state = State(Path(cache) if cache is not None else default_folder(str(root.resolve()), os.environ), clock)
    chosen = _trainer_of(root, state, tenant or "", trainer)
    origin = Directory(root, chosen, tenant or "")
    follower = Follower(origin, chosen, tenant or "", state=state, trust=keys, clock=clock)
    return Opened(name=own, trainer=chosen, follower=follower, ack_root=root)


def _trainer_of(root: Path, state: State, tenant: str, trainer: str | None) -> str:
    """Return the trainer that was named, or the only one there is."""
    if trainer is not None:
        return _checked(trainer, "trainer")
    found = only_trainer(root, tenant) or only_trainer(state.folder, tenant)
    if found is None:
        whom = f"tenant {tenant}" if tenant else "windows without a tenant"
        raise NothingToServeError(
            f"there is no model for {whom} in {root}",
            hint="upm adapter list shows what is sent where; name a trainer to wait for its first model",
        )
    return found


def _checked(name: str, what: str) -> str:
    try:
        return check_name(name, what)
    except UsageError as exc:
        raise AgentUsageError(exc.message, hint=exc.hint) from exc


def host_name() -> str:
    """Return the host's name in the letters that names have."""
    found = re.sub(r"[^a-z0-9_-]+", "-", socket.gethostname().lower()).strip("-_")
    return found[:64] or "agent"
