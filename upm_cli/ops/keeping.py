"""Keeping snapshots: verify, pin, release from quarantine, and delete what nobody needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from upm_cli import ids
from upm_cli.clock import Clock
from upm_cli.core.changes import released
from upm_cli.core.decision import DecisionRecord
from upm_cli.core.recorded import gc_inputs, gc_outcome, release_inputs, release_outcome
from upm_cli.core.records import Snapshot
from upm_cli.core.retention import RetentionPolicy, plan_retention, protected_versions
from upm_cli.core.versions import snapshot_id
from upm_cli.errors import IntegrityError, UsageError
from upm_cli.ops import snapshots as snapshot_ops
from upm_cli.ops.record import record
from upm_cli.store import activations, adapters, anchors, collect, pins, snapshots, trainers

if TYPE_CHECKING:
    from upm_cli.store.session import Reader, Store, Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """One snapshot read back; `error` says what differs, None: every byte is right."""

    snapshot: Snapshot
    error: IntegrityError | None


def verify(store: "Store", rows: Sequence[Snapshot]) -> list[Verified]:
    """Read every one of `rows` back from its file and prove it; damage is a result here, not an exception."""
    found = []
    for row in rows:
        try:
            snapshot_ops.load(store.home, row)
        except IntegrityError as exc:
            found.append(Verified(snapshot=row, error=exc))
        else:
            found.append(Verified(snapshot=row, error=None))
    return found


def set_pinned(
    store: "Store", name: str, word: str, pinned: bool, *, actor: str, reason: str, dry_run: bool = False
) -> tuple[Snapshot, bool]:
    """Keep a snapshot from being deleted, or no longer; return it and whether that changed anything."""
    action = "snapshot.pin" if pinned else "snapshot.unpin"
    with store.write(actor=actor) as tx:
        row = snapshot_ops.find(tx, name, word)
        wanted = replace(row, pinned=pinned)
        if wanted != row and not dry_run:
            snapshots.put(tx, wanted)
            tx.ledger(action, snapshot_id(name, row.version), reason=reason)
    return wanted, wanted != row


def release(
    store: "Store",
    clock: Clock,
    name: str,
    word: str,
    *,
    actor: str,
    reason: str,
    config_digest: str | None = None,
    dry_run: bool = False,
) -> tuple[Snapshot, bool]:
    """Lift the quarantine of a snapshot, and of what learned on from it if it was rolled back.

    Returns it and whether that changed anything. Raises UsageError without a reason.
    """
    if not reason:
        raise UsageError(
            "lifting a quarantine needs a reason; it is kept on the record",
            hint=f'upm snapshot release {name} {word} --reason "…"',
            code="UPM-E029",
        )
    with store.write(actor=actor) as tx:
        row = snapshot_ops.find(tx, name, word)
        wanted = released(row, has_served=row.activated_at_ms is not None)
        if wanted != row and not dry_run:
            snapshots.put(tx, wanted)
            decision = DecisionRecord(
                decision_id=ids.uuid7(clock),
                kind="snapshot.release",
                subject=snapshot_id(name, row.version),
                inputs=release_inputs(row),
                outcome=release_outcome(wanted),
                reason=reason,
            )
            record(tx, decision, config_digest=config_digest, was=row.quarantine_reason)
    return wanted, wanted != row


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What was deleted, or would be in a dry run."""

    deleted: Mapping[str, Sequence[int]]  # versions by trainer
    kept: Mapping[str, int]
    protected: Mapping[str, Mapping[int, str]]  # why a version stays whatever the policy says
    orphans: int  # files that no row needed
    freed_bytes: int


def collect_garbage(
    store: "Store",
    clock: Clock,
    names: Sequence[str],
    policy: RetentionPolicy,
    *,
    actor: str,
    reason: str = "",
    config_digest: str | None = None,
    dry_run: bool = False,
) -> Collected:
    """Delete the snapshots of the trainers `names` that the policy lets go, then the files that no row needs.

    Two steps: first the rows, in one commit in which what must stay is worked out again; then the files. Killed in
    between, the next call finds the files as orphans.
    """
    now_ms = clock.now_ms()
    if dry_run:
        with store.read() as reader:
            plans = {name: _plan(reader, name, policy, now_ms) for name in names}
    else:
        with store.write(actor=actor) as tx:
            plans = {name: _plan(tx, name, policy, now_ms) for name in names}
            for plan in plans.values():
                if plan.delete:
                    _delete(tx, plan, _gc_record(ids.uuid7(clock), plan, policy, now_ms, reason), config_digest)
    gone = [row for plan in plans.values() for row in plan.delete]
    count, freed = _collect_files(store, clock, gone, dry_run=dry_run)
    return Collected(
        deleted={name: [row.version for row in plan.delete] for name, plan in plans.items()},
        kept={name: len(plan.rows) - len(plan.delete) for name, plan in plans.items()},
        protected={name: plan.protected for name, plan in plans.items()},
        orphans=count,
        freed_bytes=freed,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What to delete of one trainer's snapshots, and why some must stay."""

    trainer: str
    rows: Sequence[Snapshot]
    delete: Sequence[Snapshot]
    protected: Mapping[int, str]


def _plan(reader: "Reader", name: str, policy: RetentionPolicy, now_ms: int) -> _Plan:
    trainer, rows, anchor = trainers.get(reader, name), snapshots.list_for(reader, name), anchors.find(reader, name)
    protected = protected_versions(
        trainer,
        rows,
        activations.live(reader, name),
        activations.history(reader, name),
        pins.live(reader, name),
        _handed_out(reader, name),
        None if anchor is None else anchor.version,
    )
    plan = plan_retention(rows, policy, protected, now_ms)
    return _Plan(trainer=name, rows=rows, delete=plan.delete, protected=plan.protected)


def _handed_out(reader: "Reader", name: str) -> dict[int, str]:
    """Return the versions of a trainer that adapters should have, or have confirmed."""
    found: dict[int, str] = {}
    for row in adapters.list_all(reader):
        for version in (row.version, row.acked_version):
            if row.trainer == name and version is not None:
                found.setdefault(version, f"handed to adapter {row.adapter_key}")
    return found


def _gc_record(decision_id: str, plan: _Plan, policy: RetentionPolicy, now_ms: int, reason: str) -> DecisionRecord:
    return DecisionRecord(
        decision_id=decision_id,
        kind="snapshot.gc",
        subject=plan.trainer,
        inputs=gc_inputs(plan.rows, policy, plan.protected, now_ms),
        outcome=gc_outcome(plan.delete),
        numbers={"snapshots": len(plan.rows), "deleted": len(plan.delete), "protected": len(plan.protected)},
        reason=reason,
    )


def _delete(tx: "Tx", plan: _Plan, decision: DecisionRecord, config_digest: str | None) -> None:
    for row in plan.delete:
        snapshots.remove(tx, plan.trainer, row.version)
    record(tx, decision, config_digest=config_digest, versions=[row.version for row in plan.delete])


def _collect_files(store: "Store", clock: Clock, gone: Sequence[Snapshot], *, dry_run: bool) -> tuple[int, int]:
    """Remove the files that no row needs; return how many and their bytes. A dry run counts those of `gone` as well."""
    left = {digest for row in gone for digest in (row.digest, row.checkpoint_digest) if digest}
    with store.read() as reader:
        rows = [row for each in trainers.list_all(reader) for row in snapshots.list_for(reader, each.name)]
        needed = collect.referenced(reader)
    if dry_run:
        staying = [row for row in rows if row not in gone]
        needed -= left - {digest for row in staying for digest in (row.digest, row.checkpoint_digest) if digest}
    now_ms = clock.now_ms()
    files = collect.orphans(store.home, needed, now_ms, at_once=left)
    if dry_run:
        return len(files), sum(path.stat().st_size for path in files)
    freed = [collect.remove(path, now_ms, at_once=path.name.partition(".")[0] in left) for path in files]
    return sum(size > 0 for size in freed), sum(freed)
