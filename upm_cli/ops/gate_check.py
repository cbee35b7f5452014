"""Asking the gates without doing anything: what each says to an activation, or to a rollout's next step."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from upm_cli.clock import Clock
from upm_cli.core import gates as gate_rules
from upm_cli.core.activation import check_percent, plan_activation
from upm_cli.core.gates import GateResult
from upm_cli.core.records import RING_OF_MODE, Override, Ring
from upm_cli.core.versions import resolve_version
from upm_cli.errors import IntegrityError
from upm_cli.ops import admission, authority
from upm_cli.ops import snapshots as snapshot_ops
from upm_cli.ops.decisions import View
from upm_cli.ops.rollout_status import standing
from upm_cli.store import overrides, rollouts, trainers

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.store.session import Reader, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the gates were asked about, and what each said. `of`: activation or rollout."""

    of: str
    version: int | None
    ring: Ring
    percent: int
    gates: tuple[GateResult, ...]

    @property
    def is_allowed(self) -> bool:
        return all(gate.allowed for gate in self.gates)


def check(
    store: "Store",
    clock: Clock,
    settings: "Settings",
    name: str,
    word: str | None,
    *,
    ring: Ring | None,
    percent: int | None,
    tenants: Sequence[str] = (),
    actor: str,
) -> Asked:
    """Ask all gates about the activation that is described; without any description about the rollout under way.

    Raises NotFoundError, UsageError as `activate` does.
    """
    with store.read() as reader:
        row = rollouts.newest(reader, name)
    is_described = word is not None or ring is not None or percent is not None or bool(tenants)
    if row is not None and row.ended_at_ms is None and not is_described:
        return _rollout(store, clock, settings, name)
    with store.read() as reader:
        return _activation(reader, store, clock, settings, name, word or "latest", ring, percent, tenants, actor)


def _rollout(store: "Store", clock: Clock, settings: "Settings", name: str) -> Asked:
    found = standing(store, clock, settings, name)
    stage = found.policy.stages[min(found.state.stage + 1, found.policy.last_stage)]
    resting = [gate for each in found.coming if each.kind == "hold" for gate in getattr(each, "gates", ())]
    return Asked(
        of="rollout",
        version=found.state.version or found.observation.candidate,
        ring=stage.ring,
        percent=stage.percent,
        gates=found.gates or tuple(resting),
    )


def _activation(
    reader: "Reader",
    store: "Store",
    clock: Clock,
    settings: "Settings",
    name: str,
    word: str,
    ring: Ring | None,
    percent: int | None,
    tenants: Sequence[str],
    actor: str,
) -> Asked:
    view = View.read(reader, name)
    where = ring or RING_OF_MODE[view.trainer.mode]
    check_percent(where, percent)
    version = resolve_version(word, name, sorted(view.rows), view.live, where)
    plan = plan_activation(view.trainer, view.live, view.pins, version, where, percent)
    candidate = admission.candidate(
        reader, clock, settings, store.home, view, plan, actor=actor, tenants=tuple(tenants)
    )
    gates = (*gate_rules.ask(candidate), _bytes(store, view, version))
    return Asked(of="activation", version=version, ring=where, percent=plan.percent, gates=gates)


def _bytes(store: "Store", view: View, version: int) -> GateResult:
    try:
        snapshot_ops.load(store.home, view.rows[version])
    except IntegrityError as exc:
        return GateResult(
            gate="bytes",
            allowed=False,
            detail=exc.message,
            satisfy=f"restore the file from a backup, or activate another version; {exc.hint}",
        )
    return GateResult(gate="bytes", allowed=True, detail=f"v{version} was read back and proven")


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """An override and whether it counts now; `waits_for` says what it lacks."""

    override: Override
    in_force: bool
    waits_for: str


def list_overrides(
    reader: "Reader", clock: Clock, settings: "Settings", store: "Store", name: str | None
) -> list[Standing]:
    """Return the overrides of trainer `name` (None: of all), oldest first."""
    names = [each.name for each in trainers.list_all(reader)] if name is None else [name]
    now_ms, found = clock.now_ms(), []
    for each in names:
        force = {row.override_id for row in _in_force(reader, settings, store, each, now_ms)}
        for row in overrides.list_for(reader, each):
            counts = row.override_id in force
            found.append(
                Standing(override=row, in_force=counts, waits_for="" if counts else _lacks(row, settings, now_ms))
            )
    return sorted(found, key=lambda each: (each.override.at_ms, each.override.override_id))


def _in_force(reader: "Reader", settings: "Settings", store: "Store", name: str, now_ms: int) -> list[Override]:
    return list(authority.in_force(reader, settings, store.home, name, now_ms).values())


def _lacks(row: Override, settings: "Settings", now_ms: int) -> str:
    """Return why an override does not count."""
    if row.expires_at_ms <= now_ms:
        return "it has ended"
    if settings.policy.second_approver and row.approver is None:
        return f"a second person: upm gate approve {row.override_id}"
    return "who gave it may not any more, or another one of the same gate lasts longer"
