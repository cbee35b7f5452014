"""From what a program says where its models are to everything an agent needs to follow them."""

import os
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from upm_cli.agent.directory import Directory, trainers_in
from upm_cli.agent.errors import AgentUsageError, NothingToServeError, UnreachableError
from upm_cli.agent.follower import Follower
from upm_cli.agent.served import Origin
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
    ca_file: Path | str | None,
    cache: Path | str | None,
    name: str | None,
    clock: Clock,
) -> Opened:
    """Return the parts of an agent of `tenant` at `location`. Raises AgentError for what can't be one."""
    text = os.fspath(location)
    if tenant is not None and not (tenant and tenant.isprintable()):
        raise AgentUsageError(f"{tenant!r} can't name a tenant", hint="leave it out for windows without a tenant")
    own = _checked(name or host_name(), "agent")
    keys = None if trust is None else TrustFile(_path(trust))
    where = text if _URL.match(text) else str(_path(location).resolve())
    state = State(default_folder(where, os.environ) if cache is None else _path(cache), clock)
    chosen_for = tenant or ""
    origin: Origin
    if _URL.match(text):
        from upm_cli.agent.remote import Remote  # takes a while, and directories don't need it
        from upm_cli.agent.url import Server

        server = Server(text, token_file=_maybe(token_file), ca_file=_maybe(ca_file), clock=clock)
        chosen = _trainer(trainer, lambda: server.trainers(chosen_for), state, chosen_for, text)
        origin, ack_root = Remote(server, state.folder, chosen, chosen_for, clock), None
    else:
        if token_file is not None or ca_file is not None:
            raise AgentUsageError("a model directory takes no token and no certificates", hint="leave them out")
        root = Path(where)
        chosen = _trainer(trainer, lambda: trainers_in(root, chosen_for), state, chosen_for, text)
        origin, ack_root = Directory(root, chosen, chosen_for), root
    follower = Follower(origin, chosen, chosen_for, state=state, trust=keys, clock=clock)
    return Opened(name=own, trainer=chosen, follower=follower, ack_root=ack_root)


def _trainer(named: str | None, there: Callable[[], list[str]], state: State, tenant: str, where: str) -> str:
    """Return the trainer that was named, or the only one there is, or was. Raises AgentError."""
    if named is not None:
        return _checked(named, "trainer")
    try:
        found = there() or trainers_in(state.folder, tenant)
    except UnreachableError:
        found = trainers_in(state.folder, tenant)
        if not found:
            raise
    whom = f"tenant {tenant}" if tenant else "windows without a tenant"
    if not found:
        raise NothingToServeError(
            f"there is no model for {whom} at {where}",
            hint="upm adapter list shows what is sent where; name a trainer to wait for its first model",
        )
    if len(found) > 1:
        raise AgentUsageError(
            f"{where} has models of {len(found)} trainers for {whom}: {', '.join(found[:10])}",
            hint=f'name one: Agent.open(…, trainer="{found[0]}")',
        )
    return found[0]


def _path(given: Path | str) -> Path:
    """Return a path that was given; ~ is whose the name says. Raises AgentUsageError for what can't be one."""
    try:
        if "\0" not in os.fspath(given):
            return Path(given).expanduser()
    except RuntimeError:  # there is no such user
        pass
    raise AgentUsageError(f"{str(given)!r} is no path", hint="name a folder or a file")


def _maybe(given: Path | str | None) -> Path | None:
    return None if given is None else _path(given)


def _checked(name: str, what: str) -> str:
    try:
        return check_name(name, what)
    except UsageError as exc:
        raise AgentUsageError(exc.message, hint=exc.hint) from exc


def host_name() -> str:
    """Return the host's name in the letters that names have."""
    found = re.sub(r"[^a-z0-9_-]+", "-", socket.gethostname().lower()).strip("-_")
    return found[:64] or "agent"
