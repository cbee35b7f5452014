"""The anchor of a trainer: set, lifted, and held against what the other tenants are served."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from upm_cli.clock import Clock
from upm_cli.core.feedback.served import Served
from upm_cli.core.judging.paired import CLASSES
from upm_cli.core.judging.two_groups import Comparison, TwoGroups
from upm_cli.core.records import Anchor, Ring
from upm_cli.core.rollouts.holdout import Holdout, why_barred
from upm_cli.core.rollouts.routing import Lists
from upm_cli.core.versions import snapshot_id
from upm_cli.core.window import F64Array, I64Array
from upm_cli.errors import RefusedError
from upm_cli.ids import iso
from upm_cli.ops import authority, holdout, served
from upm_cli.ops import snapshots as snapshot_ops
from upm_cli.ops.evidence import SCALE
from upm_cli.store import activations, anchors, feedback, tenant_rules, trainers

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.core.records import Snapshot
    from upm_cli.store.session import Reader, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchored:
    """What setting or clearing an anchor changes. `is_done`: nothing, it was so before."""

    trainer: str
    before: Anchor | None
    after: Anchor | None
    percent: int  # of tenants that are held out on it
    is_done: bool


def set_anchor(
    store: "Store",
    clock: Clock,
    settings: "Settings",
    name: str,
    word: str,
    *,
    actor: str,
    reason: str = "",
    dry_run: bool = False,
) -> Anchored:
    """Let the hold-out of `name` stay on the version that `word` names.

    It must have served everybody once, so that it has passed every gate. Raises RefusedError for one that has not, or
    is barred, or while something is frozen; NotFoundError.
    """
    authority.require(settings, store.home, actor, "anchor")
    with store.write(actor=actor) as tx:
        row = snapshot_ops.find(tx, name, word)
        before = anchors.find(tx, name)
        percent = settings.rollout.holdout_percent
        if before is not None and before.version == row.version:
            return Anchored(trainer=name, before=before, after=before, percent=percent, is_done=True)
        _check(tx, row)
        _refuse_frozen(tx, settings, clock, name)
        after = Anchor(
            trainer=name,
            version=row.version,
            since_seq=feedback.get(tx, name).next_seq,
            reason=reason,
            actor=actor,
            at_ms=clock.now_ms(),
        )
        if not dry_run:
            anchors.put(tx, after)
            was = None if before is None else before.version
            tx.ledger("anchor.set", name, version=row.version, was=was, percent=percent, reason=reason)
    return Anchored(trainer=name, before=before, after=after, percent=percent, is_done=False)


def clear_anchor(
    store: "Store",
    clock: Clock,
    settings: "Settings",
    name: str,
    *,
    actor: str,
    reason: str = "",
    dry_run: bool = False,
) -> Anchored:
    """Let nobody of `name` be held out any more. Raises RefusedError, also while something is frozen."""
    authority.require(settings, store.home, actor, "anchor")
    with store.write(actor=actor) as tx:
        trainers.get(tx, name)
        before = anchors.find(tx, name)
        if before is not None:
            _refuse_frozen(tx, settings, clock, name)
        if before is not None and not dry_run:
            anchors.remove(tx, name)
            tx.ledger("anchor.clear", name, was=before.version, by=before.actor, reason=reason)
    percent = settings.rollout.holdout_percent
    return Anchored(trainer=name, before=before, after=None, percent=percent, is_done=before is None)


def _check(reader: "Reader", row: "Snapshot") -> None:
    """Refuse a version that can't be an anchor."""
    if why := why_barred(row):
        raise RefusedError(
            f"{snapshot_id(row.trainer, row.version)} {why}",
            hint="choose a sound version that has served everybody: upm snapshot list " + row.trainer,
        )
    moves = activations.history(reader, row.trainer)
    if not any(m.version == row.version and m.ring is Ring.GLOBAL and m.percent == 100 for m in moves):
        raise RefusedError(
            f"{snapshot_id(row.trainer, row.version)} never served everybody: the hold-out is no way around the gates",
            hint=f"choose a version that has: upm snapshot list {row.trainer}",
        )


def _refuse_frozen(reader: "Reader", settings: "Settings", clock: Clock, name: str) -> None:
    if settings.rollout.holdout_percent:
        otherwise = "quarantining the anchor takes everybody off it"
        authority.refuse_frozen(reader, settings, name, clock.now_ms(), otherwise)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The anchor of a trainer, and what the hold-out shows; `compared` is None without an anchor."""

    trainer: str
    anchor: Anchor | None
    percent: int
    barred: str  # why the anchor is not served
    compared: Comparison | None
    skipped: int = 0  # outcomes without a loss
    astray: int = 0  # outcomes of tenants held out that were served something else

    @property
    def is_alarm(self) -> bool:
        """Whether the anchor is better than what serves."""
        return self.compared is not None and self.compared.verdict == "fail"


def show(store: "Store", settings: "Settings", name: str) -> Shown:
    """Hold what the hold-out was served since the anchor was set against what the others were. Raises NotFoundError."""
    with store.read() as reader:
        trainers.get(reader, name)
        anchor = anchors.find(reader, name)
        lists = Lists.of(tenant_rules.list_for(reader, name), settings.policy.canary_tenants)
        out = None if anchor is None else holdout.of(reader, settings, anchor, lists)
    percent = settings.rollout.holdout_percent
    if anchor is None or out is None:
        return Shown(trainer=name, anchor=None, percent=percent, barred="", compared=None)
    policy = settings.evidence
    groups = TwoGroups(block_size=policy.tenant_block_size, alpha=policy.alpha_harm, margin=policy.margin)
    scale = policy.loss_scale or SCALE * settings.drift_monitor.drift_threshold
    astray = 0
    for part in served.follow(store, name, anchor.since_seq):
        held, rest, others = _split(part, out)
        groups.advance(_losses(part, scale), part.table.tenant, held=held, rest=rest)
        astray += others
    return Shown(
        trainer=name,
        anchor=anchor,
        percent=percent,
        barred=out.barred,
        compared=groups.compare(),
        skipped=groups.skipped,
        astray=astray,
    )


def held_out(store: "Store", settings: "Settings", name: str) -> Shown | None:
    """Return what the hold-out of `name` shows; None where there is no anchor."""
    with store.read() as reader:
        if anchors.find(reader, name) is None:
            return None
    return show(store, settings, name)


def _split(part: Served, out: Holdout) -> tuple[I64Array, I64Array, int]:
    """Return the rows of the hold-out on the anchor, those of all others, and how many are neither."""
    names = part.table.tenant.to_list()
    inside = {name: out.includes(name) for name in set(names)}
    is_held = np.array([inside[name] for name in names], np.bool_)
    is_anchor = part.version == out.version
    return np.flatnonzero(is_held & is_anchor), np.flatnonzero(~is_held), int((is_held & ~is_anchor).sum())


def _losses(part: Served, scale: float) -> F64Array:
    """Return the losses in [0, 1], as contests have them (core/judging/paired.py)."""
    tasks = np.array(part.task.to_list())
    brier, score = part.table.brier.astype(np.float64), part.table.score.astype(np.float64)
    halved = np.where(tasks == "multiclass", brier / 2, brier)
    return np.where(np.isin(tasks, CLASSES), halved, np.minimum(1.0, score / scale))


def as_json(shown: Shown) -> dict[str, Any]:
    """Return what is shown in plain values."""
    anchor, found = shown.anchor, shown.compared
    return {
        "trainer": shown.trainer,
        "percent": shown.percent,
        "anchor": anchor
        and {
            "version": anchor.version,
            "since": iso(anchor.at_ms),
            "by": anchor.actor,
            "reason": anchor.reason or None,
            "barred": shown.barred or None,
        },
        "comparison": found
        and {
            "verdict": found.verdict.value,
            "reason": found.reason or None,
            "alarm": shown.is_alarm,
            "value": found.value,
            "low": found.low,
            "high": found.high,
            "margin": found.margin,
            "alpha": found.alpha,
            "held_out": _group(found.held),
            "others": _group(found.rest),
            "skipped": shown.skipped,
            "astray": shown.astray,
        },
    }


def _group(group: Any) -> dict[str, Any]:
    return {name: getattr(group, name) for name in ("n", "tenants", "mean", "low", "high")}


def said(shown: Shown) -> str:
    """Return in a line what the hold-out shows; nothing without an anchor."""
    if shown.anchor is None or shown.compared is None:
        return ""
    found, version = shown.compared, shown.anchor.version
    if shown.percent == 0:
        return f"hold-out: anchor v{version}, but rollout.holdout_percent is 0: nobody is held out"
    gap = "" if shown.barred == "" else f"; the anchor {shown.barred}: it is not served"
    if found.value is None:
        return f"hold-out: unknown | no outcomes yet of both, {shown.percent} % of tenants on anchor v{version}{gap}"
    better = ": the anchor is better" if shown.is_alarm else f" ({found.reason})" if found.reason else ""
    return (
        f"hold-out: {found.verdict}{better} | what serves loses {found.value:+.4f} "
        f"[{found.low:+.4f}, {found.high:+.4f}] more than anchor v{version}, {found.rest.n:,} outcomes of "
        f"{found.rest.tenants:,} tenants against {found.held.n:,} of {found.held.tenants:,}{gap}"
    )
