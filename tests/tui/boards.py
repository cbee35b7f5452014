"""A board as it could be read from a project in trouble: what the screens look like does not need a state."""

import hashlib
from dataclasses import replace
from typing import Any

from upm_cli.core.records import DriftStatus, DriftWindow, Mode, Ring, Snapshot, SnapshotStatus, TenantRule
from upm_cli.core.rollouts.routing import Routed
from upm_cli.ids import iso
from upm_cli.ops.drift_marks import Happened
from upm_cli.ops.processes import Usage
from upm_cli.ops.report import Line
from upm_cli.ops.report_chart import Bar
from upm_cli.ops.strips import Strip, Strips
from upm_cli.ops.tenants import Known
from upm_cli.tui.board import Board, Past
from upm_cli.tui.told import Told
from upm_cli.tui.views import Contest, Drift, Rollout

NOW_MS = 1_767_225_600_000
HOUR_MS = 3_600_000
WAVE = [0.08, 0.09, 0.12, 0.11, 0.13, 0.1, 0.09, 0.08, None, 0.12, 0.17, 0.19, 0.24, 0.31, 0.28]
STAGES = (
    "shadow",
    "canary 1 %",
    "canary 5 %",
    "canary 10 %",
    "canary 25 %",
    "global 50 %",
    "global 75 %",
    "global 100 %",
)


def trainer(name: str, state: str, recent: list[float | None], **more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a trainer as the overview and as its details have it; what no screen shows is left out."""
    row = {
        "name": name,
        "state": state,
        "mode": more.get("mode", "canary"),
        "active": more.get("active", 130),
        "last_version": more.get("last_version", 131),
        "stage": more.get("stage", {"kind": "global", "percent": 100, "rollout": None}),
        "drift": {"p95": recent[-1] if recent else None, "limit": 0.2, "recent": recent[-12:]},
        "windows": {"trained": more.get("trained", 1_234_567), "dead_letter": 0},
        "windows_per_s": more.get("rate", 655.2),
        "lag": more.get("lag", 12),
        "last_loss": 0.225,
        "loss": {"progressive": more.get("loss", 0.284), "recent": more.get("loss", 0.291), "last": 0.225},
    }
    details = {
        "active": {"global": 130},
        "windows": row["windows"],
        "status": more.get("status", state),
        "lineage": [{"to_version": 130, "last_version": 131}],
    }
    return row, details


def board() -> Board:
    """Return the board of a project with four trainers, the worst of which was rolled back."""
    canary = {"kind": "global", "percent": 100, "rollout": {"phase": "progressing", "version": 43, "percent": 10}}
    shown = (
        trainer("search", "quarantined", WAVE, status="training"),
        trainer("fraud-detection-europe", "paused", [0.05], mode="shadow", active=7, stage=_none("shadow")),
        trainer("main", "training", [0.1, 0.12], active=42, last_version=44, stage=canary, rate=81_234),
        trainer("fresh", "idle", [], active=None, stage=_none(None), trained=0, last_version=0, loss=None, rate=0),
    )
    problems = [
        {"trainer": "search", "problem": "drift P95 0.280 at limit 0.2", "next": "upm drift-report search"},
        {"trainer": "fraud-detection-europe", "problem": "paused: asked", "next": "upm resume fraud-detection-europe"},
    ]
    return Board(
        overview={"trainers": [row for row, _ in shown], "workers": workers(), "problems": problems},
        details={row["name"]: details for row, details in shown},
        trainer="search",
        drift=drift(),
        events=events(),
        snapshots=tuple(snapshots()),
        rollout=rollout(),
        fleet=fleet(),
        usage={4711: Usage(cpu_s=12.5, rss_bytes=150 << 20, started_s=1.0)},
        strips=strips(),
        at_ms=NOW_MS,
    )


def _none(kind: str | None) -> dict[str, Any]:
    return {"kind": kind, "percent": 0, "rollout": None}


def past() -> Board:
    """Return the same board as one of an instant two hours ago."""
    gone = Past(at_ms=NOW_MS - 2 * HOUR_MS, generation=None, text="snapshot.rollback search@131")
    return replace(board(), past=gone, at_ms=gone.at_ms, overview={**board().overview, "workers": []})


def drift() -> Drift:
    said = "3 windows fail, the newest with P95 0.280 ≥ 0.2 at 2025-12-31 23:00Z; recommended: rollback"
    lines = tuple(line(n, value) for n, value in enumerate(WAVE))
    return Drift(
        bars=tuple(Bar(each.window.started_at_ms, each.window.closed_at_ms, each.window.p95) for each in lines),
        limit=0.2,
        headline=said,
        failing=True,
        happened=(
            Happened(at_ms=start_ms(12) + HOUR_MS // 2, kind="quarantine", text="P95 0.240 ≥ 0.2"),
            Happened(at_ms=start_ms(13), kind="rollback", text="v131 → v130 by drift-monitor"),
        ),
        lines=lines,
        contests=(
            contest(
                "lineage", "lineage/130/lineage/9", "fail", -0.0474, -0.1, 0.1, 150, ("the share of bad scores rose",)
            ),
            contest("candidate", "candidate/130/131/12", "pass", -0.0399, -0.0704, 0.0071, 1700, ()),
        ),
        features="features drift since the reference: hour, worst effect 14.72, in the look at 600 windows",
        sample_size=1000,
    )


def start_ms(n: int) -> int:
    return NOW_MS + (n - len(WAVE)) * HOUR_MS


def contest(
    kind: str, contest_id: str, verdict: str, value: float, low: float, high: float, n: int, why: tuple[str, ...]
) -> Contest:
    return Contest(
        kind=kind,
        contest_id=contest_id,
        verdict=verdict,
        windows=n,
        value=value,
        low=low,
        high=high,
        limit=0.01,
        headline=f"{kind}: {verdict} | mean excess {value:+.4f}",
        reasons=why,
    )


def line(n: int, p95: float | None) -> Line:
    level = "unknown" if p95 is None else "fail" if p95 >= 0.2 else "pass"
    stats = {"exceed": 0.05, "exceed_low": 0.02, "exceed_high": 0.1, "dropped": 0, "scores": 1200}
    window = DriftWindow(
        trainer="search",
        window_id=f"search/{n * 1200}",
        version=118 + n,
        started_at_ms=start_ms(n),
        closed_at_ms=start_ms(n) + HOUR_MS,
        status=DriftStatus.QUARANTINED if level == "fail" else DriftStatus.CLOSED,
        verdict=level,
        threshold=0.2,
        n=1200,
        mean=None if p95 is None else p95 / 3,
        p95=p95,
        max=None if p95 is None else 2 * p95,
        recommendation="rollback" if level == "fail" else None,
        first_seq=n * 1200,
        last_seq=n * 1200 + 1199,
        metadata={"rule": "seed", "seed": stats, "final": True, "total": 1200, "late": 0, "suspects": []},
    )
    return Line(window=window, level=level)


def strips() -> Strips:
    starts = tuple(start_ms(n) for n in range(len(WAVE)))

    def strip(name: str, factor: float, limit: float) -> Strip:
        values = tuple(None if value is None else factor * value for value in WAVE)
        return Strip(name=name, values=values, limit=limit, n=120, total=1800)

    names = ("acme", "globex", "initech", "a tenant with a name that is far too long for a column")
    features = ("hour", "sender.domain=letters.example", "subject=outage")
    return Strips(
        trainer="search",
        starts_ms=starts,
        tenants=tuple(strip(name, 1.2 - 0.2 * n, 0.2) for n, name in enumerate(names)),
        features=tuple(strip(name, 4.0 - 1.5 * n, 1.0) for n, name in enumerate(features)),
    )


def events() -> tuple[Told, ...]:
    rows = (
        (900, "trainer.add", "search", "mode canary, stream search · ada", {}),
        (700, "snapshot.created", "search@130", "1,100,000 windows · loss 0.290", {}),
        (640, "snapshot.activate", "search@130", "live in global 100 % · ada · “a week of canary”", {}),
        (90, "snapshot.created", "search@131", "1,200,000 windows · loss 0.284", {}),
        (60, "snapshot.activate", "search@131", "live in global 100 %, before: v130 · cron", {}),
        (10, "drift.quarantine", "search", "P95 0.310 ≥ 0.2; bars v131; recommends rollback", {"p95": 0.31, "n": 1200}),
        (2, "snapshot.rollback", "search@131", "back to v130 in global · ada", {"targets": 2, "epoch": 7}),
    )
    return tuple(
        Told(
            at=iso(NOW_MS - minutes * 60_000),
            kind=kind,
            subject=subject,
            text=text,
            is_grave="back" in text,
            id=f"event-{n}" if kind == "snapshot.created" else f"ledger-{n}",
            actor="ada",
            data={"details": {"reason": "users report wrong priorities", "numbers": numbers, "decision_id": f"{n:08}"}},
        )
        for n, (minutes, kind, subject, text, numbers) in enumerate(rows, 1)
    )


def digest(version: int) -> str:
    return hashlib.sha256(str(version).encode()).hexdigest()


def snapshots() -> list[Snapshot]:
    def snapshot(version: int, **more: Any) -> Snapshot:
        return Snapshot(
            trainer="search",
            version=version,
            mode=Mode.ACTIVE,
            digest=digest(version),
            file_digest="",
            codec="zstd",
            path=f"blobs/sha256/{digest(version)[:2]}/{digest(version)}.zst",
            size_bytes=1_630_000,
            raw_bytes=4_200_000,
            parent=version - 1,
            first_seq=(version - 1) * 9_000,
            last_seq=version * 9_000 - 1,
            windows=version * 9_000,
            created_at_ms=NOW_MS + (version - 132) * HOUR_MS,
            metrics={"loss": {"progressive": 0.284, "recent": 0.291}},
            **more,
        )

    return [
        snapshot(131, quarantined=True, quarantine_reason="rolled back: users report wrong priorities"),
        snapshot(130, status=SnapshotStatus.ACTIVATED, activated_at_ms=NOW_MS, note="a week of canary"),
        snapshot(129, status=SnapshotStatus.ARCHIVED, pinned=True, note="the one in the paper"),
        snapshot(128, status=SnapshotStatus.ROLLED_BACK),
        *(snapshot(version) for version in range(127, 90, -1)),
    ]


def gate(name: str, says: str, detail: str, satisfy: str = "", **numbers: Any) -> dict[str, Any]:
    allowed = says == "yes"
    return {"gate": name, "says": says, "allowed": allowed, "detail": detail, "satisfy": satisfy, "numbers": numbers}


def rollout() -> Rollout:
    stages = [
        {
            "stage": n,
            "name": name,
            "ring": name.split()[0],
            "percent": 0 if n == 0 else int(name.split()[1]),
            "status": "done" if n < 3 else "current" if n == 3 else "ahead",
            "need_ms": 0 if n in (0, 7) else 24 * HOUR_MS,
        }
        for n, name in enumerate(STAGES)
    ]
    shown = {
        "trainer": "search",
        "rollout_id": "019b",
        "number": 3,
        "phase": "progressing",
        "cause": None,
        "reason": None,
        "stage": 3,
        "stage_name": "canary 10 %",
        "percent": 10,
        "held_ms": 3 * HOUR_MS + 720_000,
        "need_ms": 24 * HOUR_MS,
        "shadow_ms": 336 * HOUR_MS,
        "min_shadow_ms": 336 * HOUR_MS,
        "stages": stages,
        "candidate": {
            "version": 131,
            "chosen": True,
            "digest": digest(131),
            "size_bytes": 1_630_000,
            "quarantined": False,
        },
        "champion": {"version": 130, "quarantined": False},
        "tenants": {"seen": 412, "exposed": 41, "held": ["bank"], "admitted": []},
        "gates": [
            gate("stages", "yes", "stage 3 is at 10 %"),
            gate("hold", "wait", "canary 10 % was held 3h12m of 24h00m", "wait 20h48m more", held_ms=11_520_000),
            gate(
                "evidence",
                "unknown",
                "not decided after 900 windows",
                "wait for about 700 more windows",
                n=900,
                more=700,
            ),
            gate("quarantine", "no", "candidate v131 is quarantined", "another version", version=131),
            gate("policy", "yes", "every tenant may be part of a canary"),
        ],
        "next": {
            "what": "canary 25 %",
            "at": iso(NOW_MS + 20 * HOUR_MS),
            "in_ms": 20 * HOUR_MS,
            "automatic": True,
            "waits_for": ["hold", "evidence", "quarantine"],
        },
        "started_by": "ada",
        "ended_at": None,
    }
    decisions = (
        {"ledger": 9, "at": iso(NOW_MS - 30 * HOUR_MS), "action": "rollout.start", "stage": 0, "percent": 0,
         "actor": "ada", "what": "start (progressing)", "reason": "the new features"},
        {"ledger": 12, "at": iso(NOW_MS - 4 * HOUR_MS), "action": "rollout.advance", "stage": 3, "percent": 10,
         "actor": "rollout", "what": "v131 to 10 % in canary (progressing)", "reason": None},
    )  # fmt: skip
    return Rollout(shown=shown, decisions=decisions, tenants=tuple(known()))


def known() -> list[Known]:
    def routed(tenant: str, version: int, ring: Ring, detail: str) -> Routed:
        return Routed(tenant=tenant, version=version, ring=ring, percent=10, reason="", detail=detail, asked=())

    rule = TenantRule(
        trainer="search", tenant_id="acme", rule="allow", rollout_id="", reason="they asked", actor="ada", at_ms=NOW_MS
    )
    return [
        Known(tenant="acme", rules=(rule,), is_held=False, is_seen=True,
              routed=routed("acme", 131, Ring.CANARY, "it is on the allow list")),
        Known(tenant="bank", rules=(), is_held=True, is_seen=True,
              routed=routed("bank", 130, Ring.GLOBAL, "it is held back from v131")),
        Known(tenant="globex", rules=(), is_held=False, is_seen=True,
              routed=routed("globex", 130, Ring.GLOBAL, "it is live for everybody")),
    ]  # fmt: skip


def fleet() -> dict[str, Any]:
    """Return the agents as ops/adapter_view.overview tells of them."""
    states = ("synced", "synced", "pending", "errored", "syncing")
    adapters = [
        {
            "adapter_key": f"edge-{n}",
            "tenant": "acme" if n % 2 else "",
            "trainer": "search",
            "kind": "http" if n % 2 else "directory",
            "location": f"https://edge-{n}.example:8443",
            "mode": "active",
            "status": status,
            "version": 130 if status == "synced" else 129,
            "desired_version": 130,
            "epoch": 7,
            "last_synced_at": iso(NOW_MS - n * 60_000),
            "attempts": 4 if status == "errored" else 1,
            "last_error": "connection refused" if status == "errored" else None,
            "lag_versions": 0 if status == "synced" else 1,
            "why": "connection refused" if status == "errored" else None,
            "agents": {"on": 17, "behind": 2, "stale": 1} if n == 4 else None,
        }
        for n, status in enumerate(states)
    ]
    counts = {status: states.count(status) for status in ("pending", "syncing", "synced", "errored")}
    return {
        "total": len(adapters),
        "by_status": counts,
        "success_rate": {"value": 0.9912, "ok": 451, "attempts": 455, "slo": 0.995, "since_ms": NOW_MS - 24 * HOUR_MS},
        "adapters": adapters,
    }


def workers() -> list[dict[str, Any]]:
    def worker(name: str, state: str, **more: Any) -> dict[str, Any]:
        return {"worker": name, "state": state, "pid": 4711, "age_s": 0.4, "alive": True, "trainer": "search", **more}

    error = {"code": "UPM-E091", "message": "the state does not open", "hint": "upm doctor", "context": {}}
    return [
        worker("trainer-search", "training", rate=655.2, lag=12, done=1_234_567, loss=0.284, restarts=0),
        worker("ingest-search", "following", pid=4712, rate=655.0, done=1_234_579),
        worker("drift-search", "judging", alive=False, age_s=120.0),
        worker("drift-main", "failed", alive=False, age_s=9.0, error=error),
        worker("trainer-main", "training", pid=4713, age_s=95.0, rate=0.0),
        worker("ingest-main", "stopped", alive=False, age_s=7200.0),
    ]
