"""Steering adapter sync by hand: try again what was given up; let agents step down that know more than the state."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from upm_cli.adapters.base import Deadline
from upm_cli.adapters.directory import Directory
from upm_cli.adapters.kinds import Kinds as AllKinds
from upm_cli.clock import Clock
from upm_cli.core.delivery.claims import Key, key_of
from upm_cli.core.delivery.machine import place, retried
from upm_cli.core.delivery.memo import Memo, remember
from upm_cli.core.delivery.pointer import Place
from upm_cli.core.records import Adapter, AdapterStatus
from upm_cli.errors import UsageError
from upm_cli.ops import adapters as ops
from upm_cli.ops import authority
from upm_cli.ops.crew import in_parallel
from upm_cli.ops.sync import GRACE_S
from upm_cli.ops.sync_record import adapter_id
from upm_cli.ops.sync_send import Kinds
from upm_cli.store import adapters, trainers

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.store.session import Store


def retry(
    store: "Store",
    clock: Clock,
    settings: "Settings",
    key: str | None = None,
    *,
    actor: str,
    reason: str = "",
    dry_run: bool = False,
) -> list[Adapter]:
    """Let everything that was given up (of adapter `key`; None: of all) be tried now, from its first try on.

    Returns those rows. Whoever delivers does it: a worker, or `upm sync run`. Raises NotFoundError, RefusedError.
    """
    authority.require(settings, store.home, actor, "sync.retry")
    with store.write(actor=actor) as tx:
        rows = adapters.list_all(tx) if key is None else ops.find(tx, key)
        found = [row for row in rows if _waits(row)]
        if found and not dry_run:
            adapters.put_many(tx, [retried(row, clock.now_ms()) for row in found])
            tx.ledger("adapter.retry", key or "all", adapters=[adapter_id(row) for row in found], reason=reason)
    return found


def _waits(row: Adapter) -> bool:
    is_late = row.status is AdapterStatus.PENDING and row.next_attempt_at_ms is not None
    return row.status is AdapterStatus.ERRORED or is_late


@dataclass(frozen=True, slots=True, kw_only=True)
class Lowered:
    """One adapter that may step down, and from where."""

    row: Adapter
    seen: Place


def let_down(
    store: "Store",
    clock: Clock,
    settings: "Settings",
    *,
    actor: str,
    reason: str,
    dry_run: bool = False,
    kinds: Kinds | None = None,
) -> list[Lowered]:
    """Let every agent that has taken a pointer of a later epoch than the state knows of step down to the state's.

    All places are asked first. The next plan makes pointers that say so, with a signature if there is a key. Raises
    UsageError without a reason, RefusedError unless the actor is an admin.
    """
    authority.require(settings, store.home, actor, "sync.lower")
    if not reason.strip():
        raise UsageError(
            "letting agents step down needs a reason; it is kept on the record",
            hint='upm sync run --lower-epoch --reason "the state was restored from the backup of Monday"',
            code="UPM-E029",
        )
    with store.read() as reader:
        rows = adapters.list_all(reader)
    seen = _seen(rows, clock, settings, kinds or AllKinds(clock))
    with store.write(actor=actor) as tx:
        epochs = {trainer.name: trainer.epoch for trainer in trainers.list_all(tx)}
        known = adapters.list_all(tx)
        found = [
            Lowered(row=row, seen=at)
            for row in known
            if (at := seen.get(key_of(row))) is not None and at.epoch > epochs.get(row.trainer, 0)
        ]
        if found and not dry_run:
            adapters.put_many(tx, [_lowered(each, clock.now_ms()) for each in found])
            told = {adapter_id(each.row): [each.seen.epoch, each.seen.serial] for each in found}
            tx.ledger("adapter.lower", "all", adapters=told, reason=reason)
    return found


def _seen(rows: Sequence[Adapter], clock: Clock, settings: "Settings", kinds: Kinds) -> dict[Key, Place]:
    """Return the latest place that anybody at each adapter has taken, as far as it can be asked."""
    limits = settings.adapter_sync
    jobs = [partial(_asked, row, clock, settings, kinds) for row in rows]
    answers = in_parallel(jobs, limits.max_parallel, limits.sync_timeout_ms / 1000 + GRACE_S)
    found = {}
    for row, answer in zip(rows, answers, strict=True):
        known = [at for at in (Memo.of(row).seen, *(answer or ())) if at is not None]
        if known:
            found[key_of(row)] = max(known)
    return found


def _asked(row: Adapter, clock: Clock, settings: "Settings", kinds: Kinds) -> Sequence[Place]:
    """Return the places that one adapter tells of; none where it can't be asked."""
    deadline = Deadline.after(clock, settings.adapter_sync.sync_timeout_ms / 1000)
    with contextlib.suppress(Exception):
        adapter = kinds.open_adapter(row, settings, clock)
        ack = adapter.report(row.trainer, row.tenant_id, deadline)
        heard = adapter.heard(row.trainer, row.tenant_id, deadline) if isinstance(adapter, Directory) else []
        return [each.place for each in (ack, *(one.ack for one in heard)) if each is not None]
    return ()


def _lowered(each: Lowered, now_ms: int) -> Adapter:
    """Remember from where it may step down; that the place is beyond ours makes a new pointer due."""
    row = remember(each.row, lowers=each.seen, seen=max(each.seen, place(each.row)))
    return replace(row, updated_at_ms=now_ms)
