"""What a supervisor tells others about itself and its workers."""

import os
from collections.abc import Mapping

from upm_cli.core.supervision import Phase
from upm_cli.ops.supervisor import Report, WorkerReport
from upm_cli.workers.children import Child
from upm_cli.workers.crew import Crew
from upm_cli.workers.holdings import Holdings


def headline(crew: Crew, holdings: Holdings, trouble: str) -> str:
    """Return all of it in one line, with the first problem."""
    alive = sum(child.state.is_alive for child in crew.children.values())
    restarts = sum(child.state.restarts for child in crew.children.values())
    text = f"{len(holdings.ours)} trainers, {alive} workers, {restarts} restarts"
    return "; ".join([text, *problems(crew, holdings, trouble)[:1]])


def problems(crew: Crew, holdings: Holdings, trouble: str) -> list[str]:
    """Return what is not as it should be, the worst first."""
    found = [f"the state: {trouble}"] if trouble else []
    for child in crew.children.values():
        if child.state.phase in (Phase.FATAL, Phase.BACKOFF):
            found.append(f"{child.name} {child.state.phase}: {child.state.reason}")
        for label, told in _jobs(child).items():
            if told["state"] in (Phase.FATAL, Phase.BACKOFF):
                found.append(f"{label} {told['state']}: {told['error']}")
    found += [f"{job} {why}" for job, why in crew.aside.items()]
    return found + [f"trainer {name}: {who}" for name, who in holdings.elsewhere.items()]


def report(
    crew: Crew, holdings: Holdings, trouble: str, *, state: str, began_ms: int, now_ms: int, now_s: float
) -> Report:
    """Return everything, as `upm ps` shows it."""
    return Report(
        pid=os.getpid(),
        state=state,
        at_ms=now_ms,
        since_ms=began_ms,
        trainers=len(holdings.ours),
        problems=problems(crew, holdings, trouble),
        workers=[
            _worker(child, now_ms - round((now_s - child.state.since_s) * 1000)) for child in crew.children.values()
        ],
    )


def _worker(child: Child, since_ms: int) -> WorkerReport:
    told, nothing = _jobs(child), {"state": str(Phase.STARTING), "restarts": 0, "error": ""}
    return WorkerReport(
        name=child.name,
        state=str(child.state.phase),
        pid=child.handle.pid if child.handle is not None else None,
        since_ms=since_ms,
        restarts=child.state.restarts,
        code=child.state.code,
        reason=child.state.reason,
        rss_bytes=child.rss_bytes,
        cpu_percent=child.cpu_percent,
        jobs={job.label: {key: told.get(job.label, nothing)[key] for key in nothing} for job in child.jobs},
    )


def _jobs(child: Child) -> Mapping[str, Mapping[str, object]]:
    return child.beat.get("jobs", {}) if child.is_host else {}
