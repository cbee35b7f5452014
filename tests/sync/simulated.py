"""Agents, and the network to them, in memory: they drop, corrupt, repeat and reorder what is sent, by a seed."""

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from upm_cli.adapters.base import Ack, Deadline, Delivery, DeliveryError, Failure
from upm_cli.clock import Clock, ManualClock
from upm_cli.config.schema import AdapterSyncSettings, Settings
from upm_cli.core.delivery import envelope, pointer
from upm_cli.core.delivery.pointer import Pointer
from upm_cli.core.delivery.ratchet import REFUSED, Seen, Took, decide
from upm_cli.core.records import Adapter, AdapterStatus, Mode
from upm_cli.errors import IntegrityError
from upm_cli.ops import made_up
from upm_cli.ops.sync import Syncer
from upm_cli.ops.sync_record import adapter_id
from upm_cli.store import adapters
from upm_cli.store.session import Store
from upm_cli.telemetry.points import Recorder

MADE = 2  # versions that the template has


@dataclass
class Agent:
    """What an agent does with what reaches it: proves the bytes, never goes back, remembers all it ever served."""

    name: str
    clock: Clock
    serving: Pointer | None = None
    served: list[tuple[Pointer, Took]] = field(default_factory=list)
    models: set[str] = field(default_factory=set)

    def take(self, raw: bytes, model: bytes) -> Took:
        """Raises IntegrityError for bytes that are not what they should be."""
        wanted = pointer.decode(envelope.decode(raw, pointer.PAYLOAD_TYPE).payload)
        if hashlib.sha256(model).hexdigest() != wanted.model.file_digest:
            raise IntegrityError("the model's digest differs")
        self.models.add(wanted.digest)
        took = decide(wanted, self.seen, None, self.clock.now_ms())
        if took not in REFUSED and took is not Took.SAME:
            self.serving = wanted
            self.served.append((wanted, took))
        return took

    @property
    def seen(self) -> Seen | None:
        now = self.serving
        return None if now is None else Seen(place=now.place, digest=now.digest, issued_at_ms=now.issued_at_ms)

    def ack(self) -> Ack | None:
        now = self.serving
        if now is None:
            return None
        return Ack(
            agent=self.name,
            trainer=now.trainer,
            tenant=now.tenant,
            version=now.version,
            digest=now.digest,
            place=now.place,
        )


@dataclass
class Network:
    """Carries deliveries to agents, badly. Also the `Kinds` of a Syncer."""

    clock: Clock
    chance: random.Random = field(default_factory=lambda: random.Random(1))
    dropped: float = 0.0
    corrupted: float = 0.0
    repeated: float = 0.0
    delayed: float = 0.0
    agents: dict[tuple[str, str], Agent] = field(default_factory=dict)
    down: Callable[[str], DeliveryError | None] = lambda key: None
    late: list[tuple[Agent, bytes, bytes]] = field(default_factory=list)
    sent: list[tuple[str, str]] = field(default_factory=list)  # what was tried, in order
    were_late: int = 0

    def agent(self, key: str, tenant: str = "") -> Agent:
        return self.agents.setdefault((key, tenant), Agent(key, self.clock))

    def open_adapter(self, row: Adapter, settings: Settings, clock: Clock) -> "Wire":
        return Wire(self, row.adapter_key, row.tenant_id)

    def group(self, row: Adapter) -> str | None:
        return None

    def carry(self, agent: Agent, raw: bytes, model: bytes) -> None:
        """Raises DeliveryError as an HTTP adapter would."""
        if self._happens(self.dropped):
            if self._happens(0.5):
                agent.take(raw, model)  # it arrived; the answer did not
            raise DeliveryError(Failure.UNREACHABLE, "connection reset")
        if self._happens(self.delayed):
            self.late.append((agent, raw, model))
            self.were_late += 1
            raise DeliveryError(Failure.TIMEOUT, "no answer in time")
        if self._happens(self.corrupted):
            which = self.chance.randrange(2)
            hurt = [bytearray(raw), bytearray(model)]
            hurt[which][self.chance.randrange(len(hurt[which]))] ^= 0x41
            try:
                agent.take(bytes(hurt[0]), bytes(hurt[1]))
            except IntegrityError as exc:
                raise DeliveryError(Failure.GARBLED, exc.message) from exc
        for _ in range(2 if self._happens(self.repeated) else 1):
            took = agent.take(raw, model)
            if took in REFUSED:
                raise DeliveryError(Failure.REFUSED, f"refused: {took}")
        if self.late and self._happens(0.1):
            self.arrive_late()

    def arrive_late(self) -> None:
        """Let something that was on its way for long arrive now, whatever was delivered meanwhile."""
        agent, raw, model = self.late.pop(self.chance.randrange(len(self.late)))
        agent.take(raw, model)

    def _happens(self, share: float) -> bool:
        return self.chance.random() < share


@dataclass
class Wire:
    """One simulated adapter."""

    network: Network
    key: str
    tenant: str

    def deliver(self, delivery: Delivery, deadline: Deadline) -> Ack:
        self.network.sent.append((self.key, self.tenant))
        error = self.network.down(self.key)
        if error is not None:
            raise error
        agent = self.network.agent(self.key, self.tenant)
        self.network.carry(agent, delivery.envelope, delivery.model.read_bytes())
        ack = agent.ack()
        assert ack is not None
        return ack

    def report(self, trainer: str, tenant: str, deadline: Deadline) -> Ack | None:
        error = self.network.down(self.key)
        if error is not None:
            raise error
        return self.network.agent(self.key, self.tenant).ack()


class Inline:
    """A crew that does each job at once, in the caller's thread."""

    def __init__(self) -> None:
        self._done: list[tuple[int, Any]] = []
        self._next = 0

    @property
    def busy(self) -> int:
        return len(self._done)

    def submit(self, job: Callable[[], Any]) -> int:
        self._next += 1
        self._done.append((self._next, job()))
        return self._next

    def collect(self, wait_s: float) -> list[tuple[int, Any]]:
        done, self._done = self._done, []
        return done

    def give_up(self, number: int) -> None: ...

    def close(self) -> None: ...


@dataclass
class World:
    """A project with a trainer whose learning is made up, on a clock that is moved."""

    home: Path
    clock: ManualClock = field(default_factory=lambda: ManualClock(1_800_000_000_000))
    sync: AdapterSyncSettings = field(default_factory=AdapterSyncSettings)
    more: dict[str, Any] = field(default_factory=dict)  # other sections of the settings

    def __post_init__(self) -> None:
        is_new = not self.home.exists()
        self.store = Store.create(self.home, self.clock) if is_new else Store(self.home, self.clock)
        self._ready = 0 if is_new else MADE
        self._learned = 0
        self.network = Network(self.clock)
        self.recorder = Recorder(self.clock.now_ms())

    @property
    def settings(self) -> Settings:
        return Settings(adapter_sync=self.sync, **self.more)

    def learn(self, times: int = 1) -> int:
        """Return the newest of `times` further versions; the first ones were made with the template."""
        for _ in range(times):
            self._learned += 1
            if self._learned > self._ready:
                made_up.learn(self.store, self.clock, self.settings, "main")
        return self._learned

    def serve(self, version: int) -> None:
        made_up.serve(self.store, self.clock, "main", version)

    def add(self, *rows: Adapter) -> None:
        with self.store.write() as tx:
            adapters.put_many(tx, rows)
            tx.ledger("adapter.add", "edge")

    def add_agents(self, count: int, tenant: str = "") -> None:
        self.add(*(agent_row(f"edge-{n:04d}", tenant) for n in range(count)))

    def rows(self) -> dict[str, Adapter]:
        with self.store.read() as reader:
            return {adapter_id(row): row for row in adapters.list_all(reader)}

    def row(self, name: str) -> Adapter:
        return self.rows()[name]

    def syncer(self, seed: int = 1, **more: Any) -> Syncer:
        options: dict[str, Any] = {"kinds": self.network, "crew": Inline(), **more}
        return Syncer(
            self.store,
            self.clock,
            self.settings,
            recorder=self.recorder,
            chance=random.Random(seed),
            **options,
        )

    def settle(self, syncer: Syncer | None = None, within_s: float = 600.0, **more: Any) -> Syncer:
        """Let a syncer work until nothing more comes of it; time passes as it waits."""
        syncer = syncer or self.syncer()
        end_s = self.clock.monotonic_s() + within_s
        while not syncer.is_settled() and self.clock.monotonic_s() < end_s:
            syncer.step(0, **more)
            self.clock.advance(0.1)
        syncer.finish(0)
        return syncer

    def statuses(self) -> dict[str, int]:
        found = [row.status for row in self.rows().values()]
        return {status.value: found.count(status) for status in AdapterStatus if status in found}


def agent_row(key: str, tenant: str = "", **more: Any) -> Adapter:
    """Return a new row of a simulated agent."""
    row = {"trainer": "main", "kind": "http", "location": f"https://{key}", "mode": Mode.SHADOW}
    return Adapter(adapter_key=key, tenant_id=tenant, **{**row, **more})


def directory_row(key: str, location: Path, tenant: str = "", **more: Any) -> Adapter:
    """Return a new row of a directory, which is made."""
    location.mkdir(parents=True, exist_ok=True)
    return agent_row(key, tenant, kind="directory", location=str(location.resolve()), **more)
