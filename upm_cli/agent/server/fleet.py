"""The agents of one process: one for each tenant of each trainer that something is served to."""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from upm_cli.agent import Agent, files
from upm_cli.agent.errors import AgentError, DamagedError
from upm_cli.agent.log import Log
from upm_cli.agent.opening import host_name
from upm_cli.agent.server.incoming import digest_of
from upm_cli.agent.server.options import ServeOptions
from upm_cli.agent.server.problems import ProblemError, problem_of
from upm_cli.agent.values import Health, Prediction, Serving
from upm_cli.clock import Clock
from upm_cli.core.delivery import envelope, places
from upm_cli.core.delivery import pointer as pointers
from upm_cli.core.delivery.pointer import Pointer
from upm_cli.errors import IntegrityError, UsageError
from upm_cli.ids import check_name
from upm_cli.store import fsio

LOG: Final = "log"
MOST_AGENTS: Final = 10_000
REMEMBERED: Final = 100_000  # whose prediction it was
LONGEST_TENANT: Final = 256

Key = tuple[str, str]  # trainer, tenant ("": none)


class SharedLog(Log):
    """A log that many agents write, and that none of them ends."""

    def close(self) -> None:
        """Leave it open for the others."""

    def end(self) -> None:
        """Write what is waiting and finish the file."""
        super().close()


class Fleet:
    """Agents by trainer and tenant. Pointers are taken from any thread, everything else is one thread's."""

    def __init__(self, options: ServeOptions, clock: Clock) -> None:
        self.name = check_name(options.name or host_name(), "agent")
        self.log = SharedLog(options.folder / LOG, self.name, clock)
        self._options, self._clock = options, clock
        self._agents: dict[Key, Agent] = {}
        self._owners: OrderedDict[str, Key] = OrderedDict()
        self._opening = threading.Lock()

    @property
    def pulls(self) -> bool:
        return self._options.pull is not None

    def begin(self) -> None:
        """Open the agents that were told of, or that were sent something before. Raises AgentError."""
        fsio.make_folder(self._options.folder)
        if self.pulls:
            for tenant in self._options.tenants or ("",):
                agent = self._open(self._options.trainer, tenant)
                self._agents[agent.trainer, tenant] = agent
            return
        for trainer, tenant in _sent_before(self._options.folder):
            self._agents[trainer, tenant] = self._open(trainer, tenant)

    def end(self) -> None:
        """Close all agents and finish the log."""
        for agent in self._agents.values():
            agent.close()
        self.log.end()

    def _open(self, trainer: str | None, tenant: str) -> Agent:
        options = self._options
        return Agent.open(
            options.pull or options.folder,
            tenant=tenant or None,
            trainer=trainer,
            trust=options.trust,
            token_file=options.pull_token_file,
            cache=options.folder,
            log=self.log,
            log_features=options.log_features,
            name=self.name,
            poll_s=1.0 if self.pulls else 0.0,
            required=False,
            clock=self._clock,
        )

    def take(self, trainer: str, tenant: str, data: bytes) -> tuple[dict[str, Any], bool]:
        """Take a pointer; return the ack of what is served then, and whether that is another than before.

        Raises ProblemError: what was served stays.
        """
        key = self.key_of(trainer, tenant)
        agent = self._agents.get(key)
        if agent is not None:
            return self._take(agent, data)
        with self._opening:
            agent = self._agents.get(key)
            if agent is not None:
                return self._take(agent, data)
            if len(self._agents) >= MOST_AGENTS:
                raise ProblemError("busy", f"{MOST_AGENTS:,} tenants are served, which are the most")
            try:
                agent = self._open(*key)
            except AgentError as exc:
                raise problem_of(exc) from exc
            try:
                taken = self._take(agent, data)
            except BaseException:
                agent.close()
                raise
            self._agents[key] = agent
            return taken

    def _take(self, agent: Agent, data: bytes) -> tuple[dict[str, Any], bool]:
        before = agent.health().serving
        try:
            serving = agent.take(data)
        except AgentError as exc:
            raise self._refusal(exc, before, data) from exc
        if agent.health().state_error is not None:
            missing = self._missing(data)
            if missing is not None:  # it was in memory, but would be gone after a restart
                raise self._needs(missing, serving)
        is_new = before is None or (before.epoch, before.serial) != (serving.epoch, serving.serial)
        return serving.ack(self.name), is_new

    def _refusal(self, error: AgentError, serving: Serving | None, data: bytes) -> ProblemError:
        missing = self._missing(data) if isinstance(error, DamagedError) else None
        if missing is not None:
            return self._needs(missing, serving)
        problem = problem_of(error)
        problem.more["serving"] = self._said(serving)
        return problem

    def _needs(self, pointer: Pointer, serving: Serving | None) -> ProblemError:
        what = f"the model of {pointer.trainer}@{pointer.version} is not here"
        return ProblemError("need-model", what, digest=pointer.digest, serving=self._said(serving))

    def _said(self, serving: Serving | None) -> dict[str, Any] | None:
        return None if serving is None else serving.ack(self.name)

    def _missing(self, data: bytes) -> Pointer | None:
        """Return the pointer in `data` if its model is not here, whole."""
        try:
            pointer = pointers.decode(envelope.decode(data, pointers.PAYLOAD_TYPE).payload)
        except IntegrityError:
            return None
        path = self._options.folder / places.model(pointer.digest, pointer.model.codec)
        return None if digest_of(path) == pointer.model.file_digest else pointer

    def key_of(self, trainer: str, tenant: str) -> Key:
        """Return the names, checked. Raises ProblemError."""
        try:
            check_name(trainer, "trainer")
        except UsageError as exc:
            raise ProblemError("bad-request", exc.message) from exc
        if len(tenant) > LONGEST_TENANT:
            raise ProblemError("bad-request", f"a tenant's name has at most {LONGEST_TENANT} characters")
        return trainer, tenant

    def agent(self, trainer: str | None, tenant: str) -> Agent:
        """Return the agent that serves `tenant`; `trainer` None: of the only trainer there is. Raises ProblemError."""
        if trainer is None:
            trainer = self._options.trainer or self._only_trainer()
        agent = self._agents.get(self.key_of(trainer, tenant))
        if agent is None or (self.pulls and agent.health().serving is None):
            whom = f"tenant {tenant!r}" if tenant else "windows without a tenant"
            raise ProblemError("nothing-served", f"{trainer} serves nothing to {whom}")
        return agent

    def _only_trainer(self) -> str:
        trainers = sorted({trainer for trainer, _ in self._agents})
        if not trainers:
            raise ProblemError("not-ready", headers={"Retry-After": "1"})
        if len(trainers) > 1:
            raise ProblemError("unfit", f"name a trainer: there are {', '.join(trainers[:20])}")
        return trainers[0]

    def remember(self, agent_key: Key, predictions: list[Prediction]) -> None:
        """Remember whose predictions these are, for their outcomes."""
        for prediction in predictions:
            self._owners[prediction.id] = agent_key
        while len(self._owners) > REMEMBERED:
            self._owners.popitem(last=False)

    def report(self, prediction_id: str, label: Any, *, acted: bool) -> None:
        """Log an outcome, with what is remembered of its prediction. Raises AgentError, ProblemError."""
        agent = self._agents.get(self._owners.get(prediction_id, ("", "")))
        if agent is None:
            agent = next(iter(self._agents.values()), None)
        if agent is None:
            raise ProblemError("not-ready", "it has never served anything", headers={"Retry-After": "1"})
        agent.report(prediction_id, label, acted=acted)

    def health(self) -> Mapping[Key, Health]:
        """Return how each agent is doing, by trainer and tenant."""
        return {key: self._agents[key].health() for key in sorted(self._agents)}

    def serving(self) -> Iterator[Serving]:
        """Yield what is served, by trainer and tenant."""
        for health in self.health().values():
            if health.serving is not None:
                yield health.serving

    def envelope(self, trainer: str, tenant: str) -> bytes:
        """Return the pointer that is served, as it came. Raises ProblemError, NothingToServeError."""
        return self.agent(trainer, tenant).envelope


def _sent_before(folder: Path) -> Iterator[Key]:
    """Yield the trainers and tenants whose pointers are kept in `folder`; what they say is proven later."""
    for path in sorted((folder / places.POINTERS).glob("*/*.json")):
        relative = f"{places.POINTERS}/{path.parent.name}/{path.name}"
        try:
            data = files.read_small(folder, relative, envelope.MAX_ENVELOPE_BYTES)
            pointer = pointers.decode(envelope.decode(data, pointers.PAYLOAD_TYPE).payload)
        except (OSError, IntegrityError):
            continue
        if places.pointer(pointer.trainer, pointer.tenant) == relative:
            yield pointer.trainer, pointer.tenant
