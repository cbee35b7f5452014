"""Planning adapter sync: what each adapter is to have by the state as it is, in one commit of its own.

Level-triggered: events and ledger entries only say that it is worth looking again (`Trigger`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from upm_cli.clock import Clock
from upm_cli.core.delivery.claims import Key, key_of
from upm_cli.core.delivery.desired import Model, Planned, Target, Terms, plan
from upm_cli.core.delivery.envelope import signature_from
from upm_cli.core.delivery.memo import Memo
from upm_cli.core.delivery.pointer import ModelFile
from upm_cli.core.records import Activation, Adapter, Ring, Snapshot, SnapshotStatus
from upm_cli.core.versions import snapshot_id
from upm_cli.errors import NotFoundError
from upm_cli.ops.keys import Signer
from upm_cli.ops.sync_signing import Signing
from upm_cli.ops.tenants import Router
from upm_cli.store import adapters, cursors, outbox, snapshots, trainers

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.store.session import Reader, Store, Tx

ACTOR: Final = "adapter-sync"
CURSOR: Final = "adapter-sync"
#: What may change which version a tenant gets, or whether it may be sent.
EVENTS: Final = frozenset(
    {"ai.upm.snapshot.activated", "ai.upm.rollback", "ai.upm.rollout.changed", "ai.upm.drift.quarantine"}
)
NEWEST_EVENT: Final = "ai.upm.snapshot.created"  # and this, where there are shadow adapters
NEWEST: Final = "newest"  # instead of a decision: nobody decided, and nobody acts on what shadows answer
_PAGE: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """All adapters and what each should have, as of one state."""

    rows: Mapping[Key, Adapter]
    targets: Mapping[Key, Target]
    models: Mapping[tuple[str, int], Path]  # (trainer, version) → stored file
    generation: int
    ledger: int  # entries, and …
    position: int  # … events of that state

    @classmethod
    def read(cls, reader: "Reader", settings: "Settings", home: Path, signing: Signing) -> "Fleet":
        """Read everything."""
        rows = {key_of(row): row for row in adapters.list_all(reader)}
        views = {name: _View.read(reader, settings, name, signing) for name in {r.trainer for r in rows.values()}}
        targets = {key: views[row.trainer].target_of(row) for key, row in rows.items()}
        models = {(view.name, row.version): home / row.path for view in views.values() for row in view.known()}
        meta = reader.meta
        return cls(
            rows=rows,
            targets=targets,
            models=models,
            generation=meta.generation,
            ledger=meta.ledger.count,
            position=meta.outbox_position,
        )


@dataclass(slots=True)
class _View:
    """One trainer as routing sees it; snapshots are read when a tenant gets them."""

    name: str
    reader: "Reader"
    epoch: int
    router: Router | None  # None: there is no such trainer yet
    must_sign: bool
    signing: Signing
    snapshots: dict[int, Snapshot | None] = field(default_factory=dict)
    newest: Target | None = None  # of shadow adapters, once one has asked

    @classmethod
    def read(cls, reader: "Reader", settings: "Settings", name: str, signing: Signing) -> "_View":
        trainer = trainers.find(reader, name)
        router = None if trainer is None else Router.read(reader, settings, name)
        epoch = 0 if trainer is None else trainer.epoch
        must_sign = settings.snapshot_manager.require_signature
        return cls(name, reader, epoch, router, must_sign, signing)

    def known(self) -> list[Snapshot]:
        return [row for row in self.snapshots.values() if row is not None]

    def target_of(self, row: Adapter) -> Target:
        """Return what an adapter gets: what its tenant does, or the newest snapshot where it is a shadow."""
        return self._newest_snapshot() if Memo.of(row).is_shadow else self.target(row.tenant_id)

    def _newest_snapshot(self) -> Target:
        """Return the newest snapshot that nothing is known against."""
        if self.newest is None:
            rows = snapshots.list_for(self.reader, self.name)
            fit = [row for row in rows if not row.quarantined and row.status is not SnapshotStatus.ROLLED_BACK]
            self.newest = Target(epoch=self.epoch)
            if fit:
                row = self.snapshots[fit[-1].version] = fit[-1]
                self.newest = replace(self.newest, model=_model(row), decision_id=NEWEST, refused=self._refused(row))
        return self.newest

    def target(self, tenant: str) -> Target:
        if self.router is None:
            return Target(epoch=self.epoch)
        routed = self.router.route(tenant)
        if routed.version is None or routed.ring is None:
            return Target(epoch=self.epoch)
        row, newest = self._snapshot(routed.version), _newest(self.router.live)
        return Target(
            epoch=self.epoch,
            model=_gone(routed.version) if row is None else _model(row),
            ring=routed.ring,
            kind="rollback" if newest.kind == "rollback" else "activate",
            decision_id=newest.decision_id,
            barred=_barred(routed.version, row),
            refused="" if row is None else self._refused(row),
        )

    def _snapshot(self, version: int) -> Snapshot | None:
        if version not in self.snapshots:
            try:
                self.snapshots[version] = snapshots.get(self.reader, self.name, version)
            except NotFoundError:
                self.snapshots[version] = None
        return self.snapshots[version]

    def _refused(self, row: Snapshot) -> str:
        """Return why nothing can be sent where signatures are required."""
        if not self.must_sign:
            return ""
        asked = "snapshot_manager.require_signature is on"
        if self.signing.signer is None:
            return f"{asked} and nothing can sign: {self.signing.problem or 'there is no key'} (upm keys --help)"
        if not row.signatures:
            return f"{asked} and {snapshot_id(row.trainer, row.version)} is not signed (upm keys --help)"
        return ""


def _newest(live: Mapping[Ring, Activation]) -> Activation:
    """Return the newest move that reached tenants."""
    return max((move for ring, move in live.items() if ring is not Ring.SHADOW), key=lambda move: move.epoch)


def _model(row: Snapshot) -> Model:
    file = ModelFile(codec=row.codec, size_bytes=row.size_bytes, raw_bytes=row.raw_bytes, file_digest=row.file_digest)
    signatures = tuple(signature_from(dict(each)) for each in row.signatures)
    return Model(version=row.version, digest=row.digest, file=file, signatures=signatures)


def _gone(version: int) -> Model:
    """Return a stand-in for a version without a row; it is barred, so that no pointer is made of it."""
    return Model(version=version, digest="", file=ModelFile(codec="none", size_bytes=0, raw_bytes=0, file_digest=""))


def _barred(version: int, row: Snapshot | None) -> str:
    if row is None:
        return f"v{version} was removed"
    return f"v{version} is quarantined" if row.quarantined else ""


def make_plan(store: "Store", clock: Clock, settings: "Settings", signing: Signing) -> Fleet:
    """Work out what every adapter is to have, commit what changed, and return the fleet as it then is.

    Read, decided and signed without the lock; when the state moved on meanwhile it is done again under it.
    """
    terms = terms_of(settings, clock, signing)
    with store.read() as reader:
        fleet = Fleet.read(reader, settings, store.home, signing)
    changed = _changed(fleet, terms, signing.signer)
    if not changed:
        return fleet
    with store.write(actor=ACTOR) as tx:
        if tx.meta.generation != fleet.generation:
            fleet = Fleet.read(tx, settings, store.home, signing)
            changed = _changed(fleet, terms, signing.signer)
        _write(tx, changed)
    return replace(fleet, rows={**fleet.rows, **changed})


def terms_of(settings: "Settings", clock: Clock, signing: Signing) -> Terms:
    """Return what pointers are made under now."""
    return Terms(
        now_ms=clock.now_ms(),
        validity_ms=settings.adapter_sync.pointer_validity_ms,
        keyid=signing.keyid,
    )


def _changed(fleet: Fleet, terms: Terms, signer: Signer | None) -> dict[Key, Adapter]:
    planned = {key: plan(row, fleet.targets[key], terms) for key, row in fleet.rows.items()}
    return {key: _signed(each, signer) for key, each in planned.items() if each.row != fleet.rows[key]}


def _signed(planned: Planned, signer: Signer | None) -> Adapter:
    """Return the row with its new pointer in its envelope."""
    if planned.pointer is None:
        return planned.row
    envelope = planned.pointer.envelope()
    if signer is not None:
        envelope = planned.pointer.envelope(signer.sign(envelope))
    return replace(planned.row, pointer=envelope.encode().decode())


def _write(tx: "Tx", changed: Mapping[Key, Adapter]) -> None:
    if changed:
        adapters.put_many(tx, list(changed.values()))
        cursors.put(tx, CURSOR, tx.meta.outbox_position)


@dataclass(slots=True)
class Trigger:
    """Whether it is worth planning again: something happened that can change what tenants get, or time did."""

    token: tuple[int, int] | None = None
    ledger: int = -1
    position: int = -1
    due_ms: int = 0  # when something is due by time alone
    events: frozenset[str] = EVENTS | {NEWEST_EVENT}

    def pulled(self, store: "Store", now_ms: int) -> bool:
        """Say whether to plan; one stat unless the state has changed, and then one look at its head and new events.

        Once it is pulled it stays so until `reset`.
        """
        if now_ms >= self.due_ms:
            return True
        token = store.token()
        if token == self.token:
            return False
        with store.read() as reader:
            is_news = reader.meta.ledger.count != self.ledger or self._has_event(reader)
            self.token, self.position = token, reader.meta.outbox_position
        if is_news:
            self.due_ms = 0
        return is_news

    def reset(self, fleet: Fleet, due_ms: int) -> None:
        """The plan of `fleet` was made; the next one is due at `due_ms` at the latest."""
        self.token, self.ledger, self.position, self.due_ms = None, fleet.ledger, fleet.position, due_ms
        has_shadows = any(Memo.of(row).is_shadow for row in fleet.rows.values())
        self.events = EVENTS | {NEWEST_EVENT} if has_shadows else EVENTS

    def _has_event(self, reader: "Reader") -> bool:
        position = max(self.position, cursors.get(reader, CURSOR))
        if reader.meta.outbox_position - position > _PAGE:
            return True
        return any(event.type in self.events for event in outbox.after(reader, position, _PAGE))
