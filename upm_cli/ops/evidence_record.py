"""Writing down what contests found: the evidence rows, changed verdicts, and quarantines by evidence."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from upm_cli import ids
from upm_cli.clock import Clock
from upm_cli.core.decision import DecisionRecord
from upm_cli.core.drift_decision import quarantine_outcome
from upm_cli.core.judging.evidence_decision import RULES, Doubt, evidence_inputs, verdict_outcome
from upm_cli.core.judging.ruling import Ruling, headline
from upm_cli.core.plain import to_plain
from upm_cli.core.records import Evidence
from upm_cli.core.verdict import Verdict
from upm_cli.core.versions import snapshot_id
from upm_cli.ops import quarantine
from upm_cli.ops.record import record
from upm_cli.store import activations, drift, evidence, snapshots

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.ops.evidence import Heard
    from upm_cli.store.session import Tx
    from upm_cli.telemetry.points import Recorder

NAMED_TENANTS: Final = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Barred:
    """A quarantine by evidence, with what the seed's event says of the newest drift window."""

    contest: Evidence
    window_id: str
    p95: float | None
    threshold: float
    recommendation: str
    snapshot_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a commit changed: contests whose verdict is another one now, and the quarantines that began."""

    changed: tuple[Evidence, ...] = ()
    quarantined: tuple[Barred, ...] = ()


def write(tx: "Tx", clock: Clock, settings: "Settings", heard: "Heard") -> Written:
    """Write the findings with the commit `tx`; contests that are over are forgotten."""
    before = evidence.of(tx, heard.trainer)
    changed, quarantined = [], []
    if heard.lost:
        tx.ledger("evidence.restart", heard.trainer, reason=heard.lost, position=heard.contests.position)
    for kind, ruling in heard.rulings.items():
        old = before.get(kind)
        row = _row(heard, ruling, old, clock.now_ms())
        if ruling.verdict is Verdict.FAIL:
            row, told = _bar(tx, clock, settings, row, ruling, old)
            quarantined += [told] if told else []
        if old is None or replace(old, updated_at_ms=row.updated_at_ms) != row:
            evidence.put(tx, row)
        if _said(old, row.contest_id) != row.verdict:
            _tell(tx, clock, settings, row, ruling)
            changed.append(row)
    for kind in before.keys() - heard.rulings.keys():
        evidence.remove(tx, heard.trainer, kind)
    return Written(changed=tuple(changed), quarantined=tuple(quarantined))


def _said(old: Evidence | None, contest_id: str) -> str:
    """Return what the contest said before; a new one has said nothing."""
    return old.verdict if old is not None and old.contest_id == contest_id else Verdict.UNKNOWN.value


def name_of(row: Evidence) -> str:
    """Say who is held against whom."""
    challenger = "challenger lineage" if row.challenger is None else f"candidate v{row.challenger}"
    return f"{challenger} against {'the baseline' if row.champion is None else f'v{row.champion}'}"


def _row(heard: "Heard", ruling: Ruling, old: Evidence | None, now_ms: int) -> Evidence:
    trial, match = ruling.trial, ruling.trial.match
    findings = ruling.to_json()
    first = trial.fresh_first_seq
    last = ruling.findings.last_seq
    if old is not None and old.contest_id == trial.contest_id and "barred" in old.findings:
        findings["barred"] = old.findings["barred"]
    is_same = old is not None and old.contest_id == trial.contest_id
    judged = is_same and old is not None and old.findings.get("windows") == findings["windows"]
    findings["judged_at_ms"] = old.findings.get("judged_at_ms", now_ms) if judged and old is not None else now_ms
    if match.challenger is None:
        findings["tenant_names"] = [*heard.contests.seen.known][:NAMED_TENANTS]
        retrial = heard.contests.retrial
        findings["retrial"] = None if retrial is None else _retrial(retrial.contest.windows, retrial.from_seq)
    row = Evidence(
        trainer=heard.trainer,
        kind=match.kind,
        contest_id=trial.contest_id,
        challenger=match.challenger,
        champion=match.champion,
        stage=trial.stage,
        verdict=ruling.verdict.value,
        windows=findings["fresh_windows"],
        first_seq=trial.fresh_from if first is None else first,
        last_seq=trial.fresh_from - 1 if first is None or last is None else last,
        findings=findings,
        updated_at_ms=now_ms,
    )
    return replace(row, findings={**findings, "headline": headline(name_of(row), findings)})


def _retrial(windows: int, from_seq: int) -> dict[str, Any]:
    return {"from_seq": from_seq, "windows": windows}


def _bar(
    tx: "Tx", clock: Clock, settings: "Settings", row: Evidence, ruling: Ruling, old: Evidence | None
) -> tuple[Evidence, Barred | None]:
    """Quarantine what a failed contest casts doubt on, if evidence may. None: there is nothing new to tell."""
    monitor = settings.drift_monitor
    if not monitor.quarantine_enabled or monitor.rule not in RULES:
        return row, None
    doubt = Doubt(
        challenger=row.challenger,
        champion=row.champion,
        doubt_from=int(row.findings["doubt_from"]),
        last_seq=row.last_seq if row.findings["last_seq"] is None else int(row.findings["last_seq"]),
        known=tuple(row.findings.get("barred", ())),
    )
    every = snapshots.list_for(tx, row.trainer)
    fresh = doubt.among(every)
    begins = _said(old, row.contest_id) != Verdict.FAIL.value
    for shot in fresh:
        if not shot.quarantined:
            snapshots.put(tx, replace(shot, quarantined=True, quarantine_reason=row.findings["headline"]))
    barred = sorted([*doubt.known, *(shot.version for shot in fresh)])
    row = replace(row, findings={**row.findings, "barred": barred})
    if not fresh and not begins:
        return row, None
    serving = {each.version for each in activations.live(tx, row.trainer).values()}
    target = None  # what serves is not in doubt: there is nothing to go back from
    if serving & set(barred):
        target = quarantine.way_back(tx, row.trainer, doubt.doubt_from if row.challenger is None else None)
    outcome = quarantine_outcome(row.verdict, barred, target)
    newest = next(iter(drift.newest(tx, row.trainer, 1)), None)
    told = Barred(
        contest=row,
        window_id=newest.window_id if newest else row.contest_id,
        p95=newest.p95 if newest else None,
        threshold=newest.threshold if newest else monitor.drift_threshold,
        recommendation=outcome["recommendation"],
        snapshot_ids=tuple(snapshot_id(row.trainer, version) for version in barred),
    )
    if begins:
        _send(tx, clock, told, ruling)
    decision = DecisionRecord(
        decision_id=ids.uuid7(clock),
        kind="evidence.quarantine",
        subject=row.trainer,
        inputs=evidence_inputs(ruling.facts, doubt, every, rule=monitor.rule, way_back=target),
        outcome=outcome,
        numbers=_numbers(row.findings),
        reason=row.findings["headline"],
    )
    more = {"contest_id": row.contest_id, "drift_window_id": told.window_id, "snapshot_ids": told.snapshot_ids}
    record(tx, decision, config_digest=settings.full_digest(), recommendation=told.recommendation, **more)
    return row, told if begins else None


def _send(tx: "Tx", clock: Clock, told: Barred, ruling: Ruling) -> None:
    """Send the event of a quarantine, with the fields it has for drift windows and the contest's numbers."""
    tx.event(
        "ai.upm.drift.quarantine",
        f"/trainers/{told.contest.trainer}",
        trainer_id=told.contest.trainer,
        drift_window_id=told.window_id,
        drift_p95=told.p95,
        threshold=told.threshold,
        recommendation=told.recommendation,
        quarantined_at=ids.iso(clock.now_ms()),
        rule="evidence",
        sample_count=ruling.findings.windows,
        snapshot_ids=list(told.snapshot_ids),
        contest_id=told.contest.contest_id,
        excess=_numbers(told.contest.findings),
    )


def _numbers(findings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the measures of a contest that a person wants to see."""
    numbers = {name: findings["gate"][name] for name in ("value", "low", "high", "threshold", "windows")}
    for name in ("harm", "tail"):
        numbers |= {f"{name}_value": findings[name]["value"], f"{name}_log_e": findings[name]["log_e"]}
    return numbers | {"labels": findings["labels"]["share"], "harmed": len(findings["harmed"])}


def _tell(tx: "Tx", clock: Clock, settings: "Settings", row: Evidence, ruling: Ruling) -> None:
    """Put a verdict that changed on the record, and tell everybody."""
    gate = row.findings["gate"]
    tx.event(
        "ai.upm.evidence.verdict",
        f"/trainers/{row.trainer}",
        trainer_id=row.trainer,
        contest_id=row.contest_id,
        verdict=row.verdict,
        excess_mean=gate["value"],
        excess_low=gate["low"],
        excess_high=gate["high"],
        threshold=gate["threshold"],
        sample_count=ruling.findings.windows,
        judged_at=ids.iso(clock.now_ms()),
        reasons=list(ruling.reasons),
    )
    decision = DecisionRecord(
        decision_id=ids.uuid7(clock),
        kind="evidence.verdict",
        subject=row.trainer,
        inputs=to_plain(ruling.facts),
        outcome=verdict_outcome(ruling.verdict, ruling.reasons),
        numbers=_numbers(row.findings),
        reason=row.findings["headline"],
    )
    record(
        tx,
        decision,
        config_digest=settings.full_digest(),
        contest_id=row.contest_id,
        first_seq=row.first_seq,
        last_seq=row.last_seq,
    )


def measure(recorder: "Recorder", written: Written) -> None:
    """Record the telemetry of changed verdicts and of quarantines; call it after the commit."""
    for row in written.changed:
        gate = row.findings["gate"]
        values = {
            "excess_mean": gate["value"],
            "excess_low": gate["low"],
            "excess_high": gate["high"],
            "sample_count": row.findings["windows"],
        }
        about = {"trainer_id": row.trainer, "contest_id": row.contest_id, "verdict": row.verdict}
        recorder.record("upm.evidence.verdict", values, about)
    for told in written.quarantined:
        trainer = told.contest.trainer
        about = {
            "trainer_id": trainer,
            "contest_id": told.contest.contest_id,
            "recommendation": told.recommendation,
        }
        limits: dict[str, Any] = {"trainer_id": trainer, "drift_p95": told.p95, "threshold": told.threshold}
        recorder.record("upm.drift.quarantine", limits, about)
